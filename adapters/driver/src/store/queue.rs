//! The letters on their way to the store.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use super::LetterRecord;
use ropewalk_core::ConnectionId;

/// The bounds of the queue in front of a store, where letters wait while the store is slow or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreQueue {
    /// The most letters. Default: 10,000.
    pub letters_max: NonZeroUsize,
    /// The most bytes of payload. Default: 64 MiB. A letter larger than that waits alone.
    pub bytes_max: NonZeroUsize,
    /// What gives way at the bounds. Default: the oldest.
    pub when_full: QueuePolicy,
}

/// Which letter gives way when the queue in front of a store is full. Each is counted, and told by
/// [`EventKind::LettersDropped`](ropewalk_core::EventKind).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueuePolicy {
    /// The one that waits longest and is not being written at this moment.
    #[default]
    DropOldest,
    /// The new one.
    DropNewest,
}

impl Default for StoreQueue {
    fn default() -> Self {
        Self {
            letters_max: NonZeroUsize::MIN.saturating_add(10_000 - 1),
            bytes_max: NonZeroUsize::MIN.saturating_add((64 << 20) - 1),
            when_full: QueuePolicy::DropOldest,
        }
    }
}

/// A letter to be stored, and whose event will say so.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) record: LetterRecord,
    pub(super) connection: ConnectionId,
}

/// What waits, and what the store is being given at this moment.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: StoreQueue,
    waiting: VecDeque<Pending>,
    /// Charged for both.
    items: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(bounds: StoreQueue) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            items: 0,
            bytes: 0,
        }
    }

    /// Adds a letter; returns how many gave way.
    pub(super) fn push(&mut self, pending: Pending) -> u64 {
        let len = pending.record.payload.len();
        let mut dropped = 0;
        while !self.fits(len) {
            let oldest = match self.bounds.when_full {
                QueuePolicy::DropOldest => self.waiting.pop_front(),
                QueuePolicy::DropNewest => None,
            };
            dropped += 1;
            match oldest {
                Some(oldest) => self.release(std::slice::from_ref(&oldest)),
                None => return dropped,
            }
        }
        self.items += 1;
        self.bytes += len;
        self.waiting.push_back(pending);
        dropped
    }

    /// Takes everything that waits, to be given to the store; it stays charged until it is
    /// [released](Self::release) or [put back](Self::put_back).
    pub(super) fn take(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.waiting).into()
    }

    /// These were stored, or given up.
    pub(super) fn release(&mut self, done: &[Pending]) {
        self.items -= done.len();
        let bytes = done.iter().map(|pending| pending.record.payload.len());
        self.bytes -= bytes.sum::<usize>();
    }

    /// The store did not take these: they wait again, in front.
    pub(super) fn put_back(&mut self, group: Vec<Pending>) {
        let later = std::mem::replace(&mut self.waiting, group.into());
        self.waiting.extend(later);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many letters are not stored.
    pub(super) fn len(&self) -> usize {
        self.items
    }

    fn fits(&self, len: usize) -> bool {
        self.items == 0
            || (self.items < self.bounds.letters_max.get()
                && self.bytes.saturating_add(len) <= self.bounds.bytes_max.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_core::{Bytes, Direction, Kind, Stage};
    use std::time::SystemTime;

    fn pending(seq: u64, bytes: usize) -> Pending {
        Pending {
            record: LetterRecord {
                connection: "test".into(),
                endpoint: "ws://test/".into(),
                generation: 1,
                seq,
                direction: Direction::Inbound,
                stage: Stage::Business,
                reason: "no".into(),
                attempts: 1,
                received_at: SystemTime::UNIX_EPOCH,
                first_failed_at: SystemTime::UNIX_EPOCH,
                kind: Kind::Text,
                payload: Bytes::from(vec![b'x'; bytes]),
            },
            connection: crate::tests::any_id(),
        }
    }

    fn seqs(queue: &mut Queue) -> Vec<u64> {
        let group = queue.take();
        queue.release(&group);
        group.iter().map(|pending| pending.record.seq).collect()
    }

    fn queue(letters: usize, bytes: usize, when_full: QueuePolicy) -> Queue {
        Queue::new(StoreQueue {
            letters_max: NonZeroUsize::new(letters).unwrap(),
            bytes_max: NonZeroUsize::new(bytes).unwrap(),
            when_full,
        })
    }

    #[test]
    fn the_policy_says_which_letter_gives_way_by_count_and_by_bytes() {
        let table = [
            (QueuePolicy::DropOldest, [3, 4]),
            (QueuePolicy::DropNewest, [1, 2]),
        ];
        for (when_full, kept) in table {
            for (letters, bytes) in [(2, 1_000), (100, 20)] {
                let mut queue = queue(letters, bytes, when_full);
                let dropped: u64 = (1..=4).map(|seq| queue.push(pending(seq, 10))).sum();
                assert_eq!((dropped, queue.len()), (2, 2));
                assert_eq!(seqs(&mut queue), kept);
                assert_eq!((queue.items, queue.bytes), (0, 0));
            }
        }
    }

    #[test]
    fn what_the_store_is_being_given_counts_and_cannot_give_way() {
        let mut queue = queue(2, 1_000, QueuePolicy::DropOldest);
        queue.push(pending(1, 1));
        queue.push(pending(2, 1));
        let group = queue.take();
        assert_eq!(queue.push(pending(3, 1)), 1);
        queue.put_back(group);
        assert_eq!(seqs(&mut queue), [1, 2]);
        assert_eq!(queue.push(pending(4, 5_000)), 0, "a large one alone");
    }
}
