//! Where tasks, servers and the story tell each other what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ropewalk_driver::Outcome;

use crate::trace::Trace;

/// A story that waits longer than this for one thing has failed: it says so instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happened so far, and a bell.
#[derive(Debug, Default)]
pub(super) struct Board {
    seen: Mutex<Seen>,
    bell: Condvar,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) trace: Trace,
    pub(super) received: BTreeMap<String, usize>,
    pub(super) letters: BTreeMap<String, usize>,
    /// By connection, and by the order in which the messages were accepted.
    pub(super) outcomes: BTreeMap<String, Vec<Option<Outcome>>>,
    /// Sends that were not accepted.
    pub(super) refused: usize,
    /// The newest dial of each connection that is known to have ended.
    pub(super) ended_dials: BTreeMap<String, u32>,
    /// The dial that each connection's server is ready for.
    pub(super) listening: BTreeMap<String, u32>,
    pub(super) served: BTreeSet<(String, u32)>,
    pub(super) signals: BTreeSet<String>,
    pub(super) problems: Vec<String>,
    /// Tasks that are still at work.
    pub(super) tasks: usize,
    pub(super) closed: BTreeSet<String>,
    pub(super) stage: Stage,
}

/// How far the play has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Playing,
    /// The fleet has ended and reported.
    ShutDown,
    /// Servers are to end.
    Over,
}

impl Board {
    /// Changes what was seen and rings the bell.
    pub(super) fn tell<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.lock());
        self.bell.notify_all();
        result
    }

    /// Looks at what was seen.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until something is so.
    pub(super) fn wait(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.lock();
        while !is_so(&seen) {
            if let Some(problem) = seen.problems.first() {
                return Err(format!("waits for {what}, and {problem}"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("waits for {what} and it never comes"));
            }
            let waited = self.bell.wait_timeout(seen, left);
            seen = waited.expect("nothing panics under this lock").0;
        }
        Ok(())
    }

    /// Waits, for as long as it takes, until something is so or the play is over; says whether it is so.
    pub(super) fn wait_or_over(&self, is_so: impl Fn(&Seen) -> bool) -> bool {
        let mut seen = self.lock();
        while !is_so(&seen) && seen.stage != Stage::Over {
            seen = self
                .bell
                .wait(seen)
                .expect("nothing panics under this lock");
        }
        is_so(&seen)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics under this lock")
    }
}
