//! The bounds of a connection's outbound queue, where senders wait for room, and what they left for the shard.
//!
//! A message is charged here before it goes anywhere, and until the core says that it has left its
//! queue: so what lies in between, waiting for the shard, is inside the bounds too.
//!
//! Room and messages are under one lock, which a sender takes once for each message. The shard is told of the first
//! message that it has not taken, and takes all that are there by then. Of many short messages whose outcomes nobody asks
//! for, all but the first few are packed: they cost no allocation each.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use ropewalk_core::settings::{OutboundSettings, Overflow, QueueBounds};
use ropewalk_core::{Kind, Message, Outcome, Packed};

use crate::oneshot::Promise;

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
    listed: Listed,
    posted: VecDeque<Post>,
    /// How many messages that can be packed were posted one after the other.
    row: usize,
    /// Only while somebody waits.
    line: Option<Box<Line>>,
}

/// Those for whom there was no room.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiting>,
    /// Who was given room while waiting, and has not noticed yet.
    granted: BTreeMap<u64, Load>,
    keys: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    No,
    /// There is no more room, but what has its room may still come.
    Yes,
    /// Nothing is taken any more.
    Over,
}

/// Whether the shard knows that there are messages. If it does not, there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listed {
    #[default]
    No,
    Yes,
}

#[derive(Debug)]
struct Waiting {
    load: Load,
    waker: Waker,
}

/// What messages take of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

impl Load {
    #[inline]
    pub(crate) fn one(bytes: usize) -> Self {
        Self { items: 1, bytes }
    }

    pub(crate) fn of(packed: &Packed) -> Self {
        Self {
            items: packed.len(),
            bytes: packed.bytes(),
        }
    }
}

/// Shorter rows of messages are not packed.
const ROW: usize = 8;

/// When a pack of so many is taken, the row goes on.
const MANY: usize = 16;

/// What is posted at once at most.
const PACK_ITEMS: usize = 256;
const PACK_BYTES: usize = 64 << 10;

/// What is on its way to the shard.
#[derive(Debug)]
pub(crate) enum Post {
    One(Posted),
    /// Nobody is to be told what became of these.
    Packed(Box<Packed>),
}

/// A message, and whom to tell what became of it.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) message: Message,
    pub(crate) outcome: Option<Promise<Outcome>>,
}

/// There is no room, or there never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

/// What is to be done about a message that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Then {
    /// The shard is to be told.
    Tell,
    /// It was told, and has not looked yet.
    Nothing,
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

    /// Charges a message and leaves it for the shard, unless there is no room or somebody waits for it already.
    ///
    /// # Errors
    /// The message.
    #[inline]
    pub(crate) fn post(&self, posted: Posted) -> Result<Then, (Posted, NoRoom)> {
        let mut state = self.lock();
        match state.take(Load::one(posted.message.len()), self.bounds) {
            Ok(()) => {
                let (then, unasked) = state.post(posted);
                drop(state);
                drop(unasked);
                Ok(then)
            }
            Err(no_room) => Err((posted, no_room)),
        }
    }

    /// As [`post`](Self::post), for bytes that can be packed with others that wait for the shard. `None` if they cannot, or there is
    /// no room.
    #[inline]
    pub(crate) fn post_bytes(&self, kind: Kind, payload: &[u8]) -> Option<Then> {
        let mut state = self.lock();
        let load = Load::one(payload.len());
        state.may_take(load, self.bounds).ok()?;
        let is_packed = match state.posted.back_mut() {
            Some(Post::Packed(packed)) => {
                packed.push_bytes(kind, payload) || state.pack_bytes(kind, payload)
            }
            Some(Post::One(_)) | None => false,
        };
        is_packed.then(|| {
            state.charge(load);
            Then::Nothing
        })
    }

    /// As [`post`](Self::post), for many that are packed already: there is room for all of them, or for none.
    ///
    /// # Errors
    /// The pack.
    pub(crate) fn post_packed(&self, packed: Packed) -> Result<Then, (Packed, NoRoom)> {
        let mut state = self.lock();
        match state.take(Load::of(&packed), self.bounds) {
            Ok(()) => Ok(state.post_packed(packed)),
            Err(no_room) => Err((packed, no_room)),
        }
    }

    /// Leaves a pack for the shard that was charged already.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn post_packed_charged(&self, packed: Packed) -> Result<Then, NoRoom> {
        let mut state = self.lock();
        match state.closed {
            Closed::Over => Err(NoRoom::Closed),
            Closed::No | Closed::Yes => Ok(state.post_packed(packed)),
        }
    }

    /// What is sensibly posted at once: so much that little is done once for each, and that there is room for a few of these.
    pub(crate) fn pack_max(&self) -> Load {
        Load {
            items: (self.bounds.items_max / 4).clamp(1, PACK_ITEMS),
            bytes: (self.bounds.bytes_max / 4).min(PACK_BYTES),
        }
    }

    /// Leaves a message for the shard that was charged already, with `spare` bytes too many.
    ///
    /// # Errors
    /// The message, whose charge is not given back: the connection has ended.
    pub(crate) fn post_charged(&self, posted: Posted, spare: usize) -> Result<Then, Posted> {
        let mut state = self.lock();
        match state.closed {
            Closed::Over => return Err(posted),
            Closed::No | Closed::Yes => {}
        }
        let (then, unasked) = state.post(posted);
        let wakers = state.give(0, spare, self.bounds);
        drop(state);
        drop(unasked);
        wake(wakers);
        Ok(then)
    }

    /// Takes the messages that were posted.
    pub(crate) fn take_posted(&self) -> VecDeque<Post> {
        let mut state = self.lock();
        state.listed = Listed::No;
        // Where very many come, the first of the next are packed too.
        if !matches!(state.posted.back(), Some(Post::Packed(packed)) if packed.len() > MANY) {
            state.row = 0;
        }
        std::mem::take(&mut state.posted)
    }

    /// Charges one message of `bytes` whether there is room or not: the core is to decide.
    pub(crate) fn charge(&self, bytes: usize) {
        self.lock().charge(Load::one(bytes));
    }

    /// Waits for room.
    pub(crate) fn wait(self: &Arc<Self>, load: Load) -> TakeRoom {
        TakeRoom {
            room: Arc::clone(self),
            load,
            place: Place::Nowhere,
        }
    }

    /// Gives back what `items` messages of together `bytes` were charged.
    pub(crate) fn give(&self, items: usize, bytes: usize) {
        let wakers = self.lock().give(items, bytes, self.bounds);
        wake(wakers);
    }

    /// No more messages: everybody who waits is refused.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        let waiting = state.close(Closed::Yes);
        drop(state);
        wake(waiting);
    }

    /// There is nobody to send anything any more: what the shard has not taken is not sent.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        let waiting = state.close(Closed::Over);
        let posted = std::mem::take(&mut state.posted);
        drop(state);
        for it in posted {
            it.not_sent();
        }
        wake(waiting);
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

impl Post {
    /// Says so to whom it matters.
    pub(crate) fn not_sent(self) {
        match self {
            Self::One(posted) => posted.not_sent(),
            Self::Packed(_) => {}
        }
    }
}

impl Posted {
    /// Says so to whom it matters.
    pub(crate) fn not_sent(self) {
        if let Some(outcome) = self.outcome {
            outcome.keep(Outcome::NotSent);
        }
    }
}

impl State {
    #[inline]
    fn take(&mut self, load: Load, bounds: QueueBounds) -> Result<(), NoRoom> {
        self.may_take(load, bounds)?;
        self.charge(load);
        Ok(())
    }

    #[inline]
    fn may_take(&self, load: Load, bounds: QueueBounds) -> Result<(), NoRoom> {
        let is_awaited = || self.line.as_ref().is_some_and(|it| !it.waiting.is_empty());
        match self.closed {
            Closed::Yes | Closed::Over => Err(NoRoom::Closed),
            Closed::No if self.fits(load, bounds) && !is_awaited() => Ok(()),
            Closed::No => Err(NoRoom::Full),
        }
    }

    /// Also returns what is to be dropped without the lock.
    #[inline]
    fn post(&mut self, posted: Posted) -> (Then, Option<Promise<Outcome>>) {
        let unasked = self.settle_last();
        self.push(posted);
        (self.list(), unasked)
    }

    fn post_packed(&mut self, packed: Packed) -> Then {
        self.posted.push_back(Post::Packed(Box::new(packed)));
        self.list()
    }

    /// There are messages.
    fn list(&mut self) -> Then {
        match std::mem::replace(&mut self.listed, Listed::Yes) {
            Listed::No => Then::Tell,
            Listed::Yes => Then::Nothing,
        }
    }

    /// Looks at the last message when another comes. If its receipt is gone, it is like one that never had any; its promise comes
    /// back.
    fn settle_last(&mut self) -> Option<Promise<Outcome>> {
        let Some(Post::One(Posted {
            outcome: outcome @ Some(_),
            ..
        })) = self.posted.back_mut()
        else {
            return None;
        };
        if outcome.as_ref().is_some_and(Promise::is_awaited) {
            self.row = 0;
            return None;
        }
        let unasked = outcome.take();
        if let Some(Post::One(last)) = self.posted.pop_back() {
            self.push(last);
        }
        unasked
    }

    fn push(&mut self, posted: Posted) {
        if let Err(posted) = self.pack(posted) {
            if self.posted.len() == self.posted.capacity() {
                self.posted.reserve(3 * self.posted.len());
            }
            self.posted.push_back(Post::One(posted));
        }
    }

    /// Packs a message that ends a row of those that can be. Whether one can that has a receipt is seen
    /// [later](Self::settle_last).
    ///
    /// # Errors
    /// The message.
    #[inline]
    fn pack(&mut self, posted: Posted) -> Result<(), Posted> {
        if posted.outcome.is_some() {
            return Err(posted);
        }
        if !Packed::can_hold(&posted.message) {
            self.row = 0;
            return Err(posted);
        }
        self.row += 1;
        if self.row <= ROW {
            return Err(posted);
        }
        let mut message = posted.message;
        if let Some(Post::Packed(packed)) = self.posted.back_mut() {
            match packed.push(message) {
                Ok(()) => return Ok(()),
                Err(again) => message = again,
            }
        }
        let mut packed = Box::new(match self.posted.back() {
            // The row has just become one.
            Some(Post::One(_)) => Packed::default(),
            Some(Post::Packed(_)) | None => Packed::for_many(),
        });
        let pushed = packed.push(message);
        if pushed.is_ok() {
            self.posted.push_back(Post::Packed(packed));
        }
        pushed.map_err(|message| Posted {
            message,
            outcome: None,
        })
    }

    /// Puts bytes into a further pack, behind one that is full; whether they can be packed.
    #[cold]
    fn pack_bytes(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let mut packed = Box::new(Packed::for_many());
        let is_packed = packed.push_bytes(kind, payload);
        if is_packed {
            self.posted.push_back(Post::Packed(packed));
        }
        is_packed
    }

    /// Closes, and says who waits in vain.
    fn close(&mut self, closed: Closed) -> impl Iterator<Item = Waker> + use<> {
        if self.closed != Closed::Over {
            self.closed = closed;
        }
        let waiting = match &mut self.line {
            Some(line) => std::mem::take(&mut line.waiting),
            None => BTreeMap::new(),
        };
        waiting.into_values().map(|waiting| waiting.waker)
    }

    /// A message larger than all the room is let in alone.
    #[inline]
    fn fits(&self, load: Load, bounds: QueueBounds) -> bool {
        self.items == 0
            || (self.items.saturating_add(load.items) <= bounds.items_max
                && self.bytes.saturating_add(load.bytes) <= bounds.bytes_max)
    }

    #[inline]
    fn charge(&mut self, load: Load) {
        self.items += load.items;
        self.bytes = self.bytes.saturating_add(load.bytes);
    }

    /// Takes back what was charged, and says who is to be woken.
    fn give(&mut self, items: usize, bytes: usize, bounds: QueueBounds) -> Vec<Waker> {
        self.items = self.items.saturating_sub(items);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.grant(bounds)
    }

    /// Gives room to those who have waited longest, as long as it lasts.
    fn grant(&mut self, bounds: QueueBounds) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let Some(mut line) = self.line.take() else {
            return wakers;
        };
        while let Some(first) = line.waiting.first_entry() {
            let load = first.get().load;
            if !self.fits(load, bounds) {
                break;
            }
            let (key, waiting) = first.remove_entry();
            self.charge(load);
            line.granted.insert(key, load);
            wakers.push(waiting.waker);
        }
        // Whoever is in neither has its room, or has given its place up.
        if !line.waiting.is_empty() || !line.granted.is_empty() {
            self.line = Some(line);
        }
        wakers
    }

    /// The room that was given to whoever waited under this key, if it was.
    fn take_grant(&mut self, key: u64) -> Option<Load> {
        self.line.as_mut()?.granted.remove(&key)
    }
}

/// The wait for room. Cancel safe: dropped, it gives up its place, and what it may have been given.
#[derive(Debug)]
#[must_use]
pub(crate) struct TakeRoom {
    room: Arc<Room>,
    load: Load,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    InLine(u64),
}

impl Future for TakeRoom {
    type Output = Result<(), NoRoom>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TakeRoom { room, load, place } = self.get_mut();
        let mut state = room.lock();
        let known = match *place {
            Place::Nowhere => match state.take(*load, room.bounds) {
                Err(NoRoom::Full) => None,
                result @ (Ok(()) | Err(NoRoom::Closed)) => return Poll::Ready(result),
            },
            Place::InLine(key) => Some(key),
        };
        if known.is_some_and(|key| state.take_grant(key).is_some()) {
            *place = Place::Nowhere;
            return Poll::Ready(match state.closed {
                Closed::No => Ok(()),
                Closed::Yes | Closed::Over => Err(NoRoom::Closed),
            });
        }
        if state.closed != Closed::No {
            *place = Place::Nowhere;
            return Poll::Ready(Err(NoRoom::Closed));
        }
        let line = state.line.get_or_insert_default();
        let key = known.unwrap_or_else(|| {
            line.keys += 1;
            line.keys
        });
        let waiting = Waiting {
            load: *load,
            waker: cx.waker().clone(),
        };
        line.waiting.insert(key, waiting);
        *place = Place::InLine(key);
        Poll::Pending
    }
}

impl Drop for TakeRoom {
    fn drop(&mut self) {
        let Place::InLine(key) = self.place else {
            return;
        };
        let mut state = self.room.lock();
        if let Some(Load { items, bytes }) = state.take_grant(key) {
            state.items = state.items.saturating_sub(items);
            state.bytes = state.bytes.saturating_sub(bytes);
        }
        if let Some(line) = &mut state.line {
            line.waiting.remove(&key);
        }
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
mod tests;
