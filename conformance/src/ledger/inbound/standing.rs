//! Messages that were received and have not ended, written down a second time: one list, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::settings::{BatchPolicy, IdleFlush, Order};
use ropewalk_core::{Batch, Instant, Kind, MessageRef};

/// The list, and what decides over it.
#[derive(Debug)]
pub(super) struct Standing {
    list: Vec<Held>,
    pub(super) order: Order,
    /// So many lanes share the keys.
    pub(super) lanes: u64,
    pub(super) policy: BatchPolicy,
}

/// A message that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) seq: u64,
    /// The dead letter that it comes from.
    pub(super) letter: Option<u64>,
    pub(super) generation: u32,
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
    pub(super) at: Instant,
    pub(super) key: u64,
    pub(super) is_urgent: bool,
    /// How often it was handed out.
    pub(super) attempts: u32,
    pub(super) first_failed_at: Option<Instant>,
    pub(super) place: Place,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Out,
    /// It waits for another try, with the others of one batch of which the same was said.
    Again {
        call: u64,
        not_before: Instant,
    },
}

/// A batch that could be handed out.
#[derive(Debug)]
struct Ready {
    /// Where its first message stands in the list.
    first: usize,
    /// How many messages it has.
    len: usize,
    haste: Haste,
}

/// What stands first in a lane.
enum Front {
    Blocked,
    Fresh {
        first: usize,
        len: usize,
        bytes: usize,
        is_closed: bool,
        is_urgent: bool,
    },
}

/// What was handed out.
#[derive(Debug)]
pub(super) struct HandedOut {
    /// A message that could have been in the batch and is not.
    pub(super) left_behind: Option<u64>,
    pub(super) haste: Haste,
}

/// Why a batch goes out when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// It need not wait for anything.
    None,
    Lingered,
    Urgent,
}

impl Standing {
    pub(super) fn new(order: Order, lanes: u16, policy: BatchPolicy) -> Self {
        Self {
            list: Vec::new(),
            order,
            lanes: u64::from(lanes),
            policy,
        }
    }

    pub(super) fn push(&mut self, held: Held) {
        self.list.push(held);
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) -> u64 {
        let left = self.list.len() as u64;
        self.list.clear();
        left
    }

    /// Messages that were never received after all: those behind this number.
    pub(super) fn forget_after(&mut self, received: u64) {
        self.list
            .retain(|held| held.letter.is_some() || held.seq <= received);
    }

    /// Messages and bytes that nobody has.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.list.iter().filter(|held| held.place != Place::Out);
        waiting.fold((0, 0), |(items, bytes), held| {
            (items + 1, bytes + held.payload.len())
        })
    }

    /// Takes a message out that somebody has.
    pub(super) fn take(&mut self, seq: u64, letter: Option<u64>) -> Option<Held> {
        let at = self.position(seq, letter)?;
        (self.list[at].place == Place::Out).then(|| self.list.remove(at))
    }

    /// Puts it back where it stood.
    pub(super) fn put_back(&mut self, seq: u64, letter: Option<u64>, now: Instant, place: Place) {
        if let Some(at) = self.position(seq, letter) {
            let held = &mut self.list[at];
            held.first_failed_at.get_or_insert(now);
            held.place = place;
        }
    }

    fn position(&self, seq: u64, letter: Option<u64>) -> Option<usize> {
        self.list
            .iter()
            .position(|held| held.seq == seq && held.letter == letter)
    }

    /// A message that is to be handed out now if somebody asks.
    pub(super) fn first_due(&self, now: Instant, live: Option<u32>) -> Option<u64> {
        let ready = self.ready(now, live);
        ready.first().map(|ready| self.list[ready.first].seq)
    }

    /// Checks a batch against all rules, and notes that somebody has it.
    pub(super) fn hand_out(
        &mut self,
        now: Instant,
        live: Option<u32>,
        batch: &Batch,
    ) -> Result<HandedOut, String> {
        let places = self.find(batch)?;
        let first = &self.list[places[0]];
        let call = match first.place {
            Place::Again { call, .. } => Some(call),
            Place::Waiting | Place::Out => None,
        };
        let ready = self.ready(now, live);
        let Some(ready) = ready.iter().find(|ready| ready.first == places[0]) else {
            let place = first.place;
            return Err(format!(
                "{batch:?} with message {} ({place:?}) before its time (S6)",
                first.seq
            ));
        };
        if batch.len() > ready.len {
            return Err(format!("{batch:?} holds more than {} (S6)", ready.len));
        }
        for &place in &places {
            let held = &mut self.list[place];
            let of = match held.place {
                Place::Again { call, .. } => Some(call),
                Place::Waiting => None,
                Place::Out => return Err(format!("message {} is out twice", held.seq)),
            };
            held.attempts += 1;
            if of != call || held.attempts != batch.attempt() {
                return Err(format!(
                    "message {} is in {batch:?}, at its try {}",
                    held.seq, held.attempts
                ));
            }
            held.place = Place::Out;
        }
        let is_short = batch.len() < ready.len;
        let haste = ready.haste;
        if is_short && call.is_some() {
            return Err(format!("{batch:?} leaves something behind of its retry"));
        }
        let rest = || self.next_of_lane(places[places.len() - 1]);
        let left_behind = if is_short { rest() } else { None };
        Ok(HandedOut { left_behind, haste })
    }

    /// Where the messages of a batch stand, if none of them overtakes another.
    fn find(&self, batch: &Batch) -> Result<Vec<usize>, String> {
        let mut wanted = batch.iter().peekable();
        let mut places = Vec::new();
        let mut passed = BTreeSet::new();
        let mut passed_waiting = false;
        for (index, held) in self.list.iter().enumerate() {
            let Some(message) = wanted.peek() else {
                break;
            };
            if held.seq != message.seq() || held.letter != batch.letter() {
                passed.insert(held.key);
                passed_waiting |= held.place == Place::Waiting;
                continue;
            }
            let overtakes = match self.order {
                Order::Strict => !passed.is_empty(),
                Order::PerKey => passed.contains(&held.key),
                Order::None => held.place == Place::Waiting && passed_waiting,
            };
            if overtakes {
                return Err(format!(
                    "message {} overtakes another ({:?}, S5)",
                    held.seq, self.order
                ));
            }
            if !held.is(batch.generation(), *message) {
                return Err(format!("{message:?} is not what was received: {held:?}"));
            }
            places.push(index);
            wanted.next();
        }
        match wanted.peek() {
            Some(message) => Err(format!(
                "message {} of {batch:?} is not here, has ended, or stands behind another (S2, S5)",
                message.seq()
            )),
            None => Ok(places),
        }
    }

    fn lane(&self, held: &Held) -> u64 {
        match self.order {
            Order::Strict | Order::None => 0,
            Order::PerKey => held.key % self.lanes,
        }
    }

    fn next_of_lane(&self, after: usize) -> Option<u64> {
        let lane = self.lane(&self.list[after]);
        let mut behind = self.list[after + 1..].iter();
        let next = behind.find(|held| self.lane(held) == lane && held.place == Place::Waiting);
        next.map(|held| held.seq)
    }

    /// The batches that could be handed out now, one a lane.
    fn ready(&self, now: Instant, live: Option<u32>) -> Vec<Ready> {
        let mut fronts: BTreeMap<u64, Front> = BTreeMap::new();
        let mut retries: BTreeMap<u64, Ready> = BTreeMap::new();
        for (index, held) in self.list.iter().enumerate() {
            let lane = self.lane(held);
            match (held.place, self.order) {
                (Place::Out, Order::None) => {}
                (Place::Out, Order::Strict | Order::PerKey) => {
                    fronts.entry(lane).or_insert(Front::Blocked);
                }
                (Place::Again { call, not_before }, order) => {
                    let is_first = order == Order::None
                        || !fronts.contains_key(&lane)
                        || retries.contains_key(&call);
                    if order != Order::None {
                        fronts.entry(lane).or_insert(Front::Blocked);
                    }
                    if not_before <= now && is_first {
                        let ready = retries.entry(call).or_insert(Ready {
                            first: index,
                            len: 0,
                            haste: Haste::None,
                        });
                        ready.len += 1;
                    }
                }
                (Place::Waiting, _) => self.wait_in_lane(&mut fronts, lane, index),
            }
        }
        let mut ready: Vec<Ready> = retries.into_values().collect();
        for front in fronts.into_values() {
            ready.extend(self.if_due(&front, now, live));
        }
        ready
    }

    fn wait_in_lane(&self, fronts: &mut BTreeMap<u64, Front>, lane: u64, index: usize) {
        let held = &self.list[index];
        let front = fronts.entry(lane).or_insert(Front::Fresh {
            first: index,
            len: 0,
            bytes: 0,
            is_closed: false,
            is_urgent: false,
        });
        let Front::Fresh {
            first,
            len,
            bytes,
            is_closed,
            is_urgent,
        } = front
        else {
            return;
        };
        let head = &self.list[*first];
        let is_alone = *len == 0;
        let fits = *bytes + held.payload.len() <= self.policy.bytes_max
            && head.generation == held.generation
            && held.letter.is_none();
        if *is_closed || !(is_alone || fits) {
            *is_closed = true;
            return;
        }
        *len += 1;
        *bytes += held.payload.len();
        *is_urgent |= held.is_urgent;
        *is_closed |= *len >= self.policy.count_max
            || *bytes >= self.policy.bytes_max
            || held.letter.is_some();
    }

    fn if_due(&self, front: &Front, now: Instant, live: Option<u32>) -> Option<Ready> {
        let Front::Fresh {
            first,
            len,
            is_closed,
            is_urgent,
            ..
        } = *front
        else {
            return None;
        };
        let head = &self.list[first];
        let is_over = live != Some(head.generation);
        let haste = match self.policy.idle {
            IdleFlush::AtOnce => Haste::None,
            IdleFlush::Linger if is_closed || is_over => Haste::None,
            IdleFlush::Linger if head.at + self.policy.linger <= now => Haste::Lingered,
            IdleFlush::Linger if is_urgent => Haste::Urgent,
            IdleFlush::Linger => return None,
        };
        Some(Ready { first, len, haste })
    }
}

impl Held {
    fn is(&self, generation: u32, message: MessageRef<'_>) -> bool {
        self.generation == generation
            && self.kind == message.kind()
            && self.payload == message.as_bytes()
            && self.at == message.received_at()
    }
}
