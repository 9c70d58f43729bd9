//! How much a shard does before it lets others run.

use std::time::Duration;

use ropewalk_core::Instant;

/// The longest that a shard works in one poll.
const TIME: Duration = Duration::from_micros(200);
/// The most bytes that a shard reads and writes in one poll, but for the read or write that passes it: a consumer has its turn
/// after each large read.
const BYTES: usize = 128 << 10;
/// The most bytes that one socket writes in its turn.
pub(crate) const WRITE_QUANTUM: usize = 256 << 10;

/// What is left of one poll's allowance. In bytes and time, never in counts: what a message or a socket
/// costs differs by a factor of a thousand.
#[derive(Debug)]
pub(crate) struct Budget {
    began: Instant,
    bytes: usize,
}

/// Whether there is some left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Some,
    Nothing,
}

impl Budget {
    pub(crate) fn renewed(now: Instant) -> Self {
        Self {
            began: now,
            bytes: BYTES,
        }
    }

    pub(crate) fn charge(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Others are to have their turn.
    pub(crate) fn exhaust(&mut self) {
        self.bytes = 0;
    }

    pub(crate) fn has_bytes(&self) -> bool {
        self.bytes > 0
    }

    pub(crate) fn left(&self, now: Instant) -> Left {
        self.left_of(now, TIME)
    }

    /// What is left for the first of two kinds of work, so that it cannot starve the second.
    pub(crate) fn left_of_half(&self, now: Instant) -> Left {
        self.left_of(now, TIME / 2)
    }

    fn left_of(&self, now: Instant, time: Duration) -> Left {
        if self.bytes == 0 || now.saturating_since(self.began) >= time {
            Left::Nothing
        } else {
            Left::Some
        }
    }
}
