//! Randomness: one seed a set, two unrelated kinds of stream.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// All the randomness of one connection set.
///
/// An adapter draws it from the operating system. Passing fixed bytes makes a run repeatable, which is
/// what tests and simulations want and what a program on a network must not do: frame masks and
/// handshake keys come from it, and an attacker who can predict masks can choose the bytes that a
/// proxy sees (RFC 6455 §10.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed of these bytes. They must be unpredictable wherever the connections leave the machine.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A repeatable seed for tests, simulations and benchmarks.
    pub const fn for_tests(number: u64) -> Self {
        let mut bytes = [0x52; 32];
        let low = number.to_le_bytes();
        let mut i = 0;
        while i < low.len() {
            bytes[i] = low[i];
            i += 1;
        }
        Self(bytes)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The generator of masks and handshake keys: one a set, cryptographically strong.
///
/// Apart from the jitter, so that what a server learns from the times of redials says nothing about
/// masks.
pub struct Secrets(ChaCha12Rng);

impl Secrets {
    /// A fresh masking key, one a frame (RFC 6455 §5.3).
    pub fn mask(&mut self) -> [u8; 4] {
        self.0.next_u32().to_le_bytes()
    }

    /// A fresh nonce for `Sec-WebSocket-Key`, one an attempt (RFC 6455 §4.1).
    pub fn handshake_nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.0.fill_bytes(&mut nonce);
        nonce
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// A connection's own source of jitter: eight bytes of state (SplitMix64).
///
/// Statistically good and quick, not secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jitter(u64);

impl Jitter {
    /// A source that starts from `state`. Each connection of a set gets its own.
    pub const fn from_state(state: u64) -> Self {
        Self(state)
    }

    /// Sixty-four evenly distributed bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration drawn evenly from `[low, high]`; `low` if the range is empty or inverted.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let low_nanos = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX);
        let high_nanos = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
        let span = high_nanos.saturating_sub(low_nanos);
        // The high half of a 128-bit product maps 64 random bits onto [0, span] without bias that matters.
        let offset = (u128::from(self.next_u64()) * (u128::from(span) + 1)) >> 64;
        Duration::from_nanos(low_nanos + u64::try_from(offset).unwrap_or(span))
    }
}

impl Seed {
    /// Splits the seed into the set's generator of secrets and the root of its jitter.
    pub(crate) fn split(self) -> (Secrets, Jitter) {
        let mut root = ChaCha12Rng::from_seed(self.0);
        let mut secret = [0; 32];
        root.fill_bytes(&mut secret);
        let jitter = Jitter(root.next_u64());
        (Secrets(ChaCha12Rng::from_seed(secret)), jitter)
    }

    /// The jitter alone, for what has no secrets to draw (admission, a single connection's tests).
    pub fn jitter(&self) -> Jitter {
        self.clone().split().1
    }

    /// The secrets alone, for a codec that is driven without a set.
    pub fn secrets(&self) -> Secrets {
        self.clone().split().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_stays_in_its_range_and_reaches_both_ends() {
        let mut jitter = Jitter::from_state(1);
        let (low, high) = (Duration::from_nanos(3), Duration::from_nanos(6));
        let draws: Vec<_> = (0..1_000).map(|_| jitter.between(low, high)).collect();
        assert!(draws.iter().all(|d| (low..=high).contains(d)));
        assert!(draws.contains(&low) && draws.contains(&high));
        assert_eq!(jitter.between(high, low), high);
        assert!(jitter.between(Duration::ZERO, Duration::MAX) <= Duration::MAX);
    }

    #[test]
    fn one_seed_gives_one_stream_and_another_seed_another() {
        let draw = |n| Seed::for_tests(n).secrets().handshake_nonce();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
