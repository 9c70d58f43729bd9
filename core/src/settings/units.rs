//! Durations and sizes as people write them: `500ms`, `1m30s`, `64KiB`.

use std::time::Duration;

/// A duration or size that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// There is nothing to read.
    #[error("it is empty")]
    Empty,
    /// A number stands where its unit is missing.
    #[error("`{0}` has no unit (one of {1})")]
    NoUnit(Box<str>, &'static str),
    /// A unit that does not exist.
    #[error("`{0}` is not a unit (one of {1})")]
    UnknownUnit(Box<str>, &'static str),
    /// There is no whole number before a unit; fractions and signs are not read.
    #[error("`{0}` does not start with a whole number")]
    NoNumber(Box<str>),
    /// The parts of a duration do not go from the largest unit to the smallest, each once.
    #[error("`{0}` must come before smaller units, and once")]
    Order(Box<str>),
    /// The value does not fit.
    #[error("`{0}` is too large")]
    TooLarge(Box<str>),
}

const DURATION_UNITS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
const DURATION_NAMES: &str = "ns, us, ms, s, m, h, d";

const SIZE_UNITS: &[(&str, usize)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const SIZE_NAMES: &str = "B, KiB, MiB, GiB";

/// Reads a duration: whole numbers with a unit each, largest unit first and without spaces, such as
/// `500ms`, `20s` or `1m30s`. Units are `ns`, `us`, `ms`, `s`, `m`, `h` and `d`.
///
/// # Errors
/// [`UnitError`] names the part that cannot be read.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut larger_units = DURATION_UNITS;
    while !rest.is_empty() {
        let (number, unit, after) = split_part(rest)?;
        if unit.is_empty() {
            return Err(UnitError::NoUnit(number.into(), DURATION_NAMES));
        }
        let part = &rest[..number.len() + unit.len()];
        let Some(&(_, nanos)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError::UnknownUnit(unit.into(), DURATION_NAMES));
        };
        let Some(at) = larger_units.iter().position(|(name, _)| *name == unit) else {
            return Err(UnitError::Order(part.into()));
        };
        larger_units = &larger_units[at + 1..];
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|count| duration_of(u128::from(count) * nanos))
            .and_then(|duration| total.checked_add(duration))
            .ok_or_else(|| UnitError::TooLarge(text.into()))?;
        rest = after;
    }
    Ok(total)
}

/// Reads a size in bytes: a whole number, with `B`, `KiB`, `MiB` or `GiB` after it or with nothing
/// (bytes).
///
/// # Errors
/// [`UnitError`] names the part that cannot be read. Decimal units (`kB`, `MB`) are refused rather than
/// guessed at.
pub fn parse_bytes(text: &str) -> Result<usize, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let (number, unit, after) = split_part(text)?;
    if !after.is_empty() {
        let unit = &text[number.len()..];
        return Err(UnitError::UnknownUnit(unit.into(), SIZE_NAMES));
    }
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some(&(_, factor)) => factor,
        None if unit.is_empty() => 1,
        None => return Err(UnitError::UnknownUnit(unit.into(), SIZE_NAMES)),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| UnitError::TooLarge(text.into()))
}

/// Writes a duration with the largest unit that keeps it a whole number: `90s`, `2m`, `500ms`, and `0s`.
/// [`parse_duration`] reads back exactly the same duration.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    // A count that `parse_duration` could not hold in 64 bits is split into seconds and the rest.
    let fits = |unit: u128| nanos.is_multiple_of(unit) && u64::try_from(nanos / unit).is_ok();
    match DURATION_UNITS.iter().find(|(_, unit)| fits(*unit)) {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{}s{}ns", duration.as_secs(), duration.subsec_nanos()),
    }
}

/// Writes a size with the largest unit that keeps it a whole number: `64KiB`, `16MiB`, `1000B`.
/// [`parse_bytes`] reads back exactly the same size.
pub fn format_bytes(bytes: usize) -> String {
    let exact = SIZE_UNITS
        .iter()
        .find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
    match exact {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Digits, then everything up to the next digit, then the rest.
fn split_part(text: &str) -> Result<(&str, &str, &str), UnitError> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    if digits == 0 {
        return Err(UnitError::NoNumber(text.into()));
    }
    let (number, rest) = text.split_at(digits);
    let unit = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit);
    Ok((number, unit, after))
}

fn duration_of(nanos: u128) -> Option<Duration> {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanos / SECOND).ok()?;
    let rest = u32::try_from(nanos % SECOND).expect("a remainder is below its divisor");
    Some(Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_units() {
        let table = [
            ("0s", Duration::ZERO),
            ("1ns", Duration::from_nanos(1)),
            ("250us", Duration::from_micros(250)),
            ("500ms", Duration::from_millis(500)),
            ("10s", Duration::from_secs(10)),
            ("5m", Duration::from_secs(300)),
            ("1h", Duration::from_secs(3_600)),
            ("2d", Duration::from_secs(172_800)),
            ("1m30s", Duration::from_secs(90)),
            ("1h1ms", Duration::from_millis(3_600_001)),
            ("18446744073709551615s", Duration::from_secs(u64::MAX)),
        ];
        for (text, duration) in table {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn a_duration_that_cannot_be_read_says_why() {
        let table = [
            ("", "it is empty"),
            ("500", "`500` has no unit (one of ns, us, ms, s, m, h, d)"),
            ("1m30", "`30` has no unit (one of ns, us, ms, s, m, h, d)"),
            ("5 s", "` s` is not a unit (one of ns, us, ms, s, m, h, d)"),
            (
                "5sec",
                "`sec` is not a unit (one of ns, us, ms, s, m, h, d)",
            ),
            ("1.5s", "`.` is not a unit (one of ns, us, ms, s, m, h, d)"),
            ("-1s", "`-1s` does not start with a whole number"),
            ("s", "`s` does not start with a whole number"),
            ("30s1m", "`1m` must come before smaller units, and once"),
            ("1s1s", "`1s` must come before smaller units, and once"),
            (
                "18446744073709551616s",
                "`18446744073709551616s` is too large",
            ),
            (
                "18446744073709551615d",
                "`18446744073709551615d` is too large",
            ),
        ];
        for (text, message) in table {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_or_without_a_unit() {
        let table = [
            ("0", 0),
            ("4096", 4_096),
            ("7B", 7),
            ("64KiB", 65_536),
            ("16MiB", 16_777_216),
            ("1GiB", 1_073_741_824),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_size_that_cannot_be_read_says_why() {
        let table = [
            ("", "it is empty"),
            ("64KB", "`KB` is not a unit (one of B, KiB, MiB, GiB)"),
            ("64 KiB", "` KiB` is not a unit (one of B, KiB, MiB, GiB)"),
            (
                "1MiB1KiB",
                "`MiB1KiB` is not a unit (one of B, KiB, MiB, GiB)",
            ),
            ("1.5MiB", "`.5MiB` is not a unit (one of B, KiB, MiB, GiB)"),
            ("-1", "`-1` does not start with a whole number"),
            ("KiB", "`KiB` does not start with a whole number"),
            (
                "99999999999999999999GiB",
                "`99999999999999999999GiB` is too large",
            ),
            (
                "18446744073709551615KiB",
                "`18446744073709551615KiB` is too large",
            ),
        ];
        for (text, message) in table {
            let error = parse_bytes(text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn values_are_written_with_the_largest_exact_unit() {
        for text in ["0s", "1ns", "1500ms", "90s", "2m", "25h", "3650d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["0B", "1000B", "64KiB", "16MiB", "3GiB"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(secs: u64, nanos in 0..1_000_000_000_u32, bytes: usize) {
            let duration = Duration::new(secs, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,24}|[0-9a-zA-Z]{0,30}") {
            let _ = parse_duration(&text);
            let _ = parse_bytes(&text);
        }
    }
}
