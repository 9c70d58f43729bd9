//! Messages that do not all wait for one another.

use std::collections::BTreeMap;

use super::lane::{Lane, Waiting};
use crate::batch::LaneNumber;
use crate::settings::{BatchPolicy, Order, ProcessorSettings};
use crate::time::Instant;
use crate::workers::Workers;

/// What a processor needs whose calls run at once.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) workers: Workers,
    pub(super) ways: Ways,
}

/// Which messages wait for which.
#[derive(Debug)]
pub(super) enum Ways {
    /// Those of one key wait for one another.
    Keyed {
        lanes: Box<[KeyedLane]>,
        last: LaneNumber,
    },
    /// None does. What is to be tried again, by when.
    Free {
        again: BTreeMap<(Instant, u64), Waiting>,
        retries: u64,
    },
}

/// The messages of some keys.
#[derive(Debug, Default)]
pub(super) struct KeyedLane {
    pub(super) lane: Lane,
    /// Whether a batch of it is out, which nothing may overtake.
    pub(super) is_busy: bool,
}

impl KeyedLane {
    fn next_due(&self, policy: &BatchPolicy) -> Option<Instant> {
        if self.is_busy {
            return None;
        }
        self.lane.next_due(policy)
    }
}

impl Spread {
    /// `None` if all messages keep their order.
    pub(super) fn new(settings: &ProcessorSettings) -> Option<Self> {
        let ways = match settings.order {
            Order::Strict => return None,
            Order::PerKey => Ways::Keyed {
                lanes: (0..settings.workers.max)
                    .map(|_| KeyedLane::default())
                    .collect(),
                last: 0,
            },
            Order::None => Ways::Free {
                again: BTreeMap::new(),
                retries: 0,
            },
        };
        Some(Self {
            workers: Workers::new(settings.workers),
            ways,
        })
    }

    pub(super) fn keyed_mut(&mut self, number: LaneNumber) -> Option<&mut KeyedLane> {
        match &mut self.ways {
            Ways::Keyed { lanes, .. } => lanes.get_mut(usize::from(number)),
            Ways::Free { .. } => None,
        }
    }
}

/// The lane whose turn it is, and since when: that which is due first, and of several the next behind the last.
pub(super) fn next_lane(
    lanes: &[KeyedLane],
    last: LaneNumber,
    policy: &BatchPolicy,
) -> Option<(Instant, LaneNumber)> {
    let count = lanes.len();
    (1..=count)
        .map(|step| (usize::from(last) + step) % count)
        .filter_map(|index| Some((lanes[index].next_due(policy)?, index)))
        .min_by_key(|(due, _)| *due)
        .map(|(due, index)| {
            let number = LaneNumber::try_from(index).expect("a number of workers fits");
            (due, number)
        })
}
