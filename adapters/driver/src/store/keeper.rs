//! What stands between a fleet and the thread that serves its store: letters on their way, and tasks.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant as StdInstant};

use ropewalk_core::{ConnectionId, DeadLetter, Event, EventKind, Fate, Instant};

use super::clerk::Clerk;
use super::queue::{Pending, Queue};
use super::{Change, LetterCounts, LetterId, LetterRecord, LetterStore, StoreError, StoreQueue};
use crate::clock::Clock;
use crate::events::Ring;
use crate::link::Link;
use crate::oneshot::{Awaited, Promise, oneshot};

/// Dropped letters are told of once in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Takes letters for the store and passes on what programs ask of it. Nothing here waits for the store.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) ring: Arc<Ring>,
    pub(super) state: Mutex<State>,
    pub(super) work: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) tasks: VecDeque<Task>,
    pub(super) phase: Phase,
    pub(super) counts: LetterCounts,
    pub(super) drop_told_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Phase {
    Running,
    /// The thread ends when all is stored, or at this time.
    Finishing(StdInstant, Option<Promise<()>>),
    Ended,
}

/// What the thread is asked to do beside storing letters.
pub(super) enum Task {
    /// Something that only concerns the store.
    Ask(Ask),
    Change {
        ids: Vec<LetterId>,
        change: Change,
        done: Promise<Result<Vec<LetterId>, StoreError>>,
    },
    RedriveAll {
        rate: NonZeroU32,
        done: Promise<Result<u64, StoreError>>,
    },
    /// Letters may have been marked from outside.
    Refresh(Option<NonZeroU32>),
    Opened(Arc<Link>),
    Ended(Arc<Link>),
    Fate(Settled),
}

/// Something asked of the store alone.
pub(super) type Ask = Box<dyn FnOnce(&mut dyn LetterStore) + Send>;

/// A redriven letter whose fate is known.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) link: Arc<Link>,
    pub(super) id: LetterId,
    pub(super) fate: Fate,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ask(_) => "Ask",
            Self::Change { .. } => "Change",
            Self::RedriveAll { .. } => "RedriveAll",
            Self::Refresh(_) => "Refresh",
            Self::Opened(_) => "Opened",
            Self::Ended(_) => "Ended",
            Self::Fate(_) => "Fate",
        })
    }
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        store: Box<dyn LetterStore>,
        bounds: StoreQueue,
        clock: Clock,
        ring: Arc<Ring>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            ring,
            state: Mutex::new(State {
                queue: Queue::new(bounds),
                tasks: VecDeque::new(),
                phase: Phase::Running,
                counts: LetterCounts::default(),
                drop_told_at: None,
            }),
            work: Condvar::new(),
        });
        let clerk = Clerk::new(Arc::clone(&shared), store);
        thread::Builder::new()
            .name("ropewalk-letters".into())
            .spawn(move || clerk.run())?;
        Ok(Self { shared })
    }

    /// Takes charge of a letter.
    pub(crate) fn file(&self, name: &Arc<str>, letter: &DeadLetter) {
        let shared = &self.shared;
        let record = LetterRecord {
            connection: Arc::clone(name),
            endpoint: letter.endpoint.clone(),
            generation: letter.generation,
            seq: letter.seq,
            direction: letter.direction,
            stage: letter.stage,
            reason: letter.reason.clone(),
            attempts: letter.attempts,
            received_at: shared.clock.wall_time(letter.received_at),
            first_failed_at: shared.clock.wall_time(letter.first_failed_at),
            kind: letter.kind,
            payload: letter.payload.clone(),
        };
        let pending = Pending {
            record,
            connection: letter.connection,
        };
        let mut state = shared.lock();
        state.counts.taken += 1;
        let dropped = match state.phase {
            Phase::Running | Phase::Finishing(..) => state.queue.push(pending),
            Phase::Ended => 1,
        };
        let told = (dropped > 0)
            .then(|| state.dropped(shared.clock.now(), dropped))
            .flatten();
        drop(state);
        shared.work.notify_one();
        if let Some(kind) = told {
            shared.tell(name, letter.connection, letter.generation, kind);
        }
    }

    /// Leaves a task for the thread; it is dropped if the thread has ended.
    pub(super) fn leave(&self, task: Task) {
        let mut state = self.shared.lock();
        match state.phase {
            Phase::Running | Phase::Finishing(..) => state.tasks.push_back(task),
            Phase::Ended => return,
        }
        drop(state);
        self.shared.work.notify_one();
    }

    pub(crate) fn opened(&self, link: &Arc<Link>) {
        self.leave(Task::Opened(Arc::clone(link)));
    }

    pub(crate) fn ended(&self, link: &Arc<Link>) {
        self.leave(Task::Ended(Arc::clone(link)));
    }

    /// What became of a redriven letter.
    pub(crate) fn settle(&self, link: &Arc<Link>, id: LetterId, fate: Fate) {
        self.leave(Task::Fate(Settled {
            link: Arc::clone(link),
            id,
            fate,
        }));
    }

    pub(crate) fn counts(&self) -> LetterCounts {
        let state = self.shared.lock();
        LetterCounts {
            waiting: state.queue.len() as u64,
            ..state.counts
        }
    }

    /// Lets the thread store what there is, for so long at most, and end. What it cannot store is counted as dropped.
    pub(crate) fn finish(&self, within: Duration) -> Awaited<()> {
        let (promise, done) = oneshot();
        let now = StdInstant::now();
        let until = now.checked_add(within).unwrap_or(now);
        let mut state = self.shared.lock();
        // A thread that has ended keeps no promise, and dropping it tells the same.
        if !matches!(state.phase, Phase::Ended) {
            state.phase = Phase::Finishing(until, Some(promise));
        }
        drop(state);
        self.shared.work.notify_one();
        done
    }

    /// Lets the thread store what it can at once, and end. Nobody waits for it.
    pub(crate) fn abandon(&self) {
        drop(self.finish(Duration::ZERO));
    }
}

impl Shared {
    pub(super) fn tell(
        &self,
        name: &Arc<str>,
        connection: ConnectionId,
        generation: u32,
        kind: EventKind,
    ) {
        let event = Event {
            at: self.clock.now(),
            connection,
            generation,
            kind,
        };
        self.ring.push(name, event);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

impl State {
    /// Counts letters that gave way; what to tell of it, if it is time to.
    pub(super) fn dropped(&mut self, now: Instant, letters: u64) -> Option<EventKind> {
        self.counts.dropped += letters;
        let is_time = self
            .drop_told_at
            .is_none_or(|at| now.saturating_since(at) >= TELL_INTERVAL);
        is_time.then(|| {
            self.drop_told_at = Some(now);
            EventKind::LettersDropped {
                total: self.counts.dropped,
            }
        })
    }
}
