//! Repeatable noise: every draw of the server is a function of the seed and of what it is drawn for.

use std::time::Duration;

/// A number that `parts` alone decide, with all its bits well mixed (SplitMix64's finalizer, chained).
pub(super) fn mix<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Maps noise to `[0, 1)`.
pub(super) fn fraction(noise: u64) -> f64 {
    // 53 bits are what a double holds exactly.
    (noise >> 11) as f64 / (1_u64 << 53) as f64
}

/// Maps noise to a duration of at least `low` and less than `high`.
pub(super) fn between(noise: u64, low: Duration, high: Duration) -> Duration {
    low + high.saturating_sub(low).mul_f64(fraction(noise))
}

/// Maps noise to an exponentially distributed duration.
///
/// It has no memory, so faults come at an even rate from the first second, however long the mean is.
pub(super) fn exponential(noise: u64, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - fraction(noise)).ln())
}
