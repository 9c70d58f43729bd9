//! What became of every connection of a fleet.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use ropewalk_core::ConnectionReport;

use crate::waiters::{Key, Waiters};

/// What became of a fleet's connections and their messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The connections in the order in which they ended.
    pub connections: Vec<NamedReport>,
    /// How many more ended earlier: of those that ended before the shutdown only the last 4,096 are kept.
    pub omitted: u64,
}

/// What became of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedReport {
    /// The connection's name.
    pub name: Arc<str>,
    /// Its messages, accounted for, and why it ended.
    pub report: ConnectionReport,
}

const ENDED_KEPT: usize = 4_096;

/// Which connections live, and the reports of those that ended.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    live: usize,
    ended: VecDeque<NamedReport>,
    omitted: u64,
    waiters: Waiters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// A shutdown has begun: no connection begins any more.
    Closing,
}

impl Ledger {
    /// Counts a connection in.
    ///
    /// # Errors
    /// [`NotOpen`] once a shutdown has begun.
    pub(crate) fn begin(&self) -> Result<(), NotOpen> {
        let mut state = self.lock();
        match state.phase {
            Phase::Open => {
                state.live += 1;
                Ok(())
            }
            Phase::Closing => Err(NotOpen),
        }
    }

    /// Counts a connection out.
    pub(crate) fn end(&self, report: Option<NamedReport>) {
        let mut state = self.lock();
        state.live -= 1;
        state.ended.extend(report);
        if state.phase == Phase::Open && state.ended.len() > ENDED_KEPT {
            state.ended.pop_front();
            state.omitted += 1;
        }
        if state.live == 0 {
            let wake = state.waiters.take();
            drop(state);
            wake.wake();
        }
    }

    /// From now on nothing begins.
    pub(crate) fn close(&self) {
        self.lock().phase = Phase::Closing;
    }

    /// Waits until no connection lives. Cancel safe.
    pub(crate) async fn all_ended(&self) -> Report {
        let mut wait = Wait {
            ledger: self,
            key: None,
        };
        poll_fn(move |cx| {
            let mut state = self.lock();
            if state.live > 0 {
                state.waiters.wait(&mut wait.key, cx);
                return Poll::Pending;
            }
            Poll::Ready(Report {
                connections: state.ended.iter().cloned().collect(),
                omitted: state.omitted,
            })
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

struct Wait<'a> {
    ledger: &'a Ledger,
    key: Key,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.ledger.lock().waiters.leave(self.key);
    }
}

/// The fleet takes no connections any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOpen;
