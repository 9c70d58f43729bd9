//! Tasks that wait for one condition.

use std::collections::BTreeMap;
use std::mem;
use std::task::{Context, Waker};

/// The wakers of the tasks that wait, each under the key of the future that waits.
///
/// A future that is dropped takes its waker away, so that no number of cancelled waits grows it.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    wakers: Wakers,
    keys: u64,
}

/// Mostly there is one at most, and it needs no memory of its own.
#[derive(Debug, Default)]
struct Wakers {
    one: Option<(u64, Waker)>,
    #[allow(clippy::box_collection, reason = "eight bytes where one waits, not 24")]
    others: Option<Box<BTreeMap<u64, Waker>>>,
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
        let Wakers { one, others } = &mut self.wakers;
        match one {
            Some((known, waker)) if *known == key => waker.clone_from(cx.waker()),
            None if others.is_none() => *one = Some((key, cx.waker().clone())),
            Some(_) | None => {
                let others = others.get_or_insert_default();
                let waker = others.entry(key).or_insert_with(|| cx.waker().clone());
                waker.clone_from(cx.waker());
            }
        }
    }

    /// Forgets `key`.
    pub(crate) fn leave(&mut self, key: Key) {
        let Some(key) = key else {
            return;
        };
        let Wakers { one, others } = &mut self.wakers;
        one.take_if(|(known, _)| *known == key);
        if let Some(map) = others {
            map.remove(&key);
            if map.is_empty() {
                *others = None;
            }
        }
    }

    /// Takes all wakers out. Wake them when no lock is held.
    pub(crate) fn take(&mut self) -> Wake {
        Wake(mem::take(&mut self.wakers))
    }
}

/// Wakers to be woken.
#[must_use]
pub(crate) struct Wake(Wakers);

impl Wake {
    pub(crate) fn wake(self) {
        let Wakers { one, others } = self.0;
        if let Some((_, waker)) = one {
            waker.wake();
        }
        for waker in others.into_iter().flat_map(|it| it.into_values()) {
            waker.wake();
        }
    }
}
