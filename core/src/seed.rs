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
    #[inline]
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
        low + fraction(high.saturating_sub(low), self.next_u64())
    }
}

/// The part of `span` that 64 random bits draw: from nothing to all of it.
pub(crate) fn fraction(span: Duration, draw: u64) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    // The high half of a 128-bit product maps 64 random bits onto [0, nanos] without bias that matters.
    let drawn = (u128::from(draw) * (u128::from(nanos) + 1)) >> 64;
    Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos))
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

    const MILLION: usize = 1_000_000;

    /// Half of so many fair throws, within five deviations.
    fn is_even(ones: u32, throws: u32) -> bool {
        let deviation = f64::from(throws).sqrt() / 2.0;
        f64::from(ones.abs_diff(throws / 2)) < 5.0 * deviation
    }

    #[test]
    fn a_million_masks_repeat_no_pattern_and_have_no_bias() {
        let mut secrets = Seed::for_tests(1).secrets();
        let masks: Vec<_> = (0..MILLION).map(|_| secrets.mask()).collect();
        let mut ones = [0_u32; 32];
        let mut bytes = [0_u32; 256];
        for mask in &masks {
            let word = u32::from_be_bytes(*mask);
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += word >> bit & 1;
            }
            for byte in mask {
                bytes[usize::from(*byte)] += 1;
            }
        }
        assert!(ones.iter().all(|n| is_even(*n, 1_000_000)), "{ones:?}");
        // χ² of 255 degrees of freedom: 255 with a deviation of 22.6, of which five are allowed.
        let each = 4.0 * 1_000_000.0 / 256.0;
        let chi_squared: f64 = bytes
            .iter()
            .map(|n| (f64::from(*n) - each).powi(2) / each)
            .sum();
        assert!((142.0..368.0).contains(&chi_squared), "{chi_squared}");
        // Of 2^32 masks a million have some 116 in common, and no two in a row anywhere else.
        let distinct = |mut keys: Vec<u64>| {
            keys.sort_unstable();
            keys.dedup();
            keys.len()
        };
        let single = masks.iter().map(|mask| u32::from_be_bytes(*mask).into());
        let repeated = MILLION - distinct(single.collect());
        assert!((60..180).contains(&repeated), "{repeated}");
        let pair = |two: &[[u8; 4]]| {
            u64::from(u32::from_be_bytes(two[0])) << 32 | u64::from(u32::from_be_bytes(two[1]))
        };
        assert_eq!(distinct(masks.windows(2).map(pair).collect()), MILLION - 1);
        // The longest run of zero bits in 32 million: 25 more or less.
        let mut run = 0;
        let mut longest = 0;
        for byte in masks.iter().flatten() {
            for bit in (0..8).rev() {
                run = if byte >> bit & 1 == 0 { run + 1 } else { 0 };
                longest = longest.max(run);
            }
        }
        assert!((18..40).contains(&longest), "{longest}");
    }

    #[test]
    fn a_million_handshake_nonces_are_all_different() {
        let mut secrets = Seed::for_tests(2).secrets();
        let mut nonces: Vec<_> = (0..MILLION).map(|_| secrets.handshake_nonce()).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), MILLION);
    }

    #[test]
    fn what_is_seen_of_the_jitter_says_nothing_about_the_masks() {
        const DRAWS: u32 = 100_000;
        let (mut secrets, jitter) = Seed::for_tests(3).split();
        // A connection's jitter is drawn from the root, as a set does it.
        let mut root = jitter;
        let mut of_connection = Jitter::from_state(root.next_u64());
        let mut shared = [[0_u32; 4]; 32];
        for _ in 0..DRAWS {
            let mask = u32::from_be_bytes(secrets.mask());
            let words = [root.next_u64(), of_connection.next_u64()];
            let halves = words.map(|word| [word >> 32, word & 0xffff_ffff]);
            for (bit, shared) in shared.iter_mut().enumerate() {
                for (shared, half) in shared.iter_mut().zip(halves.as_flattened()) {
                    *shared += u32::from(u64::from(mask >> bit & 1) == half >> bit & 1);
                }
            }
        }
        assert!(
            shared.as_flattened().iter().all(|n| is_even(*n, DRAWS)),
            "{shared:?}"
        );
        // And drawing jitter moves no mask.
        let (mut alone, _) = Seed::for_tests(3).split();
        for _ in 0..DRAWS {
            alone.mask();
        }
        assert_eq!(alone.mask(), secrets.mask());
    }
}
