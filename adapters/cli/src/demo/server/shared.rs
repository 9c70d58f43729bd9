//! What all threads of the server share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fault::Faults;
use super::feed::Feed;
use super::gate::Gate;
use super::noise::{exponential, mix};

/// No session is cut shorter, so that each does something.
const LIFE_MIN: Duration = Duration::from_millis(50);

pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) feeds: Vec<Feed>,
    pub(super) faults: Faults,
    pub(super) gate: Gate,
    /// How long a session lives before a fault, on average.
    pub(super) life_mean: Duration,
    sessions: AtomicU64,
    sockets: AtomicU64,
}

impl Shared {
    pub(super) fn new(seed: u64, feeds: Vec<Feed>, faults: Faults, life_mean: Duration) -> Self {
        Self {
            seed,
            feeds,
            faults,
            gate: Gate::new(),
            life_mean,
            sessions: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
        }
    }

    /// The time until a session's next fault.
    pub(super) fn draw_life(&self, feed: usize) -> Duration {
        let draw = self.sessions.fetch_add(1, Ordering::Relaxed);
        let noise = mix([self.seed, feed as u64, draw]);
        exponential(noise, self.life_mean).max(LIFE_MIN)
    }

    pub(super) fn count_socket(&self) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sockets_accepted(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }
}
