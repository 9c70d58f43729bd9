//! A token bucket without rounding.

use std::time::Duration;

use super::AdmissionLimits;
use crate::time::Instant;

/// The redials that one host is still allowed.
///
/// Its level is counted in parts of a token so small that every rate fills it by a whole number of them
/// each nanosecond: the rate is max(`redial_rate_min`, connections ÷ `redial_divisor`) tokens a second,
/// so a token has 10⁹ × `redial_divisor` parts. Nothing is ever rounded, so in any window `w` at most
/// burst + rate × `w` tokens are taken.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    level: u128,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(limits: &AdmissionLimits, now: Instant) -> Self {
        Self {
            level: capacity(limits),
            filled_at: now,
        }
    }

    /// Adds what has accrued since the last call, while the host had so many connections. `now` never
    /// runs backwards.
    pub(super) fn fill(&mut self, limits: &AdmissionLimits, now: Instant, connections: u32) {
        let elapsed = now.saturating_since(self.filled_at).as_nanos();
        let accrued = elapsed.saturating_mul(gain(limits, connections));
        self.level = self.level.saturating_add(accrued).min(capacity(limits));
        self.filled_at = now;
    }

    pub(super) fn has_token(&self, limits: &AdmissionLimits) -> bool {
        self.level >= token(limits)
    }

    pub(super) fn take(&mut self, limits: &AdmissionLimits) {
        self.level = self
            .level
            .checked_sub(token(limits))
            .expect("a token is taken only after one was seen");
    }

    /// When the bucket will hold a token.
    pub(super) fn token_at(&self, limits: &AdmissionLimits, connections: u32) -> Instant {
        self.level_at(limits, connections, token(limits))
    }

    /// When the bucket will be as if it had never been used.
    pub(super) fn full_at(&self, limits: &AdmissionLimits, connections: u32) -> Instant {
        self.level_at(limits, connections, capacity(limits))
    }

    fn level_at(&self, limits: &AdmissionLimits, connections: u32, level: u128) -> Instant {
        let missing = level.saturating_sub(self.level);
        let nanos = missing.div_ceil(gain(limits, connections));
        self.filled_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    #[cfg(test)]
    pub(super) fn is_within(&self, limits: &AdmissionLimits) -> bool {
        self.level <= capacity(limits)
    }
}

/// Parts in a token.
fn token(limits: &AdmissionLimits) -> u128 {
    1_000_000_000 * u128::from(limits.redial_divisor.get())
}

/// Parts in a full bucket.
fn capacity(limits: &AdmissionLimits) -> u128 {
    token(limits) * u128::from(limits.redial_burst.get())
}

/// Parts a nanosecond.
fn gain(limits: &AdmissionLimits, connections: u32) -> u128 {
    let least = u128::from(limits.redial_rate_min.get()) * u128::from(limits.redial_divisor.get());
    least.max(u128::from(connections))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rate_grows_with_the_connections_beyond_the_least() {
        let limits = AdmissionLimits::default();
        for (connections, tokens) in [(0, 5), (150, 5), (160, 5), (300, 10), (10_000, 333)] {
            let mut bucket = Bucket::full(&limits, Instant::ORIGIN);
            let mut taken = 0;
            for nanos in (0..=1_000_000_000).step_by(1_000_000) {
                bucket.fill(&limits, Instant::from_nanos(nanos), connections);
                while bucket.has_token(&limits) {
                    bucket.take(&limits);
                    taken += 1;
                }
            }
            assert_eq!(taken, 10 + tokens, "{connections} connections");
        }
    }

    #[test]
    fn a_token_is_there_exactly_when_it_was_foretold() {
        let limits = AdmissionLimits::default();
        let mut bucket = Bucket::full(&limits, Instant::ORIGIN);
        for _ in 0..10 {
            bucket.take(&limits);
        }
        // 5⅔ tokens a second: 176,470,588.2… ns each.
        let at = bucket.token_at(&limits, 170);
        assert_eq!(at, Instant::from_nanos(176_470_589));
        bucket.fill(&limits, Instant::from_nanos(at.as_nanos() - 1), 170);
        assert!(!bucket.has_token(&limits));
        bucket.fill(&limits, at, 170);
        assert!(bucket.has_token(&limits));
    }

    proptest! {
        #[test]
        fn no_limits_and_no_times_overflow(
            numbers in prop::array::uniform4(prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX]),
            times in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let [burst, rate, divisor, connections] = numbers;
            let limits = AdmissionLimits {
                redial_burst: NonZeroU32::new(burst).unwrap(),
                redial_rate_min: NonZeroU32::new(rate).unwrap(),
                redial_divisor: NonZeroU32::new(divisor).unwrap(),
                ..AdmissionLimits::default()
            };
            let mut bucket = Bucket::full(&limits, Instant::ORIGIN);
            for time in times {
                bucket.fill(&limits, Instant::from_nanos(time), connections);
                prop_assert!(bucket.is_within(&limits));
                if bucket.has_token(&limits) {
                    bucket.take(&limits);
                }
                prop_assert!(bucket.token_at(&limits, connections) <= bucket.full_at(&limits, connections));
            }
        }
    }
}
