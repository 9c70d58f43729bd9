//! The bounds of a connection's outbound queue, where senders wait for room.
//!
//! A message is charged here before it goes anywhere, and until the core says that it has left its
//! queue: so what lies in between, in the shard's mailbox, is inside the bounds too.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use ropewalk_core::settings::{OutboundSettings, Overflow, QueueBounds};

/// Room for messages, given out in the order in which it was asked for.
#[derive(Debug)]
pub(crate) struct Room {
    bounds: QueueBounds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: usize,
    bytes: usize,
    closed: Closed,
    waiting: BTreeMap<u64, Waiting>,
    /// Who was given room while waiting, and has not noticed yet.
    granted: BTreeMap<u64, usize>,
    keys: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    No,
    Yes,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    waker: Waker,
}

/// There is no room, or there never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

impl Room {
    /// Where the core makes room by dropping, as much again may be on its way there: a sender waits only for its shard
    /// to take that, never for the network.
    pub(crate) fn new(outbound: OutboundSettings) -> Self {
        let ways = match outbound.when_full {
            Overflow::Wait | Overflow::Reject => 1,
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Coalesce => 2,
        };
        let bounds = QueueBounds {
            items_max: outbound.items_max.saturating_mul(ways),
            bytes_max: outbound.bytes_max.saturating_mul(ways),
        };
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    /// Charges one message of `bytes`, unless there is no room or somebody waits for it already.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let mut state = self.lock();
        match state.closed {
            Closed::Yes => Err(NoRoom::Closed),
            Closed::No if state.waiting.is_empty() && state.fits(bytes, self.bounds) => {
                state.charge(bytes);
                Ok(())
            }
            Closed::No => Err(NoRoom::Full),
        }
    }

    /// Charges one message of `bytes` whether there is room or not: the core is to decide.
    pub(crate) fn charge(&self, bytes: usize) {
        self.lock().charge(bytes);
    }

    /// Waits for room for one message of `bytes`.
    pub(crate) fn wait(self: &Arc<Self>, bytes: usize) -> TakeRoom {
        TakeRoom {
            room: Arc::clone(self),
            bytes,
            place: Place::Nowhere,
        }
    }

    /// Gives back what `items` messages of together `bytes` were charged.
    pub(crate) fn give(&self, items: usize, bytes: usize) {
        let mut state = self.lock();
        state.items = state.items.saturating_sub(items);
        state.bytes = state.bytes.saturating_sub(bytes);
        let wakers = state.grant(self.bounds);
        drop(state);
        wake(wakers);
    }

    /// No more messages: everybody who waits is refused.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = Closed::Yes;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(waiting.into_values().map(|waiting| waiting.waker));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

impl State {
    /// A message larger than all the room is let in alone.
    fn fits(&self, bytes: usize, bounds: QueueBounds) -> bool {
        self.items == 0
            || (self.items < bounds.items_max
                && self.bytes.saturating_add(bytes) <= bounds.bytes_max)
    }

    fn charge(&mut self, bytes: usize) {
        self.items += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Gives room to those who have waited longest, as long as it lasts.
    fn grant(&mut self, bounds: QueueBounds) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some((&key, first)) = self.waiting.first_key_value() {
            let bytes = first.bytes;
            if !self.fits(bytes, bounds) {
                break;
            }
            let Some(waiting) = self.waiting.remove(&key) else {
                break;
            };
            self.charge(bytes);
            self.granted.insert(key, bytes);
            wakers.push(waiting.waker);
        }
        wakers
    }
}

/// The wait for room. Cancel safe: dropped, it gives up its place, and what it may have been given.
#[derive(Debug)]
#[must_use]
pub(crate) struct TakeRoom {
    room: Arc<Room>,
    bytes: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    InLine(u64),
}

impl Future for TakeRoom {
    type Output = Result<(), NoRoom>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let room = Arc::clone(&self.room);
        match self.place {
            Place::Nowhere => match room.take(self.bytes) {
                Err(NoRoom::Full) => {}
                result @ (Ok(()) | Err(NoRoom::Closed)) => return Poll::Ready(result),
            },
            Place::InLine(_) => {}
        }
        let mut state = room.lock();
        let key = match self.place {
            Place::Nowhere => {
                state.keys += 1;
                state.keys
            }
            Place::InLine(key) => key,
        };
        if state.granted.remove(&key).is_some() {
            self.place = Place::Nowhere;
            return Poll::Ready(match state.closed {
                Closed::No => Ok(()),
                Closed::Yes => Err(NoRoom::Closed),
            });
        }
        if state.closed == Closed::Yes {
            self.place = Place::Nowhere;
            return Poll::Ready(Err(NoRoom::Closed));
        }
        let waiting = Waiting {
            bytes: self.bytes,
            waker: cx.waker().clone(),
        };
        state.waiting.insert(key, waiting);
        self.place = Place::InLine(key);
        // Room may have been given back since it was looked for.
        let wakers = state.grant(room.bounds);
        drop(state);
        wake(wakers);
        Poll::Pending
    }
}

impl Drop for TakeRoom {
    fn drop(&mut self) {
        let Place::InLine(key) = self.place else {
            return;
        };
        let mut state = self.room.lock();
        if let Some(bytes) = state.granted.remove(&key) {
            state.items = state.items.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(bytes);
        }
        state.waiting.remove(&key);
        // Whoever stood behind may fit where this one did not.
        let wakers = state.grant(self.room.bounds);
        drop(state);
        wake(wakers);
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(items_max: usize, bytes_max: usize) -> Arc<Room> {
        Arc::new(Room::new(OutboundSettings {
            items_max,
            bytes_max,
            ..OutboundSettings::default()
        }))
    }

    fn poll(wait: &mut TakeRoom) -> Poll<Result<(), NoRoom>> {
        Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn room_is_bounded_in_items_and_bytes_and_a_larger_message_goes_alone() {
        let room = room(2, 10);
        assert_eq!(room.take(100), Ok(()));
        assert_eq!(room.take(0), Err(NoRoom::Full));
        room.give(1, 100);
        assert_eq!(room.take(6), Ok(()));
        assert_eq!(room.take(5), Err(NoRoom::Full));
        assert_eq!(room.take(4), Ok(()));
        assert_eq!(room.take(0), Err(NoRoom::Full));
    }

    #[test]
    fn whoever_waits_longest_is_first_and_nobody_overtakes() {
        let room = room(4, 10);
        assert_eq!(room.take(8), Ok(()));
        let (mut large, mut small) = (room.wait(9), room.wait(1));
        assert!(poll(&mut large).is_pending());
        assert!(poll(&mut small).is_pending());
        assert_eq!(room.take(1), Err(NoRoom::Full));
        room.give(1, 8);
        assert_eq!(poll(&mut small), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut large), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_wait_that_is_dropped_gives_its_place_and_its_grant_back() {
        let room = room(1, 10);
        assert_eq!(room.take(1), Ok(()));
        let (mut first, mut second, mut third) = (room.wait(1), room.wait(1), room.wait(1));
        for wait in [&mut first, &mut second, &mut third] {
            assert!(poll(wait).is_pending());
        }
        drop(second);
        room.give(1, 1);
        drop(first);
        assert_eq!(poll(&mut third), Poll::Ready(Ok(())));
        room.give(1, 1);
        assert_eq!(room.take(1), Ok(()));
    }

    #[test]
    fn nobody_waits_for_a_closed_queue() {
        let room = room(1, 10);
        assert_eq!(room.take(1), Ok(()));
        let mut wait = room.wait(1);
        assert!(poll(&mut wait).is_pending());
        room.close();
        assert_eq!(poll(&mut wait), Poll::Ready(Err(NoRoom::Closed)));
        assert_eq!(room.take(1), Err(NoRoom::Closed));
    }
}
