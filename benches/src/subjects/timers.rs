//! Deadlines, and the waits between dials.

use std::time::Duration;

use ropewalk_core::classify::Hint;
use ropewalk_core::settings::BackoffSettings;
use ropewalk_core::{Backoff, Class, Ended, Instant, Seed, TimerHeap};

/// A heap with a deadline for each connection, as a fleet of idle ones has it.
pub struct Timers {
    heap: TimerHeap,
    next: u32,
    count: u32,
    now: Instant,
}

const KEEPALIVE: Duration = Duration::from_secs(20);

impl Timers {
    /// For so many connections, due one microsecond after the other.
    pub fn new(count: u32) -> Self {
        let mut heap = TimerHeap::new();
        let mut now = Instant::ORIGIN;
        for slot in 0..count {
            now += Duration::from_micros(1);
            heap.set(slot, now + KEEPALIVE);
        }
        Self {
            heap,
            next: 0,
            count,
            now,
        }
    }

    /// A message came: the deadline of a connection moves behind all others.
    pub fn postpone(&mut self) {
        self.now += Duration::from_micros(1);
        self.heap.set(self.next, self.now + KEEPALIVE);
        // Coprime to every count in use, so that all have their turn and no two neighbours do.
        self.next = (self.next + 7_919) % self.count;
    }

    /// The earliest deadline is met and set anew; returns whose it was.
    ///
    /// # Panics
    /// If there is none.
    pub fn meet(&mut self) -> u32 {
        let (at, _) = self.heap.peek().expect("each connection has one");
        let (_, slot) = self.heap.pop_due(at).expect("it is due at its time");
        self.now = at;
        self.heap.set(slot, at + KEEPALIVE);
        slot
    }
}

/// The schedule of one connection's dials.
pub struct Backoffs {
    backoff: Backoff,
    settings: BackoffSettings,
    jitter: ropewalk_core::Jitter,
}

impl Default for Backoffs {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(),
            settings: BackoffSettings::default(),
            jitter: Seed::for_tests(1).jitter(),
        }
    }
}

impl Backoffs {
    /// Counts a failed dial, and draws the wait before the next.
    pub fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay(
            &self.settings,
            &mut self.jitter,
            Ended::FailedDial,
            Class::Retry,
            Hint::None,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_is_met_in_its_turn() {
        let mut timers = Timers::new(100);
        let met: Vec<_> = (0..200).map(|_| timers.meet()).collect();
        let expected: Vec<_> = (0..100).chain(0..100).collect();
        assert_eq!(met, expected);
        timers.postpone();
        assert_eq!(timers.meet(), 1, "that of connection 0 has moved");
    }

    #[test]
    fn waits_are_drawn_anew() {
        let mut backoffs = Backoffs::default();
        let first = backoffs.next_delay();
        assert!((0..10).any(|_| backoffs.next_delay() != first));
    }
}
