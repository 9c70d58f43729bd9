//! Process groups of children, so that none is left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// All groups that there are. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    leaders: Arc<Mutex<BTreeSet<Pid>>>,
}

/// The processes that a child began with: it leads them. What is left of them when this is dropped is killed.
#[derive(Debug)]
pub(super) struct Group {
    groups: Groups,
    leader: Pid,
}

impl Groups {
    /// The group of the child with this number.
    pub(super) fn led_by(&self, child: u32) -> Group {
        let leader = Pid::from_raw(i32::try_from(child).expect("a process's number is positive"));
        self.lock().insert(leader);
        Group {
            groups: self.clone(),
            leader,
        }
    }

    /// Kills all of them: this process is about to end.
    pub(crate) fn kill_all(&self) {
        for leader in self.lock().iter() {
            kill(*leader);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Kills whoever is left of it.
    pub(super) fn kill(&self) {
        kill(self.leader);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.groups.lock().remove(&self.leader);
        self.kill();
    }
}

/// A group that has nobody any more cannot be found, and that is as well: its number is not given to another process
/// before all numbers were.
fn kill(leader: Pid) {
    let _ = killpg(leader, Signal::SIGKILL);
}
