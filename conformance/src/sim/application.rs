//! The application's side of the simulation: consumers, and what was seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ropewalk_core::{
    Batch, ConnectionId, ConnectionReport, Consumer, Input, Instant, Judged, MessageRef, Outcome,
    State, Verdict,
};

use super::{Happening, Sim};
use crate::scenario::Consuming;

/// What an application has of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) urls: Vec<String>,
    pub(super) address: SocketAddr,
    consumer: Consumer,
    pub(super) consuming: Consuming,
    busy: Duration,
    work: Work,
    /// Whether there is room in the queue again since the last refused send.
    pub(super) has_room: bool,
    pub(super) sent: BTreeMap<u64, Option<Outcome>>,
    pub(super) received: usize,
    pub(super) letters: usize,
    pub(super) dials: Vec<Instant>,
    pub(super) delays: Vec<(Instant, Duration)>,
    pub(super) history: Vec<(Instant, State)>,
    pub(super) report: Option<ConnectionReport>,
}

/// What a consumer is at.
#[derive(Debug)]
enum Work {
    /// It has not asked.
    Idle,
    /// It has asked.
    Asked,
    /// It is busy with this batch.
    Busy(Batch),
}

impl Client {
    pub(super) fn new(
        name: String,
        urls: Vec<String>,
        address: SocketAddr,
        consumer: Consumer,
        consuming: Consuming,
        busy: Duration,
    ) -> Self {
        Self {
            name,
            urls,
            address,
            consumer,
            consuming,
            busy,
            work: Work::Idle,
            has_room: true,
            sent: BTreeMap::new(),
            received: 0,
            letters: 0,
            dials: Vec::new(),
            delays: Vec::new(),
            history: Vec::new(),
            report: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle)
    }

    pub(super) fn outcomes(&self) -> usize {
        self.sent.values().flatten().count()
    }
}

impl Sim {
    pub(super) fn ask(&mut self, id: ConnectionId) {
        self.client(id).work = Work::Asked;
        self.ledger.asked(id);
        self.set.handle(self.now, Input::Ask { connection: id });
        self.settle();
    }

    /// The core handed over a batch.
    pub(super) fn deliver(&mut self, batch: Batch) {
        let id = batch.connection();
        let now = self.now;
        let client = self
            .clients
            .get_mut(&id)
            .expect("batches are of known connections");
        if !matches!(client.work, Work::Asked) {
            self.ledger
                .complain(format!("{id}: a batch that was not asked for"));
        }
        if batch.attempt() == 1 {
            client.received += batch.len();
            self.trace.push_batch(&client.name, &batch);
        }
        client.work = Work::Busy(batch);
        let done = now + client.busy;
        self.schedule(done, Happening::ConsumerDone(id));
    }

    /// A consumer is done with its batch.
    pub(super) fn consumer_done(&mut self, id: ConnectionId) {
        let client = self.client(id);
        let Work::Busy(batch) = std::mem::replace(&mut client.work, Work::Idle) else {
            return;
        };
        let (consumer, consuming) = (client.consumer, client.consuming);
        if consumer == Consumer::Process {
            let judged = judge(batch);
            self.ledger.judged(id, &judged);
            self.set.handle(self.now, Input::Judged(judged));
        }
        if consuming == Consuming::Yes {
            self.ask(id);
        }
    }
}

/// The verdicts of every processor in scenarios: a message that begins with `reject` or `retry` gets that.
pub(crate) fn judge(batch: Batch) -> Judged {
    batch.judge(verdict)
}

fn verdict(message: MessageRef<'_>) -> Verdict {
    if message.as_bytes().starts_with(b"reject") {
        Verdict::reject("the message says so")
    } else if message.as_bytes().starts_with(b"retry") {
        Verdict::retry_after(Duration::from_millis(5))
    } else {
        Verdict::Ack
    }
}
