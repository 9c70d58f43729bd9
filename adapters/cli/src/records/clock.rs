//! The fleet's own time as RFC 3339.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ropewalk_core::Instant;

/// Turns the fleet's instants into UTC with microseconds, such as `2026-01-31T23:59:59.000001Z`.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// When the fleet's scale began, since 1970.
    origin: Duration,
    /// The second written last and its text: most records share it with the one before.
    second: u64,
    text: [u8; SECOND_LEN],
}

const SECOND_LEN: usize = "2026-01-31T23:59:59".len();

impl Clock {
    /// A clock for a scale that began at `origin`. What lies before 1970 is written as 1970.
    pub(crate) fn new(origin: SystemTime) -> Self {
        Self {
            origin: origin.duration_since(UNIX_EPOCH).unwrap_or_default(),
            second: 0,
            text: *b"1970-01-01T00:00:00",
        }
    }

    /// Appends the time to `out`.
    pub(crate) fn write(&mut self, at: Instant, out: &mut Vec<u8>) {
        let time = self.origin.saturating_add(at.since_origin());
        if time.as_secs() != self.second {
            self.second = time.as_secs();
            self.text = second_text(self.second);
        }
        out.extend_from_slice(&self.text);
        let micros = time.subsec_micros();
        out.push(b'.');
        out.extend([100_000, 10_000, 1_000, 100, 10, 1].map(|unit| digit(micros / unit)));
        out.push(b'Z');
    }

    /// The time as text.
    pub(crate) fn text(&mut self, at: Instant) -> String {
        let mut out = Vec::with_capacity(SECOND_LEN + ".000000Z".len());
        self.write(at, &mut out);
        String::from_utf8(out).expect("digits and punctuation")
    }
}

/// A time of the wall clock, in the same form.
pub(crate) fn wall_text(time: SystemTime) -> String {
    Clock::new(time).text(Instant::ORIGIN)
}

fn digit(number: u32) -> u8 {
    b'0' + u8::try_from(number % 10).expect("a digit")
}

/// The proleptic Gregorian calendar, counted in years that begin in March so that the leap day is the last.
fn second_text(second: u64) -> [u8; SECOND_LEN] {
    let (days, of_day) = (second / 86_400, second % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let mut text = [b'0'; SECOND_LEN];
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    // A year of five digits is 8,000 years away.
    let year = year.min(9_999);
    write!(
        text.as_mut_slice(),
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )
    .expect("each field has its width");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_microseconds() {
        let table = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1_000, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000Z"),
            (1_798_761_599, 500_000_000, "2026-12-31T23:59:59.500000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, nanos, expected) in table {
            let mut clock = Clock::new(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(clock.text(Instant::from_nanos(nanos)), expected);
            assert_eq!(
                clock.text(Instant::from_nanos(nanos)),
                expected,
                "from the cache"
            );
        }
    }
}
