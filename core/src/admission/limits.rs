//! What can be configured of admission.

use std::num::{NonZeroU32, NonZeroU64};

/// What all connections of a process together may do at once.
///
/// No value is impossible: zero, which could be read as "unlimited" or as "never", cannot be expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdmissionLimits {
    /// Dials in progress at once, from the resolver's question to the end of the opening handshake.
    /// Default: 64. Each costs a descriptor and a handshake's work; fewer make a start slower.
    pub connecting_max: NonZeroU32,
    /// Dials in progress at once to one IP address and port, and to one host name and port. Default: 1,
    /// as RFC 6455 §4.1 demands; more is faster against servers that are known not to mind.
    pub connecting_per_address_max: NonZeroU32,
    /// Redials of one host that need not wait. Default: 10.
    pub redial_burst: NonZeroU32,
    /// Redials a second of one host that are always allowed. Default: 5. More lets few connections come
    /// back sooner after an outage.
    pub redial_rate_min: NonZeroU32,
    /// With `n` connections to a host, `n` ÷ this many redials a second are allowed if that is more than
    /// `redial_rate_min`: the time in seconds in which all of them can come back. Default: 30.
    pub redial_divisor: NonZeroU32,
    /// Bytes that all connections together may hold, in bytes. Default: 256 MiB. When they are used up,
    /// sockets are not read until something was consumed, but for one at a time whose message is under way; it has ten
    /// seconds to finish it, or [`Timeouts::message`](crate::settings::Timeouts::message).
    #[cfg_attr(feature = "serde", serde(with = "size"))]
    pub bytes_max: NonZeroU64,
}

impl AdmissionLimits {
    /// Limits for very many connections to one server, which is to come back slowly: a burst of 5, then
    /// one redial a second or a hundredth of the connections.
    pub const fn spread() -> Self {
        Self {
            redial_burst: at_least_one(5),
            redial_rate_min: at_least_one(1),
            redial_divisor: at_least_one(100),
            ..Self::interactive()
        }
    }

    const fn interactive() -> Self {
        Self {
            connecting_max: at_least_one(64),
            connecting_per_address_max: at_least_one(1),
            redial_burst: at_least_one(10),
            redial_rate_min: at_least_one(5),
            redial_divisor: at_least_one(30),
            bytes_max: NonZeroU64::MIN.saturating_add((256 << 20) - 1),
        }
    }
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self::interactive()
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number - 1)
}

/// A size as text, such as `"256MiB"`, or as a number of bytes.
#[cfg(feature = "serde")]
mod size {
    use std::fmt;
    use std::num::NonZeroU64;

    use serde::de::{self, Deserializer, Unexpected, Visitor};
    use serde::ser::Serializer;

    use crate::settings::{format_bytes, parse_bytes};

    pub(super) fn serialize<S: Serializer>(
        bytes: &NonZeroU64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match usize::try_from(bytes.get()) {
            Ok(bytes) => serializer.serialize_str(&format_bytes(bytes)),
            Err(_) => serializer.serialize_u64(bytes.get()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NonZeroU64, D::Error> {
        deserializer.deserialize_any(Size)
    }

    struct Size;

    impl Visitor<'_> for Size {
        type Value = NonZeroU64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size of at least one byte, such as \"256MiB\" or 1048576")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<NonZeroU64, E> {
            let bytes = parse_bytes(text).map_err(E::custom)?;
            let bytes = u64::try_from(bytes).map_err(E::custom)?;
            NonZeroU64::new(bytes).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<NonZeroU64, E> {
            NonZeroU64::new(bytes)
                .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(bytes), &self))
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<NonZeroU64, E> {
            u64::try_from(bytes)
                .ok()
                .and_then(NonZeroU64::new)
                .ok_or_else(|| E::invalid_value(Unexpected::Signed(bytes), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let limits = AdmissionLimits::default();
        assert_eq!(limits.connecting_max.get(), 64);
        assert_eq!(limits.connecting_per_address_max.get(), 1);
        assert_eq!(limits.redial_burst.get(), 10);
        assert_eq!(limits.redial_rate_min.get(), 5);
        assert_eq!(limits.redial_divisor.get(), 30);
        assert_eq!(limits.bytes_max.get(), 256 * 1024 * 1024);
        let spread = AdmissionLimits::spread();
        assert_eq!(spread.redial_burst.get(), 5);
        assert_eq!(spread.redial_rate_min.get(), 1);
        assert_eq!(spread.redial_divisor.get(), 100);
        assert_eq!(spread.connecting_max, limits.connecting_max);
    }

    #[cfg(feature = "serde")]
    mod serialised {
        use super::*;

        #[test]
        fn keys_that_are_not_given_have_their_defaults() {
            let limits: AdmissionLimits =
                toml::from_str("connecting_max = 8\nbytes_max = \"1MiB\"").unwrap();
            let expected = AdmissionLimits {
                connecting_max: at_least_one(8),
                bytes_max: NonZeroU64::new(1 << 20).unwrap(),
                ..AdmissionLimits::default()
            };
            assert_eq!(limits, expected);
        }

        #[test]
        fn limits_read_back_as_they_were_written() {
            for limits in [AdmissionLimits::default(), AdmissionLimits::spread()] {
                let text = toml::to_string(&limits).unwrap();
                assert_eq!(
                    toml::from_str::<AdmissionLimits>(&text).unwrap(),
                    limits,
                    "{text}"
                );
            }
        }

        #[test]
        fn zero_negative_and_unknown_values_are_refused() {
            for key in [
                "connecting_max",
                "connecting_per_address_max",
                "redial_burst",
                "redial_rate_min",
                "redial_divisor",
                "bytes_max",
            ] {
                for value in ["0", "-1", "\"0\"", "\"many\"", "\"1MB\"", "1.5"] {
                    let line = format!("{key} = {value}");
                    let error = toml::from_str::<AdmissionLimits>(&line).expect_err(&line);
                    assert!(error.to_string().contains(key), "{error}");
                }
            }
            toml::from_str::<AdmissionLimits>("redial_bursts = 3").expect_err("the key is wrong");
        }
    }
}
