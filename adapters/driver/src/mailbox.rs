//! What the rest of the world asks of a shard.

use std::collections::VecDeque;
use std::collections::vec_deque::IntoIter;
use std::sync::{Arc, MutexGuard};

use ropewalk_core::admission::{RequestId, Stage};
use ropewalk_core::{AttemptRequest, Config, ConnectionId, Instant, Shutdown, Target};

use crate::application::{Process, Provide, Transport};
use crate::jobs::Done;
use crate::link::Link;
use crate::oneshot::Promise;
use crate::ready::ReadyList;
use crate::room::Post;
use crate::snapshot::Snapshot;
use crate::store::StoredLetter;
use crate::tray::{Tray, move_behind};

/// A shard's letterbox, and the list of its places that were woken: all that wakes a shard does so through these.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Tray<State>,
    pub(crate) ready: ReadyList,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Command>,
    closed: Closed,
}

/// Whether the shard is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Closed {
    #[default]
    No,
    Yes,
}

/// Room for commands that an emptied box keeps: 6 KiB, and as much where they were taken to.
const COMMANDS_KEPT: usize = 128;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(COMMANDS_KEPT * size_of::<Command>() <= 6 << 10);

/// One request to a shard. A connection's first is [`Command::Open`].
#[derive(Debug)]
pub(crate) enum Command {
    Open(Box<Opening>),
    /// There are messages in the connection's room.
    Send(Arc<Link>),
    /// These were taken out of it.
    SendRest(Arc<Link>, IntoIter<Post>),
    /// A puller wants a batch.
    Ask(Arc<Link>),
    /// Left by nobody: what the shard was told behind all that had been left here before.
    Done(Done),
    /// [`Jobs::change`](crate::jobs::Jobs::change) was called for this.
    PauseProcessing(Arc<Link>),
    ResumeProcessing(Arc<Link>),
    Provided {
        connection: ConnectionId,
        generation: u32,
        result: Box<Result<AttemptRequest, Box<str>>>,
    },
    Remove(Arc<Link>, Shutdown),
    RemoveAll(Instant),
    Pause(Arc<Link>),
    Resume(Arc<Link>),
    RetryNow(Arc<Link>),
    /// Of interest only if the request is still the connection's latest.
    Admitted {
        connection: ConnectionId,
        request: RequestId,
        stage: Stage,
    },
    BytesGranted(u64),
    /// A stored letter goes back to its connection.
    Redrive(Arc<Link>, Box<StoredLetter>),
    CallGranted(ConnectionId),
    /// Others wait for the calls that the shard keeps.
    CallsRecalled,
    Snapshot(Arc<Link>, Promise<Snapshot>),
    SnapshotAll(Promise<Vec<Snapshot>>),
}

impl Command {
    /// Whether it is obeyed in less time than it takes to look at the clock a few times.
    pub(crate) fn is_quick(&self) -> bool {
        matches!(self, Self::Done(done) if done.is_quick())
    }
}

/// A connection that is to begin.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) link: Arc<Link>,
    pub(crate) target: Arc<Target>,
    pub(crate) config: Arc<Config>,
    pub(crate) provide: Option<Provide>,
    pub(crate) transport: Option<Transport>,
    pub(crate) process: Option<Process>,
}

impl Mailbox {
    /// Leaves a command and wakes the shard.
    ///
    /// # Errors
    /// The command, if the shard has ended.
    pub(crate) fn push(&self, command: Command) -> Result<(), Command> {
        let mut state = self.state.lock();
        match state.closed {
            Closed::Yes => return Err(command),
            Closed::No => state.commands.push_back(command),
        }
        self.state.set_news(&state, true);
        // Of commands that the shard takes together only the first wakes it: whoever left that has woken it or is about to.
        let is_first = state.commands.len() == 1;
        drop(state);
        if is_first {
            self.ready.notify();
        }
        Ok(())
    }

    /// Moves all commands behind those in `mail`. An empty `mail` changes places with the box's own if that holds any, so that both are
    /// used again.
    pub(crate) fn take(&self, mail: &mut VecDeque<Command>) -> Closed {
        if mail.is_empty() && mail.capacity() > COMMANDS_KEPT {
            *mail = VecDeque::new();
        }
        let Some(mut state) = self.state.lock_if_news() else {
            return Closed::No;
        };
        if state.closed == Closed::No {
            self.state.set_news(&state, false);
            move_behind(mail, &mut state.commands);
        }
        state.closed
    }

    /// Tells the shard to end. Commands that it has not taken stay for [`drain`](Self::drain).
    pub(crate) fn close(&self) {
        drop(self.lock_to_close());
        self.ready.notify();
    }

    /// Closes and takes what nobody will do any more.
    pub(crate) fn drain(&self) -> VecDeque<Command> {
        std::mem::take(&mut self.lock_to_close().commands)
    }

    fn lock_to_close(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.closed = Closed::Yes;
        self.state.set_news(&state, true);
        state
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::ready::News;
    use crate::woken::Woken;

    #[test]
    fn commands_that_wait_together_wake_the_shard_once_and_room_is_used_again() {
        let mailbox = Mailbox::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut ready = VecDeque::new();
        let mut mail = VecDeque::new();
        let mut rooms = Vec::new();
        for round in 1..=4 {
            assert_eq!(mailbox.ready.register(&waker, &mut ready), News::Some);
            assert_eq!(mailbox.take(&mut mail), Closed::No);
            rooms.push(mail.capacity());
            mail.clear();
            assert_eq!(mailbox.ready.register(&waker, &mut ready), News::None);
            for _ in 0..3 {
                mailbox.push(Command::BytesGranted(1)).unwrap();
            }
            assert_eq!(woken.times(), round);
        }
        assert_eq!(rooms[2], rooms[1], "{rooms:?}");
        assert_eq!(mailbox.take(&mut mail), Closed::No);
        assert_eq!(mail.len(), 3);
        mailbox.push(Command::BytesGranted(2)).unwrap();
        assert_eq!(mailbox.take(&mut mail), Closed::No);
        assert!(matches!(mail.back(), Some(Command::BytesGranted(2))));
        assert_eq!(mail.len(), 4);
    }
}
