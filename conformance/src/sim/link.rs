//! The network between one socket and its server.

use std::time::Duration;

use ropewalk_core::{Instant, Jitter};

use crate::script::Script;

/// How a network behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// The shortest and the longest time a piece of data is under way.
    pub latency: (Duration, Duration),
    /// Data arrives in pieces of at most this many bytes.
    pub piece_bytes_max: usize,
    /// A write takes at most this many bytes.
    pub write_bytes_max: usize,
    /// How much the network holds that the server has not read.
    pub window_bytes: usize,
    /// Bytes a second in each direction, if they are limited.
    pub bytes_per_second: Option<u32>,
}

impl LinkProfile {
    /// Whole pieces after a tenth of a millisecond, as over loopback.
    pub const LOOPBACK: Self = Self {
        latency: (Duration::from_micros(50), Duration::from_micros(100)),
        piece_bytes_max: 64 << 10,
        write_bytes_max: usize::MAX,
        window_bytes: 256 << 10,
        bytes_per_second: None,
    };

    /// Everything in pieces of one byte.
    pub const DRIBBLE: Self = Self {
        piece_bytes_max: 1,
        write_bytes_max: 1,
        ..Self::LOOPBACK
    };

    /// A profile drawn by chance.
    pub fn draw(rng: &mut Jitter) -> Self {
        let low = Duration::from_micros(rng.next_u64() % 2_000);
        Self {
            latency: (low, low + Duration::from_micros(rng.next_u64() % 20_000)),
            piece_bytes_max: pick(rng, &[2, 17, 200, 1_500, 64 << 10]),
            write_bytes_max: pick(rng, &[5, 100, 1_000, usize::MAX]),
            window_bytes: pick(rng, &[20, 200, 4_096, 64 << 10]),
            bytes_per_second: pick(rng, &[None, None, Some(20_000), Some(1_000_000)]),
        }
    }
}

/// One of them, each as likely as the other.
pub(crate) fn pick<T: Copy>(rng: &mut Jitter, choices: &[T]) -> T {
    let count = choices.len() as u64;
    let index = usize::try_from(rng.next_u64() % count).expect("smaller than a slice's length");
    choices[index]
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}

/// Who of the two still has the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    Dropped,
}

/// One socket, its server and what is under way between them.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) profile: LinkProfile,
    /// The server's side, once the dial was accepted.
    pub(super) script: Option<Script>,
    /// Whether the client still has the socket.
    pub(super) client: Held,
    /// Whether the server's acts wait for a sleep to end.
    pub(super) server_sleeps: bool,
    pub(super) server_reads: bool,
    /// Arrived at a server that does not read.
    pub(super) unread_by_server: Vec<u8>,
    /// Accepted of the client and not read by the server.
    pub(super) window_used: usize,
    /// The client wanted to write more than the window held.
    pub(super) write_blocked: bool,
    /// Arrived at the client's system and not taken.
    pub(super) inbox: Vec<u8>,
    /// How many bytes at its front were read and not taken.
    pub(super) leftover: usize,
    pub(super) inbox_end: Option<End>,
    /// What goes to the server, and to the client, never overtakes.
    up_clear_at: Instant,
    down_clear_at: Instant,
}

impl Link {
    pub(super) fn new(profile: LinkProfile, now: Instant) -> Self {
        Self {
            profile,
            script: None,
            client: Held::Yes,
            server_sleeps: false,
            server_reads: true,
            unread_by_server: Vec::new(),
            window_used: 0,
            write_blocked: false,
            inbox: Vec::new(),
            leftover: 0,
            inbox_end: None,
            up_clear_at: now,
            down_clear_at: now,
        }
    }

    /// How many bytes the network takes of a write now.
    pub(super) fn write_room(&self) -> usize {
        self.profile.window_bytes.saturating_sub(self.window_used)
    }

    /// When `bytes` that set out now reach the server.
    pub(super) fn up_arrival(&mut self, now: Instant, rng: &mut Jitter, bytes: usize) -> Instant {
        self.up_clear_at = arrival(&self.profile, now, self.up_clear_at, rng, bytes);
        self.up_clear_at
    }

    /// When `bytes` that set out now reach the client.
    pub(super) fn down_arrival(&mut self, now: Instant, rng: &mut Jitter, bytes: usize) -> Instant {
        self.down_clear_at = arrival(&self.profile, now, self.down_clear_at, rng, bytes);
        self.down_clear_at
    }
}

fn arrival(
    profile: &LinkProfile,
    now: Instant,
    clear_at: Instant,
    rng: &mut Jitter,
    bytes: usize,
) -> Instant {
    let (low, high) = profile.latency;
    let travelled = now + rng.between(low, high);
    let carried = profile.bytes_per_second.map_or(Duration::ZERO, |rate| {
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / u64::from(rate))
    });
    travelled.max(clear_at) + carried
}
