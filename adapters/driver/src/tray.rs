//! What others leave for a shard.

use std::collections::VecDeque;
use std::mem;

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Something under a lock that the shard takes only where there is news for it: mostly there is none.
///
/// Whoever leaves news tells the shard by its [ready list](crate::ready::ReadyList) after that, and the shard looks after it has left its
/// waker there: then it sees what was left, or is woken.
#[derive(Debug, Default)]
pub(crate) struct Tray<T> {
    state: Mutex<T>,
    /// Stored under the lock, and looked at without.
    has_news: AtomicBool,
}

impl<T> Tray<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }

    /// Takes the lock if there is news.
    pub(crate) fn lock_if_news(&self) -> Option<MutexGuard<'_, T>> {
        self.has_news.load(Ordering::Acquire).then(|| self.lock())
    }

    /// Says whether there is news in what is locked.
    pub(crate) fn set_news(&self, _locked: &MutexGuard<'_, T>, has_news: bool) {
        self.has_news.store(has_news, Ordering::Release);
    }
}

/// Moves all of `from` behind what is in `to`. If that is empty, they change places, so that the room of both is used again.
pub(crate) fn move_behind<T>(to: &mut VecDeque<T>, from: &mut VecDeque<T>) {
    if from.is_empty() {
        return;
    }
    if to.is_empty() {
        mem::swap(to, from);
    } else {
        to.append(from);
    }
}
