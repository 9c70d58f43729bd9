//! Tasks that wait for one condition.

use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU64;
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
    one: Option<(NonZeroU64, Waker)>,
    #[allow(clippy::box_collection, reason = "eight bytes where one waits, not 24")]
    others: Option<Box<BTreeMap<NonZeroU64, Waker>>>,
}

/// A waiting future's key; `None` until it waits for the first time.
pub(crate) type Key = Option<NonZeroU64>;

impl Waiters {
    /// Remembers whom to wake for `key`, in the place of what it remembered before.
    pub(crate) fn wait(&mut self, key: &mut Key, cx: &Context<'_>) {
        let key = *key.get_or_insert_with(|| {
            self.keys += 1;
            NonZeroU64::new(self.keys).expect("they are counted from 1")
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn everybody_who_waits_is_woken_once_and_nobody_who_left() {
        let woken: [Arc<Woken>; 4] = Default::default();
        let mut keys = [None; 4];
        let mut waiters = Waiters::default();
        for _ in 0..2 {
            for (key, woken) in keys.iter_mut().zip(&woken) {
                let waker = Waker::from(Arc::clone(woken));
                waiters.wait(key, &Context::from_waker(&waker));
            }
        }
        waiters.leave(keys[0]);
        waiters.leave(keys[2]);
        // Its place is free, but others wait too.
        let waker = Waker::from(Arc::clone(&woken[0]));
        waiters.wait(&mut keys[0], &Context::from_waker(&waker));
        waiters.take().wake();
        waiters.take().wake();
        let counts = woken.each_ref().map(|it| it.0.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 1, 0, 1]);
    }
}
