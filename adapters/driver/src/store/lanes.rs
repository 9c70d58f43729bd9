//! Which letters go back to which connection, and when.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::LetterId;
use crate::link::Link;

/// How many letters of one connection may be on their way at once.
const WINDOW: usize = 16;

/// How many letters a second go back unless somebody says otherwise.
const RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(100 - 1);

/// The letters to be retried, one lane a connection. Each lane keeps its order.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<Arc<str>, Lane>,
    interval: Duration,
    next_at: Option<Instant>,
    /// The lane that had the last turn.
    last: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Lane {
    link: Weak<Link>,
    queue: VecDeque<LetterId>,
    /// With whom they are.
    in_flight: BTreeMap<LetterId, Weak<Link>>,
}

impl Lane {
    fn is_ready(&self) -> bool {
        !self.queue.is_empty() && self.in_flight.len() < WINDOW && self.link.strong_count() > 0
    }
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            interval: interval(RATE),
            next_at: None,
            last: None,
        }
    }

    /// From now on so many letters a second.
    pub(super) fn set_rate(&mut self, rate: NonZeroU32) {
        self.interval = interval(rate);
    }

    /// A connection is there; letters of its name go to it.
    pub(super) fn open(&mut self, link: &Arc<Link>) {
        let lane = self.lanes.entry(Arc::clone(&link.name)).or_default();
        lane.link = Arc::downgrade(link);
    }

    /// A connection is gone, and what it had not finished is nobody's again.
    pub(super) fn end(&mut self, link: &Arc<Link>) {
        let Some(lane) = self.lanes.get_mut(&link.name) else {
            return;
        };
        let is_it = |known: &Weak<Link>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(link));
        lane.in_flight.retain(|_, with| !is_it(with));
        if is_it(&lane.link) {
            if lane.in_flight.is_empty() {
                self.lanes.remove(&link.name);
            } else {
                lane.link = Weak::new();
            }
        }
    }

    /// The connections that letters can go to.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.lanes.keys().cloned().collect()
    }

    /// All letters of a connection that are to be retried, in order, those on their way included.
    pub(super) fn fill(&mut self, name: &str, retrying: &[LetterId]) {
        if let Some(lane) = self.lanes.get_mut(name) {
            let is_here = |id: &&LetterId| !lane.in_flight.contains_key(*id);
            lane.queue = retrying.iter().filter(is_here).copied().collect();
        }
    }

    /// When a letter may go, if there is one.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let is_ready = self.lanes.values().any(Lane::is_ready);
        is_ready.then(|| self.next_at.unwrap_or(now))
    }

    /// Takes the next letter, if its time has come: it is on its way to the connection from here on.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Arc<Link>, LetterId)> {
        if self.due(now)? > now {
            return None;
        }
        let ready = |lane: &(&Arc<str>, &Lane)| lane.1.is_ready();
        let is_later = |name: &Arc<str>| self.last.as_ref().is_none_or(|last| name > last);
        let mut in_turn = self.lanes.iter().filter(ready);
        let first = in_turn.clone().next()?.0;
        let name = Arc::clone(
            in_turn
                .find(|(name, _)| is_later(name))
                .map_or(first, |l| l.0),
        );
        let lane = self.lanes.get_mut(&name)?;
        let link = lane.link.upgrade()?;
        let id = lane.queue.pop_front()?;
        lane.in_flight.insert(id, Arc::downgrade(&link));
        self.last = Some(name);
        self.next_at = Some(now + self.interval);
        Some((link, id))
    }

    /// A letter's fate is known and noted.
    pub(super) fn done(&mut self, name: &str, id: LetterId) {
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.in_flight.remove(&id);
        }
    }
}

fn interval(rate: NonZeroU32) -> Duration {
    Duration::from_secs(1) / rate.get()
}
