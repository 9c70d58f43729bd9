//! The core's own clock value.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A point in time: nanoseconds since an origin that the caller chooses.
///
/// The core never reads a clock. Whoever drives it passes `now` with every input, on one monotonic
/// scale; `0` may be the moment the program started. Arithmetic saturates, so that no configuration
/// and no input can overflow a deadline: [`Instant::FAR_FUTURE`] means "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the scale.
    pub const ORIGIN: Self = Self(0);
    /// A deadline that never comes.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `since_origin` after the origin, saturating (after 584 years).
    pub fn from_origin(since_origin: Duration) -> Self {
        Self(nanos(since_origin))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last multiple of a power of two nanoseconds, the longest that is no longer than `grain`, that is not after this.
    pub(crate) fn rounded_down(self, grain: Duration) -> Self {
        let bits = nanos(grain).max(1).ilog2();
        Self(self.0 >> bits << bits)
    }

    /// The one comparison that decides whether a deadline has come: `self <= now`.
    pub const fn is_due(self, now: Self) -> bool {
        self.0 <= now.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.since_origin().as_secs_f64())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate_instead_of_overflowing() {
        assert_eq!(Instant::FAR_FUTURE + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(
            Instant::ORIGIN.saturating_since(Instant::FAR_FUTURE),
            Duration::ZERO
        );
    }

    #[test]
    fn a_deadline_is_due_at_its_own_instant() {
        let deadline = Instant::ORIGIN + Duration::from_secs(1);
        assert!(deadline.is_due(deadline));
        assert!(!deadline.is_due(Instant::from_nanos(deadline.as_nanos() - 1)));
    }
}
