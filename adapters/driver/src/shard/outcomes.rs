//! Whom to tell what became of a connection's messages.

use std::collections::VecDeque;

use ropewalk_core::{MessageId, Outcome};

use crate::oneshot::Promise;

/// The promises of a connection, by the numbers of its messages. Messages come in the order of their numbers and mostly leave in it,
/// so both are quick; what leaves out of order leaves a gap, and there are never more gaps than promises.
#[derive(Debug)]
pub(super) struct Outcomes<P = Promise<Outcome>> {
    entries: VecDeque<(u64, Option<P>)>,
    gaps: usize,
}

/// Capacity that an emptied list keeps.
const KEPT: usize = 16;

impl<P> Default for Outcomes<P> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            gaps: 0,
        }
    }
}

impl Outcomes {
    /// Adds a promise for a message, which is newer than all before.
    pub(super) fn insert(&mut self, message: MessageId, promise: Promise<Outcome>) {
        self.push(message.as_u64(), promise);
    }

    /// Takes out the promise for a message.
    pub(super) fn remove(&mut self, message: MessageId) -> Option<Promise<Outcome>> {
        self.take(message.as_u64())
    }
}

impl<P> Outcomes<P> {
    fn push(&mut self, number: u64, promise: P) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < number));
        self.entries.push_back((number, Some(promise)));
    }

    fn take(&mut self, number: u64) -> Option<P> {
        let is_first = self.entries.front().is_some_and(|it| it.0 == number);
        let promise = if is_first {
            self.entries.pop_front()?.1
        } else {
            let index = self.entries.binary_search_by_key(&number, |it| it.0).ok()?;
            let promise = self.entries.get_mut(index)?.1.take();
            self.gaps += usize::from(promise.is_some());
            promise
        };
        while self.gaps > 0 && self.entries.front().is_some_and(|it| it.1.is_none()) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
        if self.gaps > self.entries.len() / 2 {
            self.entries.retain(|it| it.1.is_some());
            self.gaps = 0;
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = VecDeque::new();
        }
        promise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Outcomes<u64> {
        let mut outcomes = Outcomes::default();
        for number in numbers {
            outcomes.push(number, 10 * number);
        }
        outcomes
    }

    #[test]
    fn each_promise_is_found_once_in_whatever_order_messages_leave() {
        // 7 has no common divisor with 101, so this visits every number.
        let orders: [fn(u64) -> u64; 3] = [|n| n, |n| 100 - n, |n| n * 7 % 101];
        for order in orders {
            let mut outcomes = of((0..=100).map(|n| 2 * n));
            for n in 0..=100 {
                let number = 2 * order(n);
                assert_eq!(outcomes.take(number + 1), None);
                assert_eq!(outcomes.take(number), Some(10 * number));
                assert_eq!(outcomes.take(number), None);
            }
            assert_eq!(outcomes.entries.capacity(), 0);
            assert_eq!(outcomes.gaps, 0);
        }
    }

    #[test]
    fn a_message_that_stays_does_not_keep_the_places_of_those_that_overtook_it() {
        let mut outcomes = of([0]);
        for number in 1..10_000 {
            outcomes.push(number, 10 * number);
            assert_eq!(outcomes.take(number), Some(10 * number));
            assert!(outcomes.entries.len() <= 3);
        }
        assert_eq!(outcomes.take(0), Some(0));
        assert_eq!(outcomes.entries.len(), 0);
    }
}
