//! The queue, written down a second time: three lists.

use std::collections::VecDeque;

use ropewalk_core::{Instant, Kind, Lane, Message};

use crate::wire::Unit;

/// A message that is not written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) message: Message,
    pub(super) key: Option<Vec<u8>>,
    pub(super) deadline: Option<Instant>,
    pub(super) before: Before,
}

/// How much of it went out over sockets that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Before {
    Nothing,
    Part,
    Whole,
}

impl Waiting {
    pub(super) fn unit(&self) -> Unit {
        let payload = self.message.as_bytes().to_vec();
        match self.message.kind() {
            Kind::Text => Unit::Text(payload),
            Kind::Binary => Unit::Binary(payload),
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// What a socket has begun or had begun; the priority lane; the normal lane.
#[derive(Debug, Default)]
pub(super) struct Queue {
    begun: VecDeque<Waiting>,
    priority: VecDeque<Waiting>,
    normal: VecDeque<Waiting>,
}

impl Queue {
    pub(super) fn push(&mut self, waiting: Waiting) {
        match waiting.message.in_lane() {
            Lane::Priority => self.priority.push_back(waiting),
            Lane::Normal => self.normal.push_back(waiting),
        }
    }

    /// Puts a message that a socket had begun in front of everything.
    pub(super) fn push_begun(&mut self, waiting: Waiting) {
        self.begun.push_front(waiting);
    }

    pub(super) fn first(&self) -> Option<&Waiting> {
        self.all().next()
    }

    pub(super) fn take_first(&mut self) -> Option<Waiting> {
        let lanes = [&mut self.begun, &mut self.priority, &mut self.normal];
        lanes.into_iter().find_map(VecDeque::pop_front)
    }

    /// A part of the first message is out: nothing overtakes it any more.
    pub(super) fn begin_first(&mut self) -> Option<u64> {
        let first = self.take_first()?;
        let number = first.number;
        self.push_begun(first);
        Some(number)
    }

    /// The message that is dropped before any other.
    pub(super) fn take_oldest(&mut self) -> Option<Waiting> {
        self.normal
            .pop_front()
            .or_else(|| self.priority.pop_front())
    }

    pub(super) fn take_with_key(&mut self, key: &[u8]) -> Option<Waiting> {
        [&mut self.priority, &mut self.normal]
            .into_iter()
            .find_map(|lane| {
                let at = lane
                    .iter()
                    .position(|waiting| waiting.key.as_deref() == Some(key))?;
                lane.remove(at)
            })
    }

    /// Takes out all messages that are such, in their order.
    pub(super) fn take_all(&mut self, is_such: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut taken = Vec::new();
        for lane in [&mut self.begun, &mut self.priority, &mut self.normal] {
            let (such, others) = std::mem::take(lane).into_iter().partition(&is_such);
            let such: VecDeque<Waiting> = such;
            taken.extend(such);
            *lane = others;
        }
        taken
    }

    pub(super) fn has_normal_before(&self, number: u64) -> bool {
        self.normal
            .front()
            .is_some_and(|front| front.number < number)
    }

    /// A message whose time is over and that is not on its way.
    pub(super) fn first_over(&self, now: Instant, on_its_way: Option<u64>) -> Option<u64> {
        self.all()
            .find(|waiting| waiting.is_over(now) && on_its_way != Some(waiting.number))
            .map(|waiting| waiting.number)
    }

    pub(super) fn len(&self) -> usize {
        self.all().count()
    }

    pub(super) fn bytes(&self) -> usize {
        self.all().map(|waiting| waiting.message.len()).sum()
    }

    /// Messages and bytes of what a socket has begun or had begun.
    pub(super) fn begun_before(&self) -> (usize, usize) {
        let bytes = self.begun.iter().map(|waiting| waiting.message.len());
        (self.begun.len(), bytes.sum())
    }

    fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.begun.iter().chain(&self.priority).chain(&self.normal)
    }
}
