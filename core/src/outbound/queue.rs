//! The order in which messages leave, and which of them must not wait for ever.

mod packing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::packed::Packs;
use super::{KEPT_BYTES, Report, Room};
use crate::message::{Lane, Message, MessageId, Offline};
use crate::settings::QueueBounds;
use crate::time::Instant;

/// What a queued message costs beside its payload.
const QUEUED_OVERHEAD: usize = size_of::<Queued>();
/// What a message costs that is found by its key or by its deadline.
const INDEXED_OVERHEAD: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    pub(crate) id: MessageId,
    pub(crate) accepted_at: Instant,
    pub(crate) report: Report,
    pub(crate) before: Before,
}

/// How much of a waiting message went out over sockets that are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Before {
    #[default]
    Nothing,
    Part,
    /// All of it, and no reply came.
    Whole,
}

impl Queued {
    fn expires_at(&self) -> Option<Instant> {
        Some(self.accepted_at + self.message.time_to_live()?)
    }

    fn place(&self) -> Place {
        Place {
            lane: self.message.in_lane(),
            id: self.id,
        }
    }
}

/// What a message is found by: each lane is in the order of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    lane: Lane,
    id: MessageId,
}

/// The messages that the connection took charge of and that are not yet written.
///
/// They stand in this order: what a socket has begun, or had begun when it was lost; the priority lane; the normal
/// lane.
///
/// What is packed stands behind all others. Whatever does more with it than to let its first messages leave
/// [unpacks](Outbound::unpack) it before.
///
/// `rare` comes last: whoever reads a socket asks for nothing else, and has what it needs behind it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Outbound {
    queue: VecDeque<Queued>,
    bytes: usize,
    accepted: u64,
    rare: Option<Box<Rare>>,
}

/// What most queues never need.
#[derive(Debug, Default)]
struct Rare {
    expiries: BTreeSet<(Instant, Place)>,
    /// The latest message of each key, which gives way to a newer one, and the way back.
    keys: BTreeMap<Bytes, Place>,
    key_of: BTreeMap<MessageId, Bytes>,
    /// How many messages at the front a lost socket had begun.
    begun_before: usize,
    /// How many are not to wait for a socket.
    refusing: usize,
    awaiting: Awaiting,
    packs: Packs,
}

/// The messages that are written and await a reply.
#[derive(Debug, Default)]
struct Awaiting {
    by_key: BTreeMap<Bytes, (Instant, Queued)>,
    by_deadline: BTreeSet<(Instant, Bytes)>,
    bytes: usize,
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self {
            expiries,
            keys,
            key_of,
            begun_before,
            refusing,
            awaiting,
            packs,
        } = self;
        expiries.is_empty()
            && keys.is_empty()
            && key_of.is_empty()
            && *begun_before == 0
            && *refusing == 0
            && awaiting.by_key.is_empty()
            && packs.len() == 0
    }
}

impl Outbound {
    /// Where in it `rare` is.
    #[cfg(target_pointer_width = "64")]
    pub(crate) const RARE_AT: usize = std::mem::offset_of!(Self, rare);

    /// Numbers a message that the connection takes charge of.
    pub(crate) fn number(&mut self) -> MessageId {
        self.accepted += 1;
        MessageId(self.accepted)
    }

    /// Whether there is room for a message of `bytes`.
    pub(crate) fn admits(&self, bounds: &QueueBounds, bytes: usize) -> bool {
        let awaiting = self.awaiting().map_or(0, |awaiting| awaiting.bytes);
        let room = Room {
            items: self.len() + self.unacknowledged(),
            bytes: self.bytes + awaiting,
        };
        room.admits(bounds, bytes)
    }

    /// Puts a message behind those of its lane; returns where. The first `committed` cannot be overtaken.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        (id, message): (MessageId, Message),
        report: Report,
        key: Option<Bytes>,
        committed: usize,
    ) -> usize {
        let message = match self.insert_behind_packs(now, id, message, report, key.as_ref()) {
            Ok(()) => return self.len() - 1,
            Err(message) => message,
        };
        let queued = Queued {
            message,
            id,
            accepted_at: now,
            report,
            before: Before::Nothing,
        };
        self.bytes += queued.message.len();
        if let Some(at) = queued.expires_at() {
            let entry = (at, queued.place());
            self.rare().expiries.insert(entry);
        }
        if let Some(key) = key {
            let place = queued.place();
            let rare = self.rare();
            if let Some(before) = rare.keys.insert(key.clone(), place) {
                rare.key_of.remove(&before.id);
            }
            rare.key_of.insert(place.id, key);
        }
        if queued.message.when_offline() == Offline::Refuse {
            self.rare().refusing += 1;
        }
        let index = match queued.message.in_lane() {
            Lane::Normal => self.queue.len(),
            Lane::Priority => self.first_normal(committed),
        };
        if index == self.queue.len() {
            self.queue.push_back(queued);
        } else {
            self.queue.insert(index, queued);
        }
        index
    }

    /// A message that is not packed.
    pub(crate) fn get(&self, index: usize) -> Option<&Queued> {
        self.queue.get(index)
    }

    /// The lane of the first message, and when it was accepted.
    pub(crate) fn first(&self) -> Option<(Lane, Instant)> {
        match self.queue.front() {
            Some(queued) => Some((queued.message.in_lane(), queued.accepted_at)),
            None => Some((Lane::Normal, self.rare.as_ref()?.packs.accepted_at()?)),
        }
    }

    /// Takes a message out: its fate is sealed.
    #[inline]
    pub(crate) fn remove(&mut self, index: usize) -> Option<Queued> {
        if index >= self.queue.len() {
            self.unpack();
        }
        let queued = match index {
            0 => self.queue.pop_front(),
            _ => self.queue.remove(index),
        }?;
        self.bytes -= queued.message.len();
        if self.rare.is_some() {
            self.forget(index, &queued);
        }
        if self.queue.is_empty() && self.queue.capacity() * size_of::<Queued>() > KEPT_BYTES {
            self.queue = VecDeque::new();
        }
        Some(queued)
    }

    /// A message that stood at this place is known in no other way any more.
    fn forget(&mut self, index: usize, queued: &Queued) {
        let Some(rare) = &mut self.rare else {
            return;
        };
        if let Some(at) = queued.expires_at() {
            rare.expiries.remove(&(at, queued.place()));
        }
        if let Some(key) = rare.key_of.remove(&queued.id) {
            rare.keys.remove(&key);
        }
        if queued.message.when_offline() == Offline::Refuse {
            rare.refusing -= 1;
        }
        if index < rare.begun_before {
            rare.begun_before -= 1;
        }
        if rare.is_empty() {
            self.rare = None;
        }
    }

    /// Whether there is room for a message of `bytes` once all that can be dropped is.
    pub(crate) fn can_admit(&self, bounds: &QueueBounds, bytes: usize, committed: usize) -> bool {
        let begun = self.begun(committed);
        let kept = self.queue.range(..begun);
        let awaiting = self.awaiting().map_or(0, |awaiting| awaiting.bytes);
        let room = Room {
            items: begun + self.unacknowledged(),
            bytes: kept.map(|queued| queued.message.len()).sum::<usize>() + awaiting,
        };
        room.admits(bounds, bytes)
    }

    /// Where the message stands that has this key, if one has that no socket has begun.
    pub(crate) fn with_key(&self, key: &Bytes, committed: usize) -> Option<usize> {
        let place = *self.rare.as_ref()?.keys.get(key)?;
        self.find(place, committed)
            .filter(|index| *index >= self.begun(committed))
    }

    /// Where the oldest message stands that can be dropped: of the normal lane, if it has any. What a socket had begun
    /// cannot be: it would be said of it that nobody got it.
    pub(crate) fn oldest(&self, committed: usize) -> Option<usize> {
        let candidates = [self.first_normal(committed), self.begun(committed)];
        candidates
            .into_iter()
            .find(|index| *index < self.queue.len())
    }

    /// Whether no message has a time by which anything has to happen to it.
    pub(crate) fn is_timeless(&self) -> bool {
        self.rare.is_none()
    }

    /// The earliest time at which a message expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let (at, _) = self.rare.as_ref()?.expiries.first()?;
        Some(*at)
    }

    /// Where a message stands whose time is over at `now`. One that is on its way is passed over: it no longer
    /// expires, unless its socket is lost and it [waits again](Self::waits_again).
    pub(crate) fn next_expired(&mut self, now: Instant, committed: usize) -> Option<usize> {
        loop {
            let expiries = &self.rare.as_ref()?.expiries;
            let (at, place) = *expiries.first()?;
            if !at.is_due(now) {
                return None;
            }
            let index = self.find(place, committed);
            if let Some(index) = index.filter(|index| *index >= committed) {
                return Some(index);
            }
            self.rare().expiries.pop_first();
        }
    }

    /// The socket that is lost took a part of this message, which waits for another.
    pub(crate) fn was_cut(&mut self, index: usize) {
        if let Some(queued) = self.queue.get_mut(index)
            && queued.before == Before::Nothing
        {
            queued.before = Before::Part;
        }
    }

    /// The first `count` messages were begun by a socket that is lost, and wait for another.
    pub(crate) fn waits_again(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let expiries: Vec<_> = self
            .queue
            .range(..count)
            .filter_map(|queued| Some((queued.expires_at()?, queued.place())))
            .collect();
        let rare = self.rare();
        rare.expiries.extend(expiries);
        rare.begun_before = rare.begun_before.max(count);
    }

    /// Where the first message stands that is not to wait for a socket.
    pub(crate) fn first_refusing(&self) -> Option<usize> {
        if self.rare.as_ref()?.refusing == 0 {
            return None;
        }
        self.queue
            .iter()
            .position(|queued| queued.message.when_offline() == Offline::Refuse)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.packed()
    }

    fn packed(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.packs.len())
    }

    /// The payloads of those that are not written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(crate) fn charged(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let indexed =
                rare.expiries.len() + 2 * rare.keys.len() + 2 * rare.awaiting.by_key.len();
            rare.awaiting.bytes
                + rare.awaiting.by_key.len() * QUEUED_OVERHEAD
                + indexed * INDEXED_OVERHEAD
                + rare.packs.overhead()
        });
        self.bytes + self.queue.len() * QUEUED_OVERHEAD + rare
    }

    #[cfg(test)]
    pub(crate) fn kept_slots(&self) -> usize {
        self.queue.capacity()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// How many messages at the front this socket or one before it has begun.
    fn begun(&self, committed: usize) -> usize {
        let before = self.rare.as_ref().map_or(0, |rare| rare.begun_before);
        before.max(committed).min(self.queue.len())
    }

    /// Where the normal lane begins: behind what was begun, and behind the priority lane.
    fn first_normal(&self, committed: usize) -> usize {
        let first = self.begun(committed);
        self.partition(first, self.queue.len(), |queued| {
            queued.message.in_lane() == Lane::Priority
        })
    }

    fn find(&self, place: Place, committed: usize) -> Option<usize> {
        let first = self.begun(committed);
        let normal = self.first_normal(committed);
        let (start, end) = match place.lane {
            Lane::Priority => (first, normal),
            Lane::Normal => (normal, self.queue.len()),
        };
        let index = self.partition(start, end, |queued| queued.id < place.id);
        let is_it = |queued: &Queued| queued.id == place.id;
        if index < end && self.queue.get(index).is_some_and(is_it) {
            return Some(index);
        }
        self.queue.range(..first).position(is_it)
    }

    /// The first of the messages from `start` to `end` of which `is_before` does not hold; it holds of none behind.
    fn partition(&self, start: usize, end: usize, is_before: impl Fn(&Queued) -> bool) -> usize {
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.queue.get(middle).is_some_and(&is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

// Replies.
impl Outbound {
    /// The first message is written and awaits the reply of this key. Returns the one that did so before, which no
    /// longer does.
    pub(crate) fn await_reply(&mut self, key: Bytes, deadline: Instant) -> Option<Queued> {
        let queued = self.remove(0)?;
        let before = self.take_awaiting(&key);
        let awaiting = &mut self.rare().awaiting;
        awaiting.bytes += queued.message.len();
        awaiting.by_deadline.insert((deadline, key.clone()));
        awaiting.by_key.insert(key, (deadline, queued));
        before
    }

    /// Whether a message awaits the reply of this key.
    pub(crate) fn awaits(&self, key: &Bytes) -> bool {
        self.awaiting()
            .is_some_and(|awaiting| awaiting.by_key.contains_key(key))
    }

    /// The message that awaits the reply of this key.
    pub(crate) fn take_awaiting(&mut self, key: &Bytes) -> Option<Queued> {
        let rare = self.rare.as_mut()?;
        let (key, (deadline, queued)) = rare.awaiting.by_key.remove_entry(key)?;
        rare.awaiting.by_deadline.remove(&(deadline, key));
        rare.awaiting.bytes -= queued.message.len();
        if rare.is_empty() {
            self.rare = None;
        }
        Some(queued)
    }

    /// When the first reply is no longer awaited.
    pub(crate) fn next_reply_deadline(&self) -> Option<Instant> {
        let (at, _) = self.awaiting()?.by_deadline.first()?;
        Some(*at)
    }

    /// A message whose reply did not come in time.
    pub(crate) fn next_missed(&mut self, now: Instant) -> Option<Queued> {
        let (at, key) = self.awaiting()?.by_deadline.first()?;
        if !at.is_due(now) {
            return None;
        }
        let key = key.clone();
        self.take_awaiting(&key)
    }

    /// The replies that are due by `now` have until `deadline`.
    pub(crate) fn postpone_replies(&mut self, now: Instant, deadline: Instant) {
        let Some(rare) = &mut self.rare else {
            return;
        };
        let Awaiting {
            by_key,
            by_deadline,
            bytes: _,
        } = &mut rare.awaiting;
        while by_deadline.first().is_some_and(|(at, _)| at.is_due(now)) {
            let Some((_, key)) = by_deadline.pop_first() else {
                return;
            };
            if let Some((at, _)) = by_key.get_mut(&key) {
                *at = deadline;
            }
            by_deadline.insert((deadline, key));
        }
    }

    /// The messages that await replies, in the order in which they were accepted: there will be no replies.
    pub(crate) fn take_all_awaiting(&mut self) -> Vec<Queued> {
        let Some(rare) = &mut self.rare else {
            return Vec::new();
        };
        let awaiting = std::mem::take(&mut rare.awaiting);
        if rare.is_empty() {
            self.rare = None;
        }
        let mut all: Vec<_> = awaiting
            .by_key
            .into_values()
            .map(|(_, queued)| queued)
            .collect();
        all.sort_by_key(|queued| queued.id);
        all
    }

    /// Puts messages that are to be sent again in front of all others.
    pub(crate) fn put_back(&mut self, messages: Vec<Queued>) {
        for mut queued in messages.into_iter().rev() {
            queued.before = Before::Whole;
            self.bytes += queued.message.len();
            if queued.message.when_offline() == Offline::Refuse {
                self.rare().refusing += 1;
            }
            if let Some(rare) = &mut self.rare {
                rare.begun_before += 1;
            }
            self.queue.push_front(queued);
        }
    }

    /// How many messages await replies.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.awaiting().map_or(0, |awaiting| awaiting.by_key.len())
    }

    fn awaiting(&self) -> Option<&Awaiting> {
        Some(&self.rare.as_ref()?.awaiting)
    }
}
