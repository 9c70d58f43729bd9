//! How many calls of a processor run, and that none is missing.

use std::time::Duration;

use ropewalk_core::settings::Order;
use ropewalk_core::{Consumer, Instant};

use super::{Begun, Incoming};

/// After so long without a call the number of workers begins at its least again.
const IDLE: Duration = Duration::from_secs(5);

/// Which calls of processors may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Each connection's own, whatever others have.
    Own,
    /// So many over all connections.
    Shared {
        running: u32,
        max: u32,
        /// Connections that wait for one.
        waiting: usize,
    },
}

impl Places {
    fn has_room(self) -> bool {
        match self {
            Self::Own => true,
            Self::Shared { running, max, .. } => running < max,
        }
    }
}

impl Incoming {
    /// What holds as long as the connection lives: nothing is held without need, and as many calls run as may.
    pub(in super::super) fn compare_calls(
        &mut self,
        now: Instant,
        workers: u16,
        places: Places,
    ) -> Result<(), String> {
        let bounds = self.config.settings().processor.workers;
        if self.asks > 0 && !places.has_room() && !self.standing.is_empty() {
            self.marks.insert("no call to be had");
        }
        let begun = std::mem::replace(&mut self.begun_now, Begun::None);
        let may_be = match (self.consumer, self.standing.order) {
            (Consumer::Pull, _) => 0..=0,
            (Consumer::Process, Order::Strict) => 1..=1,
            // Once its messages were dropped it has no processor any more.
            (Consumer::Process, _) if self.wanted_until.is_some() => 1..=bounds.max,
            (Consumer::Process, Order::PerKey | Order::None) => bounds.min..=bounds.max,
        };
        if !may_be.contains(&workers) {
            return Err(format!("{workers} workers, of {may_be:?}"));
        }
        if self.running > workers.max(1) && begun != Begun::None {
            return Err(format!("{} calls, and {workers} workers", self.running));
        }
        let is_least = workers == *may_be.start() || self.wanted_until.is_some();
        if (begun == Begun::Anew || self.is_rested(now)) && !is_least {
            return Err(format!("{workers} workers after a rest"));
        }
        self.mark_workers(workers, *may_be.start());
        let can_begin = match self.consumer {
            Consumer::Pull => true,
            Consumer::Process => (self.running < workers || self.running == 0) && places.has_room(),
        };
        if self.asks > 0
            && can_begin
            && let Some(seq) = self.standing.first_due(now, self.live)
        {
            return Err(format!("message {seq} is held although somebody waits"));
        }
        Ok(())
    }

    /// How many calls were begun and have not ended.
    pub(in super::super) fn running(&self) -> u32 {
        self.running.into()
    }

    fn mark_workers(&mut self, workers: u16, min: u16) {
        let before = std::mem::replace(&mut self.workers, workers);
        if workers > before {
            self.marks.insert("more workers");
        } else if workers < before {
            self.marks.insert("fewer workers");
            if workers == min && self.running == 0 {
                self.marks.insert("least workers after a rest");
            }
        }
        let bounds = self.config.settings().inbound;
        let (items, bytes) = self.standing.waiting();
        if items >= bounds.items_max || bytes >= bounds.bytes_max {
            self.marks.insert("inbound full");
        }
    }

    pub(super) fn is_rested(&self, now: Instant) -> bool {
        self.idle_since.is_some_and(|since| since + IDLE <= now)
    }
}
