//! Misbehaviour that is forgiven twice.

use std::time::Duration;

use super::Cause;
use crate::time::Instant;

/// So many strikes of one cause within [`STRIKE_WINDOW`] are final.
pub const STRIKES_MAX: usize = 3;

/// How long a strike is remembered.
pub const STRIKE_WINDOW: Duration = Duration::from_secs(10 * 60);

/// So many strikes are remembered at most; a server that finds more ways to fail within the window
/// makes the oldest forgotten.
const REMEMBERED_MAX: usize = 32;

/// The strikes against one connection's server. Eight bytes until there is one.
#[derive(Clone, Debug, Default)]
pub struct Strikes(Option<Box<Remembered>>);

const _: () = assert!(size_of::<Strikes>() <= 8);

#[derive(Clone, Debug, Default)]
struct Remembered(Vec<(Instant, Cause)>);

/// Whether a strike is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrikeVerdict {
    /// There may be another attempt.
    Tolerated,
    /// There may not.
    GiveUp,
}

impl Strikes {
    /// None so far.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Records a strike of this cause. The third within ten minutes gives up; strikes of other causes do
    /// not count towards it.
    pub fn record(&mut self, now: Instant, cause: Cause) -> StrikeVerdict {
        let strikes = &mut self.0.get_or_insert_default().0;
        strikes.retain(|(at, _)| now.saturating_since(*at) <= STRIKE_WINDOW);
        if strikes.len() == REMEMBERED_MAX {
            strikes.remove(0);
        }
        strikes.push((now, cause));
        let count = strikes.iter().filter(|(_, own)| *own == cause).count();
        if count >= STRIKES_MAX {
            StrikeVerdict::GiveUp
        } else {
            StrikeVerdict::Tolerated
        }
    }

    /// Forgets all strikes, as after the application asked for a new start.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn the_third_strike_of_one_cause_within_ten_minutes_gives_up() {
        let mut strikes = Strikes::new();
        assert_eq!(
            strikes.record(at(0), Cause::Protocol),
            StrikeVerdict::Tolerated
        );
        assert_eq!(
            strikes.record(at(300), Cause::Protocol),
            StrikeVerdict::Tolerated
        );
        assert_eq!(
            strikes.record(at(600), Cause::Protocol),
            StrikeVerdict::GiveUp
        );
    }

    #[test]
    fn a_strike_older_than_ten_minutes_no_longer_counts() {
        let mut strikes = Strikes::new();
        for seconds in (0..100_000).step_by(301) {
            assert_eq!(
                strikes.record(at(seconds), Cause::Protocol),
                StrikeVerdict::Tolerated
            );
        }
    }

    #[test]
    fn strikes_of_different_causes_do_not_add_up() {
        let mut strikes = Strikes::new();
        for cause in [
            Cause::Close(1002),
            Cause::Close(1003),
            Cause::Status(404),
            Cause::Status(426),
            Cause::Protocol,
            Cause::MalformedUpgrade,
        ] {
            for _ in 0..2 {
                assert_eq!(
                    strikes.record(at(1), cause),
                    StrikeVerdict::Tolerated,
                    "{cause}"
                );
            }
        }
        assert_eq!(
            strikes.record(at(2), Cause::Status(404)),
            StrikeVerdict::GiveUp
        );
        strikes.clear();
        assert_eq!(
            strikes.record(at(3), Cause::Status(404)),
            StrikeVerdict::Tolerated
        );
    }

    #[test]
    fn a_server_that_fails_in_ever_new_ways_cannot_fill_the_memory() {
        let mut strikes = Strikes::new();
        for code in 0..10_000 {
            strikes.record(at(0), Cause::Close(code));
        }
        let remembered = strikes.0.map_or(0, |remembered| remembered.0.len());
        assert_eq!(remembered, REMEMBERED_MAX);
    }
}
