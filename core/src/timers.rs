//! Deadlines of many connections: an indexed binary heap.

use crate::time::Instant;

/// At most one deadline for each slot, and the earliest of them at hand.
///
/// A slot is a small dense number, the place of a connection in its set. [`set`](Self::set),
/// [`clear`](Self::clear) and [`pop_due`](Self::pop_due) are O(log n) in the number of deadlines,
/// [`peek`](Self::peek) is O(1). Equal deadlines come in the order of their slots, so that a run can be
/// repeated exactly. A deadline costs 16 bytes, a slot 4; both are given back once three quarters of
/// the deadlines are gone.
#[derive(Clone, Debug, Default)]
pub struct TimerHeap {
    /// A heap by deadline, then slot.
    heap: Vec<(Instant, u32)>,
    /// Where in the heap a slot's deadline is; [`ABSENT`] if it has none.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

/// Below this capacity nothing is given back: the heap of a few connections may keep its 1 KiB.
const CAPACITY_KEPT: usize = 64;

impl TimerHeap {
    /// A heap without deadlines. Allocates nothing.
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Gives `slot` this deadline instead of the one that it had, if any.
    pub fn set(&mut self, slot: u32, deadline: Instant) {
        if let Some(position) = self.position(slot) {
            self.heap[position].0 = deadline;
            self.restore(position);
            return;
        }
        let index = slot as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, ABSENT);
        }
        let position = self.heap.len();
        self.heap.push((deadline, slot));
        self.record(position);
        self.sift_up(position);
    }

    /// Takes away the deadline of `slot`; does nothing if it has none.
    pub fn clear(&mut self, slot: u32) {
        let Some(position) = self.position(slot) else {
            return;
        };
        self.remove(position);
    }

    /// Takes out the earliest deadline that is due at `now`, with its slot.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        let (deadline, slot) = self.peek()?;
        if !deadline.is_due(now) {
            return None;
        }
        self.remove(0);
        Some((deadline, slot))
    }

    /// The earliest deadline and its slot.
    #[inline]
    pub fn peek(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// The deadline of `slot`.
    pub fn deadline(&self, slot: u32) -> Option<Instant> {
        self.position(slot).map(|position| self.heap[position].0)
    }

    /// How many slots have a deadline.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no slot has a deadline.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Panics if the heap is out of order or its index is wrong. For tests: O(n).
    pub fn check_invariants(&self) {
        for (position, entry) in self.heap.iter().enumerate() {
            assert_eq!(self.position(entry.1), Some(position), "index is wrong");
            assert!(
                position == 0 || self.heap[parent(position)] < *entry,
                "a parent is later than its child"
            );
        }
        let present = self.positions.iter().filter(|p| **p != ABSENT).count();
        assert_eq!(present, self.heap.len(), "a slot points at nothing");
    }

    fn position(&self, slot: u32) -> Option<usize> {
        let position = *self.positions.get(slot as usize)?;
        (position != ABSENT).then_some(position as usize)
    }

    fn remove(&mut self, position: usize) {
        let (_, slot) = self.heap.swap_remove(position);
        self.positions[slot as usize] = ABSENT;
        if position < self.heap.len() {
            self.record(position);
            self.restore(position);
        }
        self.give_back();
    }

    /// Moves an entry whose deadline changed to where it belongs.
    fn restore(&mut self, position: usize) {
        let position = self.sift_up(position);
        self.sift_down(position);
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        while position > 0 && self.heap[position] < self.heap[parent(position)] {
            self.swap(position, parent(position));
            position = parent(position);
        }
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let (left, right) = (2 * position + 1, 2 * position + 2);
            let mut least = position;
            for child in [left, right] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == position {
                return;
            }
            self.swap(position, least);
            position = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.record(a);
        self.record(b);
    }

    /// Writes down where the entry at `position` is now.
    fn record(&mut self, position: usize) {
        let slot = self.heap[position].1;
        self.positions[slot as usize] =
            u32::try_from(position).expect("there are no more deadlines than slots");
    }

    /// Halves what is kept when three quarters of it are unused, so that a burst of connections is
    /// not paid for ever, and setting and clearing at the edge does not reallocate each time.
    fn give_back(&mut self) {
        if self.heap.capacity() <= CAPACITY_KEPT || self.heap.len() > self.heap.capacity() / 4 {
            return;
        }
        self.heap.shrink_to(self.heap.capacity() / 2);
        let used = self.positions.iter().rposition(|p| *p != ABSENT);
        self.positions.truncate(used.map_or(0, |last| last + 1));
        self.positions.shrink_to(self.heap.capacity());
    }
}

const fn parent(position: usize) -> usize {
    position.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn equal_deadlines_come_in_the_order_of_their_slots() {
        let mut heap = TimerHeap::new();
        for slot in [5, 1, 9, 0, 7, 3] {
            heap.set(slot, at(10));
        }
        let popped: Vec<u32> = std::iter::from_fn(|| heap.pop_due(at(10)))
            .map(|(_, slot)| slot)
            .collect();
        assert_eq!(popped, [0, 1, 3, 5, 7, 9]);
    }

    #[test]
    fn a_deadline_is_due_at_its_own_instant_and_not_before() {
        let mut heap = TimerHeap::new();
        heap.set(0, at(10));
        assert_eq!(heap.pop_due(at(9)), None);
        assert_eq!(heap.pop_due(at(10)), Some((at(10), 0)));
        assert_eq!(heap.pop_due(at(11)), None);
    }

    #[test]
    fn a_slot_keeps_only_its_newest_deadline() {
        let mut heap = TimerHeap::new();
        heap.set(3, at(10));
        heap.set(3, at(30));
        heap.set(4, at(20));
        assert_eq!(heap.len(), 2);
        assert_eq!(heap.deadline(3), Some(at(30)));
        assert_eq!(heap.peek(), Some((at(20), 4)));
        heap.set(3, Instant::ORIGIN);
        assert_eq!(heap.peek(), Some((Instant::ORIGIN, 3)));
    }

    #[test]
    fn memory_is_given_back_when_most_deadlines_are_gone() {
        let mut heap = TimerHeap::new();
        for slot in 0..10_000 {
            heap.set(slot, at(u64::from(slot)));
        }
        for slot in (10..10_000).rev() {
            heap.clear(slot);
        }
        heap.check_invariants();
        assert_eq!(heap.len(), 10);
        assert!(
            heap.heap.capacity() <= CAPACITY_KEPT,
            "{}",
            heap.heap.capacity()
        );
        assert!(heap.positions.capacity() <= 2 * CAPACITY_KEPT);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_map(
            operations in prop::collection::vec((0_u8..6, 0_u32..200, 0_u64..50), 0..600),
        ) {
            let mut heap = TimerHeap::new();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (operation, slot, nanos) in operations {
                match operation {
                    0..=2 => {
                        heap.set(slot, at(nanos));
                        model.insert(slot, at(nanos));
                    }
                    3 => {
                        heap.clear(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        let expected = model
                            .iter()
                            .map(|(slot, deadline)| (*deadline, *slot))
                            .min()
                            .filter(|(deadline, _)| deadline.is_due(at(nanos)));
                        prop_assert_eq!(heap.pop_due(at(nanos)), expected);
                        if let Some((_, slot)) = expected {
                            model.remove(&slot);
                        }
                    }
                }
                heap.check_invariants();
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.deadline(slot), model.get(&slot).copied());
                let earliest = model.iter().map(|(slot, deadline)| (*deadline, *slot)).min();
                prop_assert_eq!(heap.peek(), earliest);
            }
        }
    }
}
