//! The calls of processors that all connections together may have under way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::Ticket;

/// One freed call in so many goes to whoever has waited longest, so that nobody waits for ever beside those
/// that always have more.
const LONGEST_EVERY: u64 = 8;

/// Shares a number of processor calls among connections by what they have waiting: busy connections get more.
///
/// It stands beside all the shards, usually behind a mutex, and is asked once a batch, or less often by shards that keep calls. After every
/// change, call [`poll_grant`](Self::poll_grant) and [`poll_recall`](Self::poll_recall) until they return `None`. Every operation is O(log n) in the number of connections that wait.
#[derive(Clone, Debug)]
pub struct Calls {
    max: u32,
    running_in_all: u32,
    running: BTreeMap<u32, u32>,
    waiting: BTreeMap<Ticket, Wish>,
    by_need: BTreeSet<(Reverse<u32>, u64, Ticket)>,
    by_age: BTreeSet<(u64, Ticket)>,
    /// Shards that may keep calls.
    keeping: BTreeSet<u32>,
    wishes: u64,
    granted: u64,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    messages: u32,
    number: u64,
}

/// The answer to a connection that asks for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It may begin.
    Granted,
    /// [`Calls::poll_grant`] will name the connection when it may.
    Wait,
}

impl Calls {
    /// Nobody calls.
    pub fn new(max: NonZeroU32) -> Self {
        Self {
            max: max.get(),
            running_in_all: 0,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            by_need: BTreeSet::new(),
            by_age: BTreeSet::new(),
            keeping: BTreeSet::new(),
            wishes: 0,
            granted: 0,
        }
    }

    /// Asks for a call because `messages` wait. Who waits already and asks again says how many it has now, and keeps
    /// its place among those that have as many.
    pub fn ask(&mut self, ticket: Ticket, messages: u32) -> Answer {
        let before = self.forget(ticket);
        if before.is_none() && self.waiting.is_empty() && self.is_free() {
            self.grant(ticket);
            return Answer::Granted;
        }
        let number = before.map_or_else(
            || {
                self.wishes += 1;
                self.wishes
            },
            |wish| wish.number,
        );
        self.waiting.insert(ticket, Wish { messages, number });
        self.by_need.insert((Reverse(messages), number, ticket));
        self.by_age.insert((number, ticket));
        Answer::Wait
    }

    /// The shard would keep calls that have ended for its next ones ([`ConnectionSet::keep_calls`](crate::ConnectionSet::keep_calls)); they
    /// count as being under way. Whether it may: nobody waits.
    pub fn keep(&mut self, shard: u32) -> Answer {
        if !self.waiting.is_empty() {
            return Answer::Wait;
        }
        self.keeping.insert(shard);
        Answer::Granted
    }

    /// The next shard that has to give back what it keeps, and may keep nothing more: somebody waits.
    pub fn poll_recall(&mut self) -> Option<u32> {
        if self.waiting.is_empty() {
            return None;
        }
        self.keeping.pop_first()
    }

    /// One of the shard's calls has ended.
    pub fn end(&mut self, shard: u32) {
        let running = self.running.get_mut(&shard);
        debug_assert!(running.is_some(), "shard {shard} ends a call too many");
        let Some(running) = running else {
            return;
        };
        // The shard's next call needs no new place.
        *running -= 1;
        self.running_in_all -= 1;
    }

    /// The connection waits no more. A grant that crosses with this is ended like any call.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.forget(ticket);
    }

    /// The shard is gone, with its calls and wishes.
    pub fn shard_ended(&mut self, shard: u32) {
        self.running_in_all -= self.running.remove(&shard).unwrap_or(0);
        self.keeping.remove(&shard);
        let gone: Vec<_> = self
            .waiting
            .keys()
            .filter(|it| it.shard == shard)
            .copied()
            .collect();
        for ticket in gone {
            self.forget(ticket);
        }
    }

    /// The next waiting connection whose call may begin.
    pub fn poll_grant(&mut self) -> Option<Ticket> {
        if !self.is_free() {
            return None;
        }
        let ticket = if self.granted % LONGEST_EVERY == LONGEST_EVERY - 1 {
            self.by_age.first().map(|(_, ticket)| *ticket)
        } else {
            self.by_need.first().map(|(_, _, ticket)| *ticket)
        }?;
        self.forget(ticket);
        self.granted += 1;
        self.grant(ticket);
        Some(ticket)
    }

    /// How many calls are under way.
    pub fn running(&self) -> u32 {
        self.running_in_all
    }

    /// How many connections wait for a call.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn is_free(&self) -> bool {
        self.running_in_all < self.max
    }

    fn grant(&mut self, ticket: Ticket) {
        self.running_in_all += 1;
        *self.running.entry(ticket.shard).or_insert(0) += 1;
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Wish> {
        let wish = self.waiting.remove(&ticket)?;
        self.by_need
            .remove(&(Reverse(wish.messages), wish.number, ticket));
        self.by_age.remove(&(wish.number, ticket));
        Some(wish)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ConnectionId;

    fn ticket(shard: u32, index: u32) -> Ticket {
        let generation = 0;
        let connection = ConnectionId { index, generation };
        Ticket { shard, connection }
    }

    fn calls(max: u32) -> Calls {
        Calls::new(NonZeroU32::new(max).unwrap())
    }

    #[test]
    fn a_freed_call_goes_to_whoever_has_most_waiting() {
        let mut calls = calls(1);
        assert_eq!(calls.ask(ticket(0, 0), 1), Answer::Granted);
        for (index, messages) in [(1, 5), (2, 50), (3, 50), (4, 7)] {
            assert_eq!(calls.ask(ticket(1, index), messages), Answer::Wait);
        }
        assert_eq!(calls.poll_grant(), None);
        assert_eq!(calls.ask(ticket(1, 1), 20), Answer::Wait);
        let mut order = Vec::new();
        let mut shard = 0;
        for _ in 0..4 {
            calls.end(shard);
            let granted = calls.poll_grant().unwrap();
            assert_eq!(calls.poll_grant(), None);
            shard = granted.shard;
            order.push(granted.connection.index());
        }
        assert_eq!(order, [2, 3, 1, 4]);
    }

    #[test]
    fn nobody_overtakes_those_who_wait() {
        let mut calls = calls(1);
        calls.ask(ticket(0, 0), 1);
        calls.ask(ticket(0, 1), 1);
        calls.end(0);
        assert_eq!(calls.ask(ticket(0, 2), 1), Answer::Wait);
        assert_eq!(calls.poll_grant(), Some(ticket(0, 1)));
    }

    #[test]
    fn who_has_little_gets_its_turn_beside_those_who_always_have_more() {
        let mut calls = calls(1);
        calls.ask(ticket(0, 0), 1_000);
        calls.ask(ticket(0, 1), 1);
        for turn in 0..LONGEST_EVERY {
            calls.ask(ticket(0, 2), 1_000);
            calls.end(0);
            if calls.poll_grant() == Some(ticket(0, 1)) {
                return;
            }
            assert!(turn + 1 < LONGEST_EVERY, "it waits for ever");
        }
    }

    #[test]
    fn who_keeps_calls_is_told_once_when_somebody_waits() {
        let mut calls = calls(2);
        assert_eq!(calls.ask(ticket(0, 0), 1), Answer::Granted);
        assert_eq!(
            (calls.keep(0), calls.keep(1)),
            (Answer::Granted, Answer::Granted)
        );
        assert_eq!(calls.ask(ticket(1, 0), 1), Answer::Granted);
        assert_eq!(calls.poll_recall(), None);
        assert_eq!(calls.ask(ticket(1, 1), 1), Answer::Wait);
        assert_eq!(
            [(); 3].map(|()| calls.poll_recall()),
            [Some(0), Some(1), None]
        );
        assert_eq!(calls.keep(0), Answer::Wait);
        calls.end(0);
        assert_eq!(calls.poll_grant(), Some(ticket(1, 1)));
        assert_eq!(calls.keep(0), Answer::Granted);
    }

    proptest! {
        #[test]
        fn calls_never_exceed_their_number_and_none_is_lost(
            max in 1_u32..5,
            operations in prop::collection::vec((0_u8..8, 0_u32..3, 0_u32..4, 0_u32..100), 0..300),
        ) {
            let mut calls = calls(max);
            let mut held = [0_u32; 3];
            for (operation, shard, index, messages) in operations {
                let ticket = ticket(shard, index);
                match operation {
                    0..=3 => {
                        if calls.ask(ticket, messages) == Answer::Granted {
                            held[shard as usize] += 1;
                        }
                    }
                    4 | 5 if held[shard as usize] > 0 => {
                        held[shard as usize] -= 1;
                        calls.end(shard);
                    }
                    4..=6 => calls.withdraw(ticket),
                    _ => {
                        held[shard as usize] = 0;
                        calls.shard_ended(shard);
                    }
                }
                while let Some(ticket) = calls.poll_grant() {
                    held[ticket.shard as usize] += 1;
                }
                prop_assert_eq!(calls.running(), held.iter().sum::<u32>());
                prop_assert!(calls.running() <= max);
                prop_assert!(calls.waiting() == 0 || calls.running() == max);
                prop_assert_eq!(calls.by_need.len(), calls.waiting.len());
                prop_assert_eq!(calls.by_age.len(), calls.waiting.len());
            }
            for shard in 0..3 {
                calls.shard_ended(shard);
            }
            prop_assert!(calls.running.is_empty() && calls.running() == 0);
        }
    }
}
