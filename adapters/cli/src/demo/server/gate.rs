//! What the server is up to, and a way to wait for it to change.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The stages of a run. They only ever advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Feeds produce, faults happen.
    Hostile,
    /// Feeds rest, every client is served.
    Healed,
    /// Every thread returns as soon as it can.
    Stopping,
}

/// The current phase, shared by all threads.
pub(super) struct Gate {
    phase: Mutex<Phase>,
    advanced: Condvar,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new(Phase::Hostile),
            advanced: Condvar::new(),
        }
    }

    pub(super) fn advance_to(&self, phase: Phase) {
        let mut current = lock(&self.phase);
        *current = phase.max(*current);
        self.advanced.notify_all();
    }

    pub(super) fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    /// Waits for `phase` or a later one, at most for `time`, and returns the phase at the end.
    pub(super) fn wait_for(&self, phase: Phase, time: Duration) -> Phase {
        let deadline = Instant::now() + time;
        let mut current = lock(&self.phase);
        while *current < phase {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            current = self
                .advanced
                .wait_timeout(current, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *current
    }
}

/// Locks, also after a panic elsewhere: all state behind the server's locks is valid between statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
