//! Messages on their way in: gathered into batches, handed out when asked for.
//!
//! `lane` keeps messages in order; `spread` is for processors that take several batches at once.

mod lane;
mod spread;

use crate::arenas::Arenas;
use crate::batch::{
    Batch, Contents, Draft, LaneNumber, MESSAGE_OVERHEAD, MessageRef, Next, Pushed, Room,
};
use crate::ids::ConnectionId;
use crate::io::Consumer;
use crate::settings::{BatchPolicy, IdleFlush, ProcessorSettings, QueueBounds};
use crate::time::Instant;
use crate::workers::Scaled;

pub(crate) use lane::Arrival;
use lane::{Lane, Waiting};
use spread::{Spread, Ways, next_lane};

/// The received messages of one connection that no consumer has yet.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// All messages, but for those that are spread over lanes of their own.
    lane: Lane,
    /// Of a processor whose calls may run at once.
    spread: Option<Box<Spread>>,
    items: u32,
    /// Messages handed out and not yet judged.
    outstanding_items: u32,
    bytes: usize,
    asks: u16,
    outstanding_batches: u16,
    place: Place,
}

/// Where the next call stands, if all connections share a number of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Unasked,
    /// For this many messages, as a power of two.
    Asked(u8),
    Granted,
}

/// What the next batch comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// The one lane.
    Lane,
    Keyed(LaneNumber),
    Again,
}

impl Inbound {
    pub(crate) fn new(consumer: Consumer, settings: &ProcessorSettings) -> Self {
        let spread = match consumer {
            Consumer::Pull => None,
            Consumer::Process => Spread::new(settings),
        };
        Self {
            spread: spread.map(Box::new),
            ..Self::default()
        }
    }

    /// Whether reading must stop: the bounds are reached. The message that reaches them is kept, so the
    /// queue holds at most the bound and one message.
    pub(crate) fn is_full(&self, bounds: &QueueBounds) -> bool {
        self.items as usize >= bounds.items_max || self.bytes >= bounds.bytes_max
    }

    /// The lane of messages with this hash of their key.
    pub(crate) fn lane_of(&self, key: impl FnOnce() -> u64) -> LaneNumber {
        match self.spread.as_deref() {
            Some(Spread {
                ways: Ways::Keyed { lanes, .. },
                ..
            }) => {
                let lane = key() % lanes.len() as u64;
                LaneNumber::try_from(lane).expect("a number of workers fits")
            }
            Some(_) | None => 0,
        }
    }

    /// Queues a message; `ahead` bytes of its socket have arrived and were not looked at.
    pub(crate) fn push(
        &mut self,
        (policy, bounds): (&BatchPolicy, &QueueBounds),
        generation: u32,
        lane: LaneNumber,
        message: MessageRef<'_>,
        ahead: usize,
        arenas: &mut Arenas,
    ) {
        let len = message.as_bytes().len();
        let left = bounds.bytes_max.saturating_sub(self.bytes);
        self.lane_mut(lane)
            .push(policy, (left, ahead), generation, message, arenas);
        self.items += 1;
        self.bytes += len;
    }

    /// Whether these messages can be a batch of their own, which is worth handing out as it is.
    pub(crate) fn has_room_for(
        &self,
        (policy, bounds): (&BatchPolicy, &QueueBounds),
        contents: &Contents,
    ) -> bool {
        let (count, bytes) = (contents.len(), contents.bytes());
        let weight = contents.capacity();
        let is_enough = match policy.idle {
            IdleFlush::AtOnce => true,
            // Who waits for large batches gets them.
            IdleFlush::Linger => 4 * bytes >= policy.bytes_max || 4 * count >= policy.count_max,
        };
        is_enough
            && contents.is_worth_keeping(bytes)
            && bytes <= policy.bytes_max
            && self.items as usize + count <= bounds.items_max
            && self.bytes + weight <= bounds.bytes_max
    }

    /// Queues a batch that is complete.
    pub(crate) fn append(&mut self, generation: u32, lane: LaneNumber, contents: Contents) {
        self.items += count(&contents);
        self.bytes += contents.weight();
        self.lane_mut(lane).append(Draft::new(contents, generation));
    }

    /// Queues messages that are all for the one lane, until the bounds are reached. `next` gives a message's kind and payload, and
    /// how many bytes have arrived behind it.
    pub(crate) fn push_run<'i>(
        &mut self,
        (policy, bounds): (&BatchPolicy, &QueueBounds),
        run: &Arrival,
        arenas: &mut Arenas,
        next: impl FnMut() -> Option<Next<'i>>,
    ) -> Pushed {
        let items = bounds.items_max.saturating_sub(self.items as usize);
        let room = Room {
            items: u32::try_from(items).unwrap_or(u32::MAX),
            bytes: bounds.bytes_max.saturating_sub(self.bytes),
        };
        if !room.is_left_after(Pushed::default()) {
            return Pushed::default();
        }
        let pushed = self.lane.push_run(policy, room, run, arenas, next);
        self.items += pushed.items;
        self.bytes += pushed.bytes;
        pushed
    }

    /// Whether all messages go the same way, whatever is in them.
    pub(crate) fn has_one_lane(&self) -> bool {
        match self.spread.as_deref() {
            Some(Spread {
                ways: Ways::Keyed { .. },
                ..
            }) => false,
            Some(_) | None => true,
        }
    }

    /// Gives back what was taken ahead for messages that did not come.
    pub(crate) fn shrink_growing(&mut self) {
        self.lane.shrink_growing();
        if let Some(spread) = &mut self.spread
            && let Ways::Keyed { lanes, .. } = &mut spread.ways
        {
            for keyed in lanes {
                keyed.lane.shrink_growing();
            }
        }
    }

    /// Ends the batches in progress although they are not full: what comes next is of another kind.
    pub(crate) fn complete_growing(&mut self) {
        self.lane.complete_growing();
        if let Some(spread) = &mut self.spread
            && let Ways::Keyed { lanes, .. } = &mut spread.ways
        {
            for keyed in lanes {
                keyed.lane.complete_growing();
            }
        }
    }

    /// Puts a message that was a dead letter behind all that waits in its lane, as a batch of its own.
    pub(crate) fn redrive(
        &mut self,
        generation: u32,
        letter: u64,
        lane: LaneNumber,
        message: MessageRef<'_>,
    ) {
        let mut contents = Contents::default();
        contents.push(message);
        self.items += 1;
        self.bytes += contents.bytes();
        let draft = Draft::new(contents, generation).of_letter(letter);
        self.lane_mut(lane).append(draft);
    }

    /// The batch in progress is not to wait for more.
    pub(crate) fn mark_urgent(&mut self, lane: LaneNumber) {
        self.lane_mut(lane).mark_urgent();
    }

    pub(crate) fn ask(&mut self, consumer: Consumer) {
        match consumer {
            Consumer::Pull => {
                self.asks = 1;
                self.outstanding_items = 0;
                self.outstanding_batches = 0;
            }
            Consumer::Process => self.asks = self.asks.saturating_add(1),
        }
    }

    /// The batch for a consumer that asked, if its time has come.
    pub(crate) fn due(&mut self, now: Instant, policy: &BatchPolicy) -> Option<Source> {
        if self.asks == 0 {
            return None;
        }
        let next = self.next_source(now, policy);
        let (_, source) = next.filter(|(due, _)| due.is_due(now))?;
        let is_below = self.is_below_limit();
        if let (false, Some(spread)) = (is_below, &mut self.spread) {
            spread.workers.was_reached();
        }
        is_below.then_some(source)
    }

    /// Hands out the batch that [`due`](Self::due) has named.
    pub(crate) fn hand_out(
        &mut self,
        now: Instant,
        source: Source,
        connection: ConnectionId,
    ) -> Option<Batch> {
        let (lane, draft) = self.take(source)?;
        if let Some(spread) = &mut self.spread {
            spread.workers.begin(now);
        }
        let count = count(draft.contents());
        self.asks -= 1;
        self.items -= count;
        self.bytes -= draft.contents().weight();
        self.outstanding_batches += 1;
        self.outstanding_items += count;
        Some(draft.hand_out(connection, now, lane))
    }

    /// When the next batch may go out to a consumer that has asked; `None` if nothing waits, or what waits does
    /// not wait for time.
    pub(crate) fn next_due(&self, policy: &BatchPolicy) -> Option<Instant> {
        if !self.is_asked_for() || self.place != Place::Unasked {
            return None;
        }
        let next = self.next_source(Instant::ORIGIN, policy);
        next.map(|(due, _)| due)
    }

    /// Whether the consumer would take a batch if there were one.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.asks > 0 && self.is_below_limit()
    }

    /// A processor returned a batch. Whether it was handed out and not returned before.
    pub(crate) fn finish(&mut self, now: Instant, batch: &Batch) -> bool {
        let Some(running) = self.outstanding_batches.checked_sub(1) else {
            return false;
        };
        self.outstanding_batches = running;
        let items = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        self.outstanding_items = self.outstanding_items.saturating_sub(items);
        if let Some(spread) = &mut self.spread {
            if let Some(keyed) = spread.keyed_mut(batch.lane()) {
                keyed.is_busy = false;
            }
            let latency = now.saturating_since(batch.handed_at());
            spread.workers.end(now, latency, running);
        }
        true
    }

    /// Puts messages of a judged batch back in front, to be tried again at `not_before`.
    pub(crate) fn retry(
        &mut self,
        batch: &Batch,
        again: &[usize],
        not_before: Instant,
        now: Instant,
    ) {
        let mut contents = Contents::default();
        for message in again.iter().filter_map(|&index| batch.get(index)) {
            contents.push(message);
        }
        self.items += count(&contents);
        self.bytes += contents.bytes();
        let first_failed_at = batch.failed_before().unwrap_or(now);
        let draft = Draft::new(contents, batch.generation()).tried_before(batch, first_failed_at);
        let waiting = Waiting { draft, not_before };
        match self.spread.as_deref_mut() {
            Some(Spread {
                ways: Ways::Free { again, retries },
                ..
            }) => {
                *retries += 1;
                again.insert((not_before, *retries), waiting);
            }
            Some(_) | None => self.lane_mut(batch.lane()).put_back(waiting),
        }
    }

    /// Whether no message waits and no consumer holds one.
    pub(crate) fn is_settled(&self) -> bool {
        self.items == 0 && self.outstanding_batches == 0
    }

    /// Messages received and neither judged nor handed over for good.
    pub(crate) fn in_flight(&self, consumer: Consumer) -> u64 {
        let outstanding = match consumer {
            Consumer::Pull => 0,
            Consumer::Process => self.outstanding_items,
        };
        u64::from(self.items) + u64::from(outstanding)
    }

    /// Messages that no consumer has.
    pub(crate) fn waiting(&self) -> u32 {
        self.items
    }

    /// Calls that have begun and not ended.
    pub(crate) fn outstanding_batches(&self) -> u16 {
        self.outstanding_batches
    }

    /// Forgets everything, handed out or not; returns how many messages that were in flight.
    pub(crate) fn clear(&mut self, consumer: Consumer) -> u64 {
        let left = self.in_flight(consumer);
        *self = Self::default();
        left
    }

    pub(crate) fn charged(&self) -> usize {
        self.bytes + self.items as usize * MESSAGE_OVERHEAD
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// How many calls may run at once.
    pub(crate) fn workers(&self, now: Instant, consumer: Consumer) -> u16 {
        match (consumer, &self.spread) {
            (Consumer::Pull, _) => 0,
            (Consumer::Process, None) => 1,
            (Consumer::Process, Some(spread)) => spread.workers.limit(now),
        }
    }

    pub(crate) fn poll_scaled(&mut self, now: Instant) -> Option<Scaled> {
        self.spread.as_mut()?.workers.poll_scaled(now)
    }

    fn is_below_limit(&self) -> bool {
        // While no call runs one may always begin, whatever the limit has become meanwhile.
        self.outstanding_batches == 0
            || self
                .spread
                .as_ref()
                .is_some_and(|spread| self.outstanding_batches < spread.workers.limit_while_busy())
    }

    /// What could be handed out next, and when.
    fn next_source(&self, now: Instant, policy: &BatchPolicy) -> Option<(Instant, Source)> {
        let lane = self.lane.next_due(policy).map(|due| (due, Source::Lane));
        match self.spread.as_ref().map(|spread| &spread.ways) {
            None => lane,
            Some(Ways::Keyed { lanes, last }) => {
                let keyed = next_lane(lanes, *last, policy);
                keyed.map(|(due, lane)| (due, Source::Keyed(lane)))
            }
            Some(Ways::Free { again, .. }) => {
                let again = again.first_key_value();
                let again = again.map(|((due, _), _)| (*due, Source::Again));
                // What is to be tried again has waited longer than anything else.
                let is_first = |(due, _): &(Instant, Source)| due.is_due(now);
                again.filter(is_first).or_else(|| {
                    [lane, again]
                        .into_iter()
                        .flatten()
                        .min_by_key(|(due, _)| *due)
                })
            }
        }
    }

    fn take(&mut self, source: Source) -> Option<(LaneNumber, Draft)> {
        match (source, self.spread.as_deref_mut().map(|it| &mut it.ways)) {
            (Source::Keyed(number), Some(Ways::Keyed { lanes, last })) => {
                *last = number;
                let keyed = lanes.get_mut(usize::from(number))?;
                keyed.is_busy = true;
                Some((number, keyed.lane.take()?))
            }
            (Source::Again, Some(Ways::Free { again, .. })) => {
                again.pop_first().map(|(_, waiting)| (0, waiting.draft))
            }
            (Source::Lane | Source::Keyed(_) | Source::Again, _) => Some((0, self.lane.take()?)),
        }
    }

    /// The lane of this number; the one lane, if there are no others.
    fn lane_mut(&mut self, number: LaneNumber) -> &mut Lane {
        let keyed = self.spread.as_mut().and_then(|it| it.keyed_mut(number));
        keyed.map_or(&mut self.lane, |keyed| &mut keyed.lane)
    }
}

/// A batch's offsets are of 32 bits, and so is the count of its messages.
fn count(contents: &Contents) -> u32 {
    u32::try_from(contents.len()).expect("an arena's offsets have 32 bits")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::Kind;

    const ID: ConnectionId = ConnectionId {
        index: 0,
        generation: 0,
    };

    fn next(inbound: &mut Inbound, now: Instant, policy: &BatchPolicy) -> Option<Batch> {
        let source = inbound.due(now, policy)?;
        inbound.hand_out(now, source, ID)
    }

    fn push(inbound: &mut Inbound, policy: &BatchPolicy, generation: u32, seq: u64, at: Instant) {
        let message = MessageRef::new(Kind::Text, b"0123456789", seq, at);
        let policy = (policy, &QueueBounds::default());
        inbound.push(policy, generation, 0, message, 0, &mut Arenas::default());
    }

    #[test]
    fn a_batch_is_closed_by_count_bytes_and_the_end_of_its_socket() {
        let policy = BatchPolicy {
            count_max: 3,
            bytes_max: 25,
            ..BatchPolicy::default()
        };
        let mut inbound = Inbound::default();
        for seq in 1..=5 {
            push(&mut inbound, &policy, 1, seq, Instant::ORIGIN);
        }
        push(&mut inbound, &policy, 2, 6, Instant::ORIGIN);
        let mut sizes = Vec::new();
        loop {
            inbound.ask(Consumer::Pull);
            let batch = next(&mut inbound, Instant::ORIGIN, &policy);
            let Some(batch) = batch else {
                break;
            };
            sizes.push((batch.generation(), batch.len()));
        }
        assert_eq!(sizes, [(1, 2), (1, 2), (1, 1), (2, 1)]);
        assert_eq!(inbound.charged(), 0);
    }

    #[test]
    fn linger_holds_a_batch_unless_it_is_urgent() {
        let policy = BatchPolicy {
            idle: IdleFlush::Linger,
            linger: Duration::from_millis(5),
            ..BatchPolicy::default()
        };
        let mut inbound = Inbound::default();
        inbound.ask(Consumer::Process);
        push(&mut inbound, &policy, 1, 1, Instant::ORIGIN);
        assert!(next(&mut inbound, Instant::ORIGIN, &policy).is_none());
        let due = inbound.next_due(&policy).unwrap();
        assert_eq!(due, Instant::ORIGIN + Duration::from_millis(5));
        let batch = next(&mut inbound, due, &policy).unwrap();
        assert!(inbound.finish(due, &batch));

        inbound.ask(Consumer::Process);
        push(&mut inbound, &policy, 1, 2, Instant::ORIGIN);
        inbound.mark_urgent(0);
        assert!(next(&mut inbound, Instant::ORIGIN, &policy).is_some());
    }

    #[test]
    fn a_full_batch_does_not_linger() {
        let by_count = BatchPolicy {
            idle: IdleFlush::Linger,
            count_max: 2,
            ..BatchPolicy::default()
        };
        let by_bytes = BatchPolicy {
            idle: IdleFlush::Linger,
            bytes_max: 20,
            ..BatchPolicy::default()
        };
        for policy in [by_count, by_bytes] {
            let mut inbound = Inbound::default();
            inbound.ask(Consumer::Process);
            push(&mut inbound, &policy, 1, 1, Instant::ORIGIN);
            assert!(next(&mut inbound, Instant::ORIGIN, &policy).is_none());
            push(&mut inbound, &policy, 1, 2, Instant::ORIGIN);
            let batch = next(&mut inbound, Instant::ORIGIN, &policy).unwrap();
            assert_eq!(batch.len(), 2);
        }
    }

    #[test]
    fn a_retried_message_holds_back_what_came_after_it() {
        let policy = BatchPolicy::default();
        let mut inbound = Inbound::default();
        inbound.ask(Consumer::Process);
        push(&mut inbound, &policy, 1, 1, Instant::ORIGIN);
        let batch = next(&mut inbound, Instant::ORIGIN, &policy).unwrap();
        push(&mut inbound, &policy, 1, 2, Instant::ORIGIN);
        let later = Instant::ORIGIN + Duration::from_millis(100);
        assert!(inbound.finish(Instant::ORIGIN, &batch));
        inbound.retry(&batch, &[0], later, Instant::ORIGIN);
        inbound.ask(Consumer::Process);
        assert!(next(&mut inbound, Instant::ORIGIN, &policy).is_none());
        let again = next(&mut inbound, later, &policy).unwrap();
        assert_eq!((again.attempt(), again.get(0).unwrap().seq()), (2, 1));
    }
}
