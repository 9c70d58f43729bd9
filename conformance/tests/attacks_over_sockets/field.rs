//! A fleet with a neighbour in it, and what happens while it is attacked.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAllocTrait};
use ropewalk_driver::{
    AdmissionLimits, Connect, ConnectionHandle, EventKind, Fleet, Message, MessageRef, Runtime,
    Settings,
};

use super::server::{Server, echo};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// What a connection may cost beyond what its settings allow it to hold.
pub(crate) const ALLOWANCE: usize = 64 * KIB;

/// The number of the neighbour's one large message, before any attack.
const LARGE: u32 = 5;

/// How many messages the neighbour gets back before, and at least during, an attack.
const ECHOES: u32 = 50;

/// Nothing takes so long; only a test that has failed waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// All tests count the same process's memory, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Holds up other tests, from before an attack is prepared.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the tasks tell the test.
pub(crate) enum Note {
    /// The neighbour got its message of this number back.
    Echoed(u32),
    /// The neighbour got something else.
    Wrong(String),
    /// Something happened to a connection that is attacked.
    Event(EventKind),
    /// A consumer of the test's own is done.
    Done,
}

pub(crate) struct Field<R: Runtime> {
    pub(crate) fleet: Fleet<R>,
    notes: Receiver<Note>,
    sender: Sender<Note>,
    is_over: Arc<AtomicBool>,
    servers: Vec<Server>,
    echoed: u32,
}

impl<R: Runtime> Field<R> {
    /// A fleet whose neighbour has got some messages back; counting begins.
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        let fleet = Fleet::<R>::builder()
            .shards(NonZeroUsize::MIN)
            .admission(limits)
            .build()
            .expect("the system has entropy");
        let (sender, notes) = channel();
        let mut field = Self {
            fleet,
            notes,
            sender,
            is_over: Arc::new(AtomicBool::new(false)),
            servers: Vec::new(),
            echoed: 0,
        };
        field.listen();
        let server = Server::start(Box::new(echo));
        let handle = field.fleet.open(connect(&server, Settings::default()));
        field.servers.push(server);
        let (sender, is_over) = (field.note(), Arc::clone(&field.is_over));
        R::spawn(async move {
            converse(&handle, &is_over, &sender).await;
        });
        // One of these is large: what a shard keeps for all its writes it has from then on.
        field.wait_until(|_| false);
        INSTRUMENTED_SYSTEM.reset_peak_memory();
        field
    }

    /// For a task of the test's own.
    pub(crate) fn note(&self) -> Sender<Note> {
        self.sender.clone()
    }

    /// Opens a connection to this server.
    pub(crate) fn open(&mut self, server: Server, connect: Connect) -> ConnectionHandle {
        self.servers.push(server);
        self.fleet.open(connect)
    }

    /// Waits for a note, and until the neighbour has got enough messages back.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, mut is_it: impl FnMut(&EventKind) -> bool) {
        let enough = self.echoed + ECHOES;
        let mut is_done = self.echoed == 0;
        while !is_done || self.echoed < enough {
            match self.notes.recv_timeout(PATIENCE).expect("it happens") {
                Note::Echoed(number) => self.echoed = number,
                Note::Wrong(text) => panic!("the neighbour: {text}"),
                Note::Event(event) => is_done |= is_it(&event),
                Note::Done => is_done = true,
            }
        }
    }

    /// Ends everything.
    pub(crate) fn finish(self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.fleet);
        for server in self.servers {
            server.join();
        }
    }

    /// Passes on what happens to those that are attacked.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "events are open-ended; these are what attacks end with"
    )]
    fn listen(&self) {
        let mut events = self.fleet.events();
        let sender = self.note();
        R::spawn(async move {
            while let Some(event) = events.next().await {
                let is_wanted = matches!(
                    event.event.kind,
                    EventKind::Closed { .. } | EventKind::Reading(_)
                );
                if is_wanted && sender.send(Note::Event(event.event.kind)).is_err() {
                    return;
                }
            }
        });
    }
}

/// The most that was held so far beyond what was held before the attack.
pub(crate) fn peak() -> usize {
    INSTRUMENTED_SYSTEM.get_peak_memory()
}

pub(crate) fn connect(server: &Server, settings: Settings) -> Connect {
    let url = format!("ws://{}/", server.address);
    Connect::to(&url)
        .expect("an address makes a URL")
        .settings(settings)
}

/// Sends numbered messages, one when the one before is back.
async fn converse(handle: &ConnectionHandle, is_over: &AtomicBool, sender: &Sender<Note>) {
    let outgoing = handle.sender();
    for number in 1.. {
        let mut text = format!("message {number}");
        if number == LARGE {
            text.extend(std::iter::repeat_n('x', 200 * KIB));
        }
        if is_over.load(Ordering::Relaxed)
            || outgoing.send(Message::text(text.clone())).await.is_err()
        {
            return;
        }
        let Some(batch) = handle.next_batch().await else {
            return;
        };
        let texts: Vec<_> = batch.iter().map(MessageRef::text).collect();
        let note = if texts == [Ok(text.as_str())] {
            Note::Echoed(number)
        } else {
            Note::Wrong(format!("{texts:?} came back, not {text:?}"))
        };
        if sender.send(note).is_err() {
            return;
        }
    }
}
