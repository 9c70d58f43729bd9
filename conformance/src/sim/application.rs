//! The application's side of the simulation: consumers, and what was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ropewalk_core::settings::Order;
use ropewalk_core::{
    Batch, ConnectionId, ConnectionReport, Consumer, DeadLetter, Fate, Input, Instant, Judged,
    MessageRef, Outcome, Redrive, State, Verdict,
};

use super::{Happening, Opening, Sim};
use crate::scenario::Consuming;

/// What becomes of a connection's batches.
pub trait Processor: fmt::Debug {
    /// A call begins.
    fn call(&mut self, now: Instant, batch: &Batch) -> Call;
}

/// How one call of a processor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How long it takes; `None` if it never ends.
    pub takes: Option<Duration>,
    /// What it says of the messages, in order; [`Verdict::Ack`] beyond the last.
    pub verdicts: Vec<Verdict>,
}

/// A processor of scenarios: does what the messages say, after the same time for every batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Obedient {
    pub(super) takes: Duration,
}

impl Processor for Obedient {
    fn call(&mut self, _: Instant, batch: &Batch) -> Call {
        Call {
            takes: Some(self.takes),
            verdicts: batch.iter().map(verdict).collect(),
        }
    }
}

/// What an application has of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) urls: Vec<String>,
    pub(super) address: SocketAddr,
    consumer: Consumer,
    pub(super) consuming: Consuming,
    pub(super) processor: Box<dyn Processor>,
    /// How many calls may run at once, as far as the application is concerned.
    calls_max: usize,
    asked: usize,
    running: BTreeMap<u64, (Batch, Vec<Verdict>)>,
    /// Whether there is room in the queue again since the last refused send.
    pub(super) has_room: bool,
    pub(super) sent: BTreeMap<u64, Option<Outcome>>,
    pub(super) received: usize,
    pub(super) letters: usize,
    /// Inbound letters that were not redriven.
    pub(super) kept: Vec<DeadLetter>,
    /// Those that were, by the number that they got for it.
    redriven: BTreeMap<u64, DeadLetter>,
    redrives: u64,
    pub(super) dials: Vec<Instant>,
    pub(super) delays: Vec<(Instant, Duration)>,
    pub(super) history: Vec<(Instant, State)>,
    pub(super) report: Option<ConnectionReport>,
}

impl Client {
    pub(super) fn new(opening: Opening) -> Self {
        let Opening {
            name,
            target: _,
            urls,
            address,
            config,
            consumer,
            consuming,
            busy,
        } = opening;
        let calls_max = match consumer {
            Consumer::Pull => 1,
            Consumer::Process => match config.settings().processor.order {
                Order::Strict => 1,
                Order::PerKey | Order::None => config.settings().processor.workers.max.into(),
            },
        };
        Self {
            name,
            urls,
            address,
            consumer,
            consuming,
            processor: Box::new(Obedient { takes: busy }),
            calls_max,
            asked: 0,
            running: BTreeMap::new(),
            has_room: true,
            sent: BTreeMap::new(),
            received: 0,
            letters: 0,
            kept: Vec::new(),
            redriven: BTreeMap::new(),
            redrives: 0,
            dials: Vec::new(),
            delays: Vec::new(),
            history: Vec::new(),
            report: None,
        }
    }

    pub(super) fn outcomes(&self) -> usize {
        self.sent.values().flatten().count()
    }
}

impl Sim {
    /// Asks for as many batches as the application could take.
    pub(super) fn ask(&mut self, id: ConnectionId) {
        loop {
            let client = self.client(id);
            if client.asked + client.running.len() >= client.calls_max {
                return;
            }
            client.asked += 1;
            self.ledger.asked(id);
            self.set.handle(self.now, Input::Ask { connection: id });
            self.settle();
        }
    }

    /// The core handed over a batch.
    pub(super) fn deliver(&mut self, batch: Batch) {
        let id = batch.connection();
        let now = self.now;
        let client = self
            .clients
            .get_mut(&id)
            .expect("batches are of known connections");
        let Some(asked) = client.asked.checked_sub(1) else {
            self.ledger
                .complain(format!("{id}: a batch that was not asked for"));
            return;
        };
        client.asked = asked;
        if batch.attempt() == 1 && batch.letter().is_none() {
            client.received += batch.len();
            self.trace.push_batch(&client.name, &batch);
        }
        let Call { takes, verdicts } = client.processor.call(now, &batch);
        self.calls += 1;
        let call = self.calls;
        client.running.insert(call, (batch, verdicts));
        if let Some(takes) = takes {
            self.schedule(now + takes, Happening::ConsumerDone(id, call));
        }
    }

    /// A consumer is done with its batch.
    pub(super) fn consumer_done(&mut self, id: ConnectionId, call: u64) {
        let client = self.client(id);
        let Some((batch, verdicts)) = client.running.remove(&call) else {
            return;
        };
        let (consumer, consuming) = (client.consumer, client.consuming);
        if consumer == Consumer::Process {
            let judged = batch.judged(verdicts);
            self.ledger.judged(self.now, id, &judged);
            self.set.handle(self.now, Input::Judged(judged));
        }
        if consuming == Consuming::Yes {
            self.ask(id);
        }
    }

    /// Gives the oldest dead letter of a connection back to its processor. Whether there was one.
    pub fn redrive(&mut self, id: ConnectionId) -> bool {
        let client = self.client(id);
        if client.kept.is_empty() {
            return false;
        }
        let letter = client.kept.remove(0);
        client.redrives += 1;
        let number = client.redrives;
        let redrive = Redrive {
            connection: id,
            letter: number,
            generation: letter.generation,
            seq: letter.seq,
            kind: letter.kind,
            payload: letter.payload.clone(),
        };
        client.redriven.insert(number, letter);
        self.ledger.redriven(self.now, &redrive);
        self.set.handle(self.now, Input::Redrive(Box::new(redrive)));
        self.settle();
        true
    }

    /// The core says what became of a letter: one that failed may be tried once more.
    pub(super) fn redriven(&mut self, id: ConnectionId, letter: u64, fate: &Fate) {
        let client = self.client(id);
        let letter = client.redriven.remove(&letter);
        match fate {
            Fate::Delivered => {}
            Fate::Failed { .. } => client.kept.extend(letter),
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
