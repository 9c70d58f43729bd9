//! Tasks that wait for one condition.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// The wakers of the tasks that wait, each under the key of the future that waits.
///
/// A future that is dropped takes its waker away, so that no number of cancelled waits grows it.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    wakers: BTreeMap<u64, Waker>,
    keys: u64,
}

/// A waiting future's key; `None` until it waits for the first time.
pub(crate) type Key = Option<u64>;

impl Waiters {
    /// Remembers whom to wake for `key`, in the place of what it remembered before.
    pub(crate) fn wait(&mut self, key: &mut Key, cx: &Context<'_>) {
        let key = *key.get_or_insert_with(|| {
            self.keys += 1;
            self.keys
        });
        self.wakers
            .entry(key)
            .and_modify(|waker| waker.clone_from(cx.waker()))
            .or_insert_with(|| cx.waker().clone());
    }

    /// Forgets `key`.
    pub(crate) fn leave(&mut self, key: Key) {
        if let Some(key) = key {
            self.wakers.remove(&key);
        }
    }

    /// Takes all wakers out. Wake them when no lock is held.
    pub(crate) fn take(&mut self) -> Wake {
        Wake(std::mem::take(&mut self.wakers))
    }
}

/// Wakers to be woken.
#[must_use]
pub(crate) struct Wake(BTreeMap<u64, Waker>);

impl Wake {
    pub(crate) fn wake(self) {
        for waker in self.0.into_values() {
            waker.wake();
        }
    }
}
