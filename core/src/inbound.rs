//! Messages on their way in: gathered into batches, handed out when asked for.

use std::collections::VecDeque;

use crate::batch::{Batch, Contents, MESSAGE_OVERHEAD, MessageRef};
use crate::ids::ConnectionId;
use crate::io::Consumer;
use crate::settings::{BatchPolicy, IdleFlush, QueueBounds};
use crate::time::Instant;

/// A batch that is complete and waits for its consumer.
#[derive(Debug)]
struct Waiting {
    contents: Contents,
    generation: u32,
    attempt: u32,
    /// A batch to be tried again is held until then, and with it all that came later: order is kept.
    not_before: Instant,
    first_failed_at: Option<Instant>,
    /// The dead letter that its one message comes from.
    letter: Option<u64>,
}

/// The received messages of one connection that no consumer has yet.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Boxed, because most consumers keep up and never need it.
    #[allow(
        clippy::box_collection,
        reason = "eight bytes in every idle connection, not 32"
    )]
    complete: Option<Box<VecDeque<Waiting>>>,
    /// The batch in progress, and the generation of the socket it comes from.
    growing: Option<Box<Contents>>,
    growing_generation: u32,
    items: u32,
    /// Messages handed out and not yet judged.
    outstanding_items: u32,
    bytes: usize,
    asks: u16,
    outstanding_batches: u16,
    urgent: bool,
}

impl Inbound {
    /// Whether reading must stop: the bounds are reached. The message that reaches them is kept, so the
    /// queue holds at most the bound and one message.
    pub(crate) fn is_full(&self, bounds: &QueueBounds) -> bool {
        self.items as usize >= bounds.items_max || self.bytes >= bounds.bytes_max
    }

    pub(crate) fn push(
        &mut self,
        policy: &BatchPolicy,
        bounds: &QueueBounds,
        generation: u32,
        message: MessageRef<'_>,
    ) {
        let len = message.as_bytes().len();
        if self.growing_generation != generation {
            self.complete_growing();
            self.growing_generation = generation;
        }
        if let Some(growing) = &self.growing {
            let is_full = growing.len() >= policy.count_max
                || growing.bytes().saturating_add(len) > policy.bytes_max
                || !growing.has_room_for(len, message.seq());
            if is_full {
                self.complete_growing();
            }
        }
        let left = bounds.bytes_max.saturating_sub(self.bytes);
        let growing = self.growing.get_or_insert_default();
        growing.make_room(
            len,
            policy.bytes_max.min(growing.bytes().saturating_add(left)),
        );
        growing.push(message);
        self.items += 1;
        self.bytes += len;
    }

    /// Ends the batch in progress although it is not full: what comes next is of another kind.
    pub(crate) fn complete_growing(&mut self) {
        if let Some(mut waiting) = self.take_growing() {
            waiting.contents.shrink();
            self.complete.get_or_insert_default().push_back(waiting);
        }
    }

    /// Puts a message that was a dead letter behind all that waits, as a batch of its own.
    pub(crate) fn redrive(&mut self, generation: u32, letter: u64, message: MessageRef<'_>) {
        self.complete_growing();
        let mut contents = Contents::default();
        contents.push(message);
        self.items += 1;
        self.bytes += contents.bytes();
        self.complete.get_or_insert_default().push_back(Waiting {
            contents,
            generation,
            attempt: 1,
            not_before: Instant::ORIGIN,
            first_failed_at: None,
            letter: Some(letter),
        });
    }

    /// The batch in progress is not to wait for more.
    pub(crate) fn mark_urgent(&mut self) {
        self.urgent = true;
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

    /// A batch for a consumer that asked, if there is one whose time has come.
    pub(crate) fn next_batch(
        &mut self,
        now: Instant,
        policy: &BatchPolicy,
        connection: ConnectionId,
    ) -> Option<Batch> {
        if self.asks == 0 || !self.next_due(policy)?.is_due(now) {
            return None;
        }
        let waiting = self.take_complete().or_else(|| self.take_growing())?;
        self.asks -= 1;
        self.items -= count(&waiting.contents);
        self.bytes -= waiting.contents.bytes();
        self.outstanding_batches += 1;
        self.outstanding_items += count(&waiting.contents);
        let Waiting {
            contents,
            generation,
            attempt,
            not_before: _,
            first_failed_at,
            letter,
        } = waiting;
        let batch = Batch::new(connection, generation, attempt, contents);
        Some(batch.first_failed_at(first_failed_at).of_letter(letter))
    }

    fn take_complete(&mut self) -> Option<Waiting> {
        let complete = self.complete.as_mut()?;
        let waiting = complete.pop_front();
        if complete.is_empty() {
            self.complete = None;
        }
        waiting
    }

    fn take_growing(&mut self) -> Option<Waiting> {
        self.urgent = false;
        Some(Waiting {
            contents: *self.growing.take()?,
            generation: self.growing_generation,
            attempt: 1,
            not_before: Instant::ORIGIN,
            first_failed_at: None,
            letter: None,
        })
    }

    /// When the next batch may go out to a consumer that has asked; `None` if nothing waits.
    pub(crate) fn next_due(&self, policy: &BatchPolicy) -> Option<Instant> {
        if let Some(first) = self.complete.as_ref().and_then(|c| c.front()) {
            return Some(first.not_before);
        }
        let received_at = self.growing.as_ref()?.first_received_at()?;
        Some(match policy.idle {
            IdleFlush::AtOnce => Instant::ORIGIN,
            IdleFlush::Linger if self.urgent => Instant::ORIGIN,
            IdleFlush::Linger => received_at + policy.linger,
        })
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        self.asks > 0
    }

    /// A processor returned a batch of `items` messages.
    pub(crate) fn finish(&mut self, items: usize) {
        self.outstanding_batches = self.outstanding_batches.saturating_sub(1);
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        self.outstanding_items = self.outstanding_items.saturating_sub(items);
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
        self.complete.get_or_insert_default().push_front(Waiting {
            contents,
            generation: batch.generation(),
            attempt: batch.attempt().saturating_add(1),
            not_before,
            first_failed_at: Some(batch.failed_before().unwrap_or(now)),
            letter: batch.letter(),
        });
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

    /// Forgets everything, handed out or not; returns how many messages that were in flight.
    pub(crate) fn clear(&mut self, consumer: Consumer) -> u64 {
        let left = self.in_flight(consumer);
        *self = Self::default();
        left
    }

    pub(crate) fn charged(&self) -> usize {
        self.bytes + self.items as usize * MESSAGE_OVERHEAD
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

    fn push(inbound: &mut Inbound, policy: &BatchPolicy, generation: u32, seq: u64, at: Instant) {
        let message = MessageRef::new(Kind::Text, b"0123456789", seq, at);
        inbound.push(policy, &QueueBounds::default(), generation, message);
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
            let Some(batch) = inbound.next_batch(Instant::ORIGIN, &policy, ID) else {
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
        inbound.ask(Consumer::Pull);
        push(&mut inbound, &policy, 1, 1, Instant::ORIGIN);
        assert!(inbound.next_batch(Instant::ORIGIN, &policy, ID).is_none());
        let due = inbound.next_due(&policy).unwrap();
        assert_eq!(due, Instant::ORIGIN + Duration::from_millis(5));
        assert!(inbound.next_batch(due, &policy, ID).is_some());

        inbound.ask(Consumer::Pull);
        push(&mut inbound, &policy, 1, 2, Instant::ORIGIN);
        inbound.mark_urgent();
        assert!(inbound.next_batch(Instant::ORIGIN, &policy, ID).is_some());
    }

    #[test]
    fn a_retried_message_holds_back_what_came_after_it() {
        let policy = BatchPolicy::default();
        let mut inbound = Inbound::default();
        inbound.ask(Consumer::Process);
        push(&mut inbound, &policy, 1, 1, Instant::ORIGIN);
        let batch = inbound.next_batch(Instant::ORIGIN, &policy, ID).unwrap();
        push(&mut inbound, &policy, 1, 2, Instant::ORIGIN);
        let later = Instant::ORIGIN + Duration::from_millis(100);
        inbound.finish(1);
        inbound.retry(&batch, &[0], later, Instant::ORIGIN);
        inbound.ask(Consumer::Process);
        assert!(inbound.next_batch(Instant::ORIGIN, &policy, ID).is_none());
        let again = inbound.next_batch(later, &policy, ID).unwrap();
        assert_eq!((again.attempt(), again.get(0).unwrap().seq()), (2, 1));
    }
}
