//! The fleet's clock.

use std::time::{Duration, Instant as StdInstant, SystemTime};

use ropewalk_core::Instant;

/// One origin for all times of a fleet, and what wall-clock time it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: StdInstant,
    wall_origin: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: StdInstant::now(),
            wall_origin: SystemTime::now(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }

    /// When a timer is to wake. A deadline beyond what the system can express is as good as far away.
    pub(crate) fn wake_time(&self, deadline: Instant) -> StdInstant {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let after_origin = deadline
            .since_origin()
            .min(self.origin.elapsed().saturating_add(FAR));
        self.origin + after_origin
    }

    /// `at` on the wall clock, as it stood when the fleet began: later corrections of it are not seen.
    pub(crate) fn wall_time(&self, at: Instant) -> SystemTime {
        self.wall_origin
            .checked_add(at.since_origin())
            .unwrap_or(self.wall_origin)
    }
}
