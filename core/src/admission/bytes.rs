//! The bytes that all connections together may hold.

use std::collections::{BTreeMap, VecDeque};

/// Bytes in the hands of shards, and the shards that wait for some, in order. There are few shards, so
/// the queue may be searched.
#[derive(Clone, Debug)]
pub(super) struct ByteBudget {
    max: u64,
    held_in_all: u64,
    held: BTreeMap<u32, u64>,
    waiting: VecDeque<(u32, u64)>,
}

impl ByteBudget {
    pub(super) const fn new(max: u64) -> Self {
        Self {
            max,
            held_in_all: 0,
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, shard: u32, wanted: u64) -> u64 {
        if wanted == 0 {
            return 0;
        }
        if let Some(entry) = self.waiting.iter_mut().find(|entry| entry.0 == shard) {
            entry.1 = wanted;
            return 0;
        }
        if self.waiting.is_empty() && self.free() > 0 {
            return self.grant(shard, wanted);
        }
        self.waiting.push_back((shard, wanted));
        0
    }

    pub(super) fn give(&mut self, shard: u32, bytes: u64) {
        let held = self.held(shard);
        debug_assert!(bytes <= held, "shard {shard} gives {bytes} of {held} bytes");
        let bytes = bytes.min(held);
        self.held_in_all -= bytes;
        if bytes == held {
            self.held.remove(&shard);
        } else {
            self.held.insert(shard, held - bytes);
        }
    }

    pub(super) fn give_all(&mut self, shard: u32) {
        self.give(shard, self.held(shard));
        self.waiting.retain(|entry| entry.0 != shard);
    }

    pub(super) fn poll_refill(&mut self) -> Option<(u32, u64)> {
        if self.free() == 0 {
            return None;
        }
        let (shard, wanted) = self.waiting.pop_front()?;
        Some((shard, self.grant(shard, wanted)))
    }

    pub(super) const fn held_in_all(&self) -> u64 {
        self.held_in_all
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.held_in_all, self.held.values().sum::<u64>());
        assert!(self.held_in_all <= self.max, "more bytes than there are");
        assert!(
            !self.held.values().any(|held| *held == 0),
            "an empty entry is kept"
        );
        for (index, (shard, wanted)) in self.waiting.iter().enumerate() {
            assert!(*wanted > 0, "shard {shard} waits for nothing");
            let twice = self.waiting.iter().skip(index + 1).any(|e| e.0 == *shard);
            assert!(!twice, "shard {shard} waits twice");
        }
    }

    fn held(&self, shard: u32) -> u64 {
        self.held.get(&shard).copied().unwrap_or(0)
    }

    const fn free(&self) -> u64 {
        self.max - self.held_in_all
    }

    fn grant(&mut self, shard: u32, wanted: u64) -> u64 {
        let granted = wanted.min(self.free());
        self.held_in_all += granted;
        *self.held.entry(shard).or_insert(0) += granted;
        granted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shards_that_found_nothing_are_served_in_order() {
        let mut budget = ByteBudget::new(100);
        assert_eq!(budget.take(1, 70), 70);
        assert_eq!(
            budget.take(2, 70),
            30,
            "what is there is better than nothing"
        );
        assert_eq!(budget.take(3, 10), 0);
        assert_eq!(budget.take(4, 10), 0);
        assert_eq!(budget.poll_refill(), None);
        budget.give(1, 15);
        assert_eq!(budget.take(1, 1), 0, "nobody overtakes who waits");
        assert_eq!(budget.poll_refill(), Some((3, 10)));
        assert_eq!(budget.poll_refill(), Some((4, 5)));
        assert_eq!(budget.poll_refill(), None);
        budget.check_invariants();
    }

    #[test]
    fn a_waiting_shard_may_change_its_mind_and_keeps_its_place() {
        let mut budget = ByteBudget::new(100);
        assert_eq!(budget.take(1, 100), 100);
        assert_eq!(budget.take(2, 5), 0);
        assert_eq!(budget.take(3, 5), 0);
        assert_eq!(budget.take(2, 50), 0);
        budget.give(1, 60);
        assert_eq!(budget.poll_refill(), Some((2, 50)));
        assert_eq!(budget.poll_refill(), Some((3, 5)));
    }

    #[test]
    fn a_shard_that_ends_leaves_nothing_behind() {
        let mut budget = ByteBudget::new(100);
        assert_eq!(budget.take(1, 100), 100);
        assert_eq!(budget.take(2, 5), 0);
        assert_eq!(budget.take(3, 7), 0);
        budget.give_all(2);
        budget.give_all(1);
        assert_eq!(budget.poll_refill(), Some((3, 7)));
        budget.give_all(3);
        assert_eq!(budget.held_in_all(), 0);
        assert!(budget.held.is_empty() && budget.waiting.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_are_neither_made_nor_lost_and_everybody_is_served(
            operations in prop::collection::vec((0_u8..4, 0_u32..4, 0_u64..150), 0..300),
        ) {
            let mut budget = ByteBudget::new(100);
            let mut held = [0_u64; 4];
            for (operation, shard, bytes) in operations {
                let index = shard as usize;
                match operation {
                    0 | 1 => held[index] += budget.take(shard, bytes),
                    2 => {
                        let given = bytes.min(held[index]);
                        budget.give(shard, given);
                        held[index] -= given;
                    }
                    _ => {
                        budget.give_all(shard);
                        held[index] = 0;
                    }
                }
                while let Some((shard, bytes)) = budget.poll_refill() {
                    prop_assert!(bytes > 0);
                    held[shard as usize] += bytes;
                }
                budget.check_invariants();
                prop_assert_eq!(budget.held_in_all(), held.iter().sum::<u64>());
                prop_assert!(budget.waiting.is_empty() || budget.free() == 0);
            }
            for shard in 0..4 {
                budget.give_all(shard);
                while budget.poll_refill().is_some() {}
            }
            prop_assert!(budget.waiting.is_empty());
        }
    }
}
