//! The children of a processor that have nothing to do, and when there may be more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_driver::Runtime;

use super::group::Groups;
use super::worker::{Failure, Worker};
use crate::config::ProcessorPlan;
use crate::deadline::{sleep, within};

/// Children between calls. There are never more than there were calls at once.
pub(super) struct Pool {
    groups: Groups,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was used last is the last.
    idle: Vec<Worker>,
    /// How many children have failed since there was a verdict.
    fruitless: u32,
}

/// A child that had nothing to do for this long is ended when others come back: fewer are needed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long a child that is not needed has to end by itself.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// The wait before a child is started in the place of one that never answered; it doubles each time.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(1);

impl Pool {
    pub(super) fn new(groups: Groups) -> Self {
        Self {
            groups,
            state: Mutex::default(),
        }
    }

    /// The child that was used last.
    pub(super) fn take(&self) -> Option<Worker> {
        self.lock().idle.pop()
    }

    /// All that have nothing to do.
    pub(super) fn take_all(&self) -> Vec<Worker> {
        std::mem::take(&mut self.lock().idle)
    }

    /// A new child, after a wait if those before it only failed.
    pub(super) async fn start<R: Runtime>(&self, plan: &ProcessorPlan) -> Result<Worker, Failure> {
        let delay = restart_delay(self.lock().fruitless);
        if !delay.is_zero() {
            sleep::<R>(delay).await;
        }
        Worker::start(plan, &self.groups)
    }

    /// Takes a child back.
    pub(super) fn put<R: Runtime>(&self, worker: Worker) {
        let mut state = self.lock();
        state.idle.push(worker);
        let is_needed = |worker: &Worker| worker.idle_time() < IDLE_MAX;
        let first = state.idle.iter().position(is_needed).unwrap_or_default();
        let unneeded: Vec<_> = state.idle.drain(..first).collect();
        drop(state);
        for mut worker in unneeded {
            worker.close_input();
            R::spawn(async move {
                within::<R, _>(ENDING_MAX, worker.ended()).await;
            });
        }
    }

    /// Notes that children give verdicts.
    pub(super) fn has_answered(&self) {
        self.lock().fruitless = 0;
    }

    /// Notes that a child failed.
    pub(super) fn has_failed(&self) {
        let mut state = self.lock();
        state.fruitless = state.fruitless.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn restart_delay(fruitless: u32) -> Duration {
    match fruitless.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => RESTART_FIRST
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(RESTART_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_new_child_grows_while_none_answers() {
        let millis = [0, 1, 2, 3, 4, 5, 100].map(|fruitless| restart_delay(fruitless).as_millis());
        assert_eq!(millis, [0, 100, 200, 400, 800, 1000, 1000]);
    }
}
