//! Batches on their way to processors, and the tasks that call these.
//!
//! Most calls of processors end where they began, so a task for each would cost more than the call. Those of a shard are made by a
//! few *runners*, which take them from one queue; a call that waits for something goes on in a task of its own. No call has to wait
//! for another that keeps its core busy, as long as the runtime lets another thread run what that has woken: as many runners are
//! on their way as jobs wait, up to the number of cores, and one that is busy is not among them. Where the runtime has one thread,
//! nobody could make a call while the shard does something else, and the shard makes them all itself.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use ropewalk_core::{Batch, Judged};

use crate::application::Process;
use crate::mailbox::{Command, Mailbox};
use crate::process::{Begun, Judging, Pace};
use crate::tray::{Tray, move_behind};

/// So many calls are made in a row before others get their turn.
pub(crate) const CALLS_A_TURN: usize = 32;

/// Capacity that an emptied queue keeps.
const KEPT: usize = 256;

/// A batch for a processor.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) process: Process,
    pub(crate) batch: Batch,
    /// Of which [changes](Jobs::change) the shard knew.
    pub(crate) known: u64,
}

/// What has become of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// A runner's call has ended, and leaves a place for the next.
    Judged(Judged),
    /// So has one in a task of its own.
    Returned(Judged, Pace),
    /// The call waits for something.
    Waits(Box<Judging>),
    /// The processor was not called, since it is perhaps not to be any more.
    Held(Batch),
}

/// The calls that a shard wants made, and what it is to be told of them. Closed with it.
#[derive(Debug)]
pub(crate) struct Jobs {
    mailbox: Arc<Mailbox>,
    crew: Crew,
    /// How often a processor was paused, or its connection has ended.
    changes: AtomicU64,
    /// There is news for the shard when something is done.
    state: Tray<State>,
}

/// Who makes a shard's calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crew {
    /// So many threads may usefully run at once.
    pub(crate) cores: usize,
    /// Starts a runner.
    pub(crate) spawn: fn(Runner),
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// As the shard takes it.
    done: VecDeque<Command>,
    /// How many runners were woken or spawned and have not looked yet.
    coming: usize,
    /// The runners that wait, by number.
    idle: Vec<(u32, Waker)>,
    runners: u32,
    is_closed: bool,
}

/// Calls a processor, and polls the call once.
pub(crate) fn make(process: &Process, batch: Batch, cx: &mut Context<'_>) -> Done {
    match Judging::begin(process, batch, cx) {
        Begun::Judged(judged) => Done::Judged(judged),
        Begun::Waits(judging) => Done::Waits(Box::new(judging)),
    }
}

impl Done {
    /// Whether it is dealt with in less time than it takes to look at the clock a few times.
    pub(crate) fn is_quick(&self) -> bool {
        matches!(self, Self::Judged(judged) if judged.refusals().is_empty())
    }
}

impl Jobs {
    pub(crate) fn new(mailbox: Arc<Mailbox>, crew: Crew) -> Arc<Self> {
        Arc::new(Self {
            mailbox,
            crew,
            changes: AtomicU64::new(0),
            state: Tray::default(),
        })
    }

    /// Some processor is not to be called for the jobs that wait. Whoever takes one from now on that does not know of this returns it to
    /// the shard.
    pub(crate) fn change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Whether whoever knew of so many changes knows of all.
    pub(crate) fn is_latest(&self, known: u64) -> bool {
        self.changes.load(Ordering::Acquire) == known
    }

    /// Adds jobs, and calls runners for them.
    pub(crate) fn push(self: &Arc<Self>, jobs: &mut VecDeque<Job>) {
        let mut state = self.lock();
        move_behind(&mut state.waiting, jobs);
        self.call_runners(state);
    }

    /// Calls as many runners as are missing among those that are on their way.
    fn call_runners<'s>(self: &'s Arc<Self>, mut state: MutexGuard<'s, State>) {
        let wanted = state.waiting.len().min(self.crew.cores);
        let mut missing = wanted.saturating_sub(state.coming);
        while missing > 0 {
            missing -= 1;
            state.coming += 1;
            match state.idle.pop() {
                Some((_, waker)) => {
                    drop(state);
                    waker.wake();
                }
                None => {
                    let number = state.runners;
                    state.runners = number.wrapping_add(1);
                    drop(state);
                    (self.crew.spawn)(Runner {
                        jobs: Arc::clone(self),
                        number,
                        standing: Standing::Coming,
                    });
                }
            }
            if missing == 0 {
                return;
            }
            state = self.lock();
        }
    }

    /// Tells the shard what has become of a job. A shard that has ended wants to know nothing.
    pub(crate) fn tell(&self, done: Done) {
        let added = self.add(&mut self.lock(), Some(done));
        self.notify(added);
    }

    /// Takes what there is to be told. `done`, which is empty, changes places with what gathers it if there is any, so that both are used
    /// again.
    pub(crate) fn take_done(&self, done: &mut VecDeque<Command>) {
        debug_assert!(done.is_empty());
        if done.capacity() > KEPT {
            *done = VecDeque::new();
        }
        if let Some(mut state) = self.state.lock_if_news() {
            self.state.set_news(&state, false);
            move_behind(done, &mut state.done);
        }
    }

    /// Drops what waits; the runners end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let done = std::mem::take(&mut state.done);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop((waiting, done));
        for (_, waker) in idle {
            waker.wake();
        }
    }

    /// Leaves what was done for the shard.
    fn add(&self, state: &mut MutexGuard<'_, State>, done: Option<Done>) -> Added {
        match done {
            Some(done) if state.is_closed => Added::Refused(done),
            Some(done) => {
                state.done.push_back(Command::Done(done));
                self.state.set_news(state, true);
                match state.done.len() {
                    1 => Added::First,
                    _ => Added::Nothing,
                }
            }
            None => Added::Nothing,
        }
    }

    fn notify(&self, added: Added) {
        match added {
            Added::Nothing => {}
            Added::First => self.mailbox.ready.notify(),
            Added::Refused(done) => drop(done),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// What follows from telling the shard something.
enum Added {
    Nothing,
    /// The shard is to be woken: of what it takes together only the first does that.
    First,
    /// It has ended. What the application left in this is not to go while others wait for the lock.
    Refused(Done),
}

/// A task that calls processors as long as there are jobs.
#[derive(Debug)]
pub(crate) struct Runner {
    jobs: Arc<Jobs>,
    number: u32,
    standing: Standing,
}

/// What the others think that a runner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is counted among those that are on their way.
    Coming,
    /// It waits, or was called from that: then whoever called it has counted it among those that are on their way.
    Idle,
    Busy,
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut done = None;
        for _ in 0..CALLS_A_TURN {
            let job = match self.next(cx, done.take()) {
                Poll::Ready(Some(job)) => job,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            };
            let made = match self.jobs.is_latest(job.known) {
                true => make(&job.process, job.batch, cx),
                false => Done::Held(job.batch),
            };
            let waits = matches!(made, Done::Waits(_));
            done = Some(made);
            if waits {
                // It may have used up what the runtime grants a task at once.
                break;
            }
        }
        self.come_back(done);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Runner {
    /// Tells what has become of the last job, and takes the next; `None` if there will be none for this runner.
    fn next(&mut self, cx: &Context<'_>, done: Option<Done>) -> Poll<Option<Job>> {
        let mut state = self.jobs.lock();
        let stale = self.standing.arrive(self.number, &mut state);
        let added = self.jobs.add(&mut state, done);
        let next = match state.waiting.pop_front() {
            Some(job) => Poll::Ready(Some(job)),
            None if state.is_closed || state.idle.len() > self.jobs.crew.cores => Poll::Ready(None),
            None => {
                if state.waiting.capacity() > KEPT {
                    state.waiting = VecDeque::new();
                }
                state.idle.push((self.number, cx.waker().clone()));
                self.standing = Standing::Idle;
                Poll::Pending
            }
        };
        let is_short = state.coming < state.waiting.len().min(self.jobs.crew.cores);
        drop(state);
        drop(stale);
        self.jobs.notify(added);
        // The call may keep this core busy for long. After the shard, so that some runtimes let another thread run that meanwhile: the
        // task that a task has woken last stays with its thread.
        if is_short {
            self.jobs.call_runners(self.jobs.lock());
        }
        next
    }

    /// Is on its way again.
    fn come_back(&mut self, done: Option<Done>) {
        let mut state = self.jobs.lock();
        state.coming += 1;
        let added = self.jobs.add(&mut state, done);
        drop(state);
        self.jobs.notify(added);
        self.standing = Standing::Coming;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let stale = self.standing.arrive(self.number, &mut self.jobs.lock());
        drop(stale);
    }
}

impl Standing {
    /// The runner of this number is not on its way any more. Returns its waker if that was not used, to be dropped without the lock.
    fn arrive(&mut self, number: u32, state: &mut State) -> Option<(u32, Waker)> {
        match std::mem::replace(self, Self::Busy) {
            Self::Coming => state.coming -= 1,
            Self::Idle => {
                let at = state.idle.iter().position(|(idle, _)| *idle == number);
                match at {
                    // Woken by something else, such as what a call has waited for here.
                    Some(at) => return Some(state.idle.swap_remove(at)),
                    None if state.is_closed => {}
                    None => state.coming -= 1,
                }
            }
            Self::Busy => {}
        }
        None
    }
}

#[cfg(test)]
mod tests;
