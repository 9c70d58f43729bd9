//! What a connection's handle, senders and consumer share with its shard.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll};

use ropewalk_core::{Batch, ConnectionId, ConnectionReport, Consumer, Instant, Shutdown, State};

use ropewalk_core::settings::{OutboundSettings, Overflow};

use crate::batches::Batches;
use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::mailbox::{Command, Mailbox};
use crate::report::{Ledger, NamedReport};
use crate::room::{Room, Then};
use crate::waiters::{Key, Waiters};

/// One connection, seen from both sides.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: Arc<str>,
    pub(crate) consumer: Consumer,
    pub(crate) room: Arc<Room>,
    pub(crate) when_full: Overflow,
    home: Arc<Home>,
    id: OnceLock<ConnectionId>,
    shared: Mutex<Shared>,
}

/// What the connections of one shard have in common, so that each keeps it once.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) clock: Clock,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) ledger: Arc<Ledger>,
}

/// There is one for each connection, idle ones included. A lock's size is the system's.
#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<Link>() <= 144);

#[derive(Debug, Default)]
struct Shared {
    state: State,
    life: Life,
    processing: Processing,
    inbox: Inbox,
    waiters: Waiters,
}

#[derive(Debug, Default)]
enum Life {
    #[default]
    Runs,
    /// With the report, unless its shard was dropped before there was one.
    Ended(Option<Box<ConnectionReport>>),
}

/// Whether whoever takes a connection's batches gets any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Processing {
    #[default]
    Runs,
    Paused,
}

/// What [`Link::settle`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Already,
    /// The next batch is to be asked for in the puller's name.
    Ask,
}

/// The batches that the shard handed over and no puller has taken, and whether another was asked for.
#[derive(Debug, Default)]
struct Inbox {
    is_asked: bool,
    batches: Batches,
}

impl Link {
    pub(crate) fn new(
        name: Arc<str>,
        consumer: Consumer,
        outbound: OutboundSettings,
        home: Arc<Home>,
    ) -> Self {
        Self {
            name,
            consumer,
            room: Arc::new(Room::new(outbound)),
            when_full: outbound.when_full,
            home,
            id: OnceLock::new(),
            shared: Mutex::default(),
        }
    }
}

impl Shared {
    /// The next batch that is here; `None` once all have been taken and no more will come.
    fn poll_batch(&mut self) -> Poll<Option<Batch>> {
        match (self.processing, &self.life) {
            (Processing::Paused, Life::Runs) => Poll::Pending,
            (Processing::Runs, Life::Runs) => {
                let batch = self.inbox.batches.pop_front();
                batch.map_or(Poll::Pending, |batch| Poll::Ready(Some(batch)))
            }
            (Processing::Runs | Processing::Paused, Life::Ended(_)) => {
                Poll::Ready(self.inbox.batches.pop_front())
            }
        }
    }
}

// The application's side.
impl Link {
    /// Leaves a command for the shard.
    ///
    /// # Errors
    /// The command, if the shard has ended.
    pub(crate) fn command(&self, command: Command) -> Result<(), Command> {
        self.home.mailbox.push(command)
    }

    /// The time by the fleet's clock.
    pub(crate) fn now(&self) -> Instant {
        self.home.clock.now()
    }

    /// As [`command`](Self::command), for one that means nothing once the shard has ended.
    pub(crate) fn tell(&self, command: Command) {
        drop(self.command(command));
    }

    /// A message was posted. Once the shard has ended, it is not sent.
    #[inline]
    pub(crate) fn posted(self: &Arc<Self>, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Tell => self.tell_of_posted(),
        }
    }

    fn tell_of_posted(self: &Arc<Self>) {
        if self.command(Command::Send(Arc::clone(self))).is_err() {
            self.room.abandon();
        }
    }

    /// Asks the shard to end the connection and takes no more messages to send.
    pub(crate) fn remove(self: &Arc<Self>, how: Shutdown) {
        self.room.close();
        self.tell(Command::Remove(Arc::clone(self), how));
    }

    /// Hands out no more batches. One that was asked for may still come, and waits.
    pub(crate) fn pause_processing(self: &Arc<Self>) {
        match self.consumer {
            Consumer::Pull => self.lock().processing = Processing::Paused,
            Consumer::Process => {
                self.home.jobs.change();
                self.tell(Command::PauseProcessing(Arc::clone(self)));
            }
        }
    }

    /// Hands out batches again.
    pub(crate) fn resume_processing(self: &Arc<Self>) {
        match self.consumer {
            Consumer::Pull => {}
            Consumer::Process => return self.tell(Command::ResumeProcessing(Arc::clone(self))),
        }
        let mut shared = self.lock();
        shared.processing = Processing::Runs;
        let wake = shared.waiters.take();
        drop(shared);
        wake.wake();
    }

    /// The next batch for a puller; `None` when the connection has ended and all its batches were taken.
    pub(crate) fn poll_batch(
        self: &Arc<Self>,
        key: &mut Key,
        cx: &Context<'_>,
    ) -> Poll<Option<Batch>> {
        let mut shared = self.lock();
        match shared.poll_batch() {
            Poll::Ready(batch) => return Poll::Ready(batch),
            Poll::Pending => shared.waiters.wait(key, cx),
        }
        let is_wanted = match (self.consumer, shared.processing) {
            (Consumer::Pull, Processing::Runs) => !shared.inbox.is_asked,
            (Consumer::Pull, Processing::Paused) | (Consumer::Process, _) => false,
        };
        shared.inbox.is_asked |= is_wanted;
        drop(shared);
        if is_wanted {
            self.tell(Command::Ask(Arc::clone(self)));
        }
        Poll::Pending
    }

    /// Says that a puller is done with the batches it took. It may still be busy with the last one, but
    /// nothing depends on that any more once the connection is to end, and an end is not to wait for a
    /// puller that will not pull again. Whether there is something to tell the core.
    pub(crate) fn settle(&self) -> Settled {
        let mut shared = self.lock();
        let Inbox { is_asked, batches } = &shared.inbox;
        let is_idle = !is_asked && batches.is_empty();
        match (self.consumer, &shared.life) {
            (Consumer::Pull, Life::Runs) if is_idle => {
                shared.inbox.is_asked = true;
                Settled::Ask
            }
            (Consumer::Pull | Consumer::Process, _) => Settled::Already,
        }
    }

    /// The report, once the connection has ended: `None` if its shard was dropped first.
    pub(crate) fn poll_report(
        &self,
        key: &mut Key,
        cx: &Context<'_>,
    ) -> Poll<Option<ConnectionReport>> {
        let mut shared = self.lock();
        match &shared.life {
            Life::Ended(report) => Poll::Ready(report.as_deref().cloned()),
            Life::Runs => {
                shared.waiters.wait(key, cx);
                Poll::Pending
            }
        }
    }

    /// The report, if the connection has ended.
    pub(crate) fn report(&self) -> Option<ConnectionReport> {
        match &self.lock().life {
            Life::Ended(report) => report.as_deref().cloned(),
            Life::Runs => None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.lock().state
    }

    pub(crate) fn leave(&self, key: Key) {
        self.lock().waiters.leave(key);
    }
}

// The shard's side.
impl Link {
    /// Names the connection, once.
    pub(crate) fn begin(&self, id: ConnectionId) {
        self.id.set(id).expect("a connection is opened once");
    }

    /// The connection's name in its shard; `None` before the shard has taken it in.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.id.get().copied()
    }

    /// Hands a batch to whoever pulls.
    pub(crate) fn deliver(&self, batch: Batch) {
        let mut shared = self.lock();
        shared.inbox.is_asked = false;
        shared.inbox.batches.push_back(batch);
        let wake = shared.waiters.take();
        drop(shared);
        wake.wake();
    }

    pub(crate) fn moved(&self, to: State) {
        self.lock().state = to;
        if to.is_terminal() {
            self.room.close();
        }
    }

    /// Ends a connection that its fleet never took in.
    pub(crate) fn refuse(&self) {
        self.room.abandon();
        let mut shared = self.lock();
        shared.life = Life::Ended(None);
        shared.state = State::Closed;
    }

    /// Ends the connection for all who hold it; only the first call counts.
    pub(crate) fn end(&self, report: Option<ConnectionReport>) {
        self.room.abandon();
        let named = report.clone().map(|report| NamedReport {
            name: Arc::clone(&self.name),
            report,
        });
        let mut shared = self.lock();
        match shared.life {
            Life::Ended(_) => return,
            Life::Runs => shared.life = Life::Ended(report.map(Box::new)),
        }
        if !shared.state.is_terminal() {
            shared.state = State::Closed;
        }
        let wake = shared.waiters.take();
        drop(shared);
        self.home.ledger.end(named);
        wake.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}
