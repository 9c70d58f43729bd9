//! How settings look in a serialised configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::units::{format_bytes, format_duration, parse_bytes, parse_duration};

/// The word that stands for an optional setting that is not wanted.
const OFF: &str = "off";

/// A duration as text.
#[derive(Clone, Copy)]
pub(super) struct DurationText(pub(super) Duration);

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"500ms\" or \"20s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                parse_duration(text)
                    .map(DurationText)
                    .map_err(|problem| E::custom(format_args!("not a duration: {problem}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A size as text, or as a plain number of bytes.
struct BytesText(usize);

impl<'de> Deserialize<'de> for BytesText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = BytesText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, such as 4096 or \"64KiB\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<BytesText, E> {
                parse_bytes(text)
                    .map(BytesText)
                    .map_err(|problem| E::custom(format_args!("not a size: {problem}")))
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<BytesText, E> {
                usize::try_from(bytes)
                    .map(BytesText)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(bytes), &self))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<BytesText, E> {
                usize::try_from(bytes)
                    .map(BytesText)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A setting that `"off"` turns off.
pub(super) struct OrOff<T>(pub(super) Option<T>);

impl<T: Serialize> Serialize for OrOff<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(OFF),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OrOff<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or \"off\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OrOff<T>, E> {
                if text == OFF {
                    return Ok(OrOff(None));
                }
                let deserializer: StrDeserializer<'_, E> = text.into_deserializer();
                T::deserialize(deserializer).map(Some).map(OrOff)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OrOff<T>, E> {
                T::deserialize(number.into_deserializer())
                    .map(Some)
                    .map(OrOff)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OrOff<T>, E> {
                T::deserialize(number.into_deserializer())
                    .map(Some)
                    .map(OrOff)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrOff<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
                    .map(Some)
                    .map(OrOff)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// `#[serde(with = …)]` for a duration.
pub(super) mod duration {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        DurationText(*duration).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        DurationText::deserialize(deserializer).map(|text| text.0)
    }
}

/// `#[serde(with = …)]` for a duration that may be off.
pub(super) mod duration_or_off {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        OrOff(duration.map(DurationText)).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        OrOff::<DurationText>::deserialize(deserializer).map(|text| text.0.map(|text| text.0))
    }
}

/// `#[serde(with = …)]` for anything else that may be off.
pub(super) mod or_off {
    use super::*;

    pub(in super::super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        OrOff(value.as_ref()).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        OrOff::<T>::deserialize(deserializer).map(|value| value.0)
    }
}

/// `#[serde(serialize_with = …)]` for a list of durations.
pub(super) fn serialize_durations<S: Serializer>(
    durations: &[Duration],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(durations.iter().copied().map(DurationText))
}

/// `#[serde(with = …)]` for a size.
pub(super) mod bytes {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &usize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_bytes(*bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<usize, D::Error> {
        BytesText::deserialize(deserializer).map(|text| text.0)
    }
}

/// `#[serde(with = …)]` for a table whose keys are numbers, which TOML and JSON write as text.
pub(super) mod by_number {
    use super::*;

    pub(in super::super) fn serialize<T: Serialize, S: Serializer>(
        table: &BTreeMap<u16, T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            table
                .iter()
                .map(|(number, value)| (number.to_string(), value)),
        )
    }

    pub(in super::super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u16, T>, D::Error> {
        let table = BTreeMap::<Number, T>::deserialize(deserializer)?;
        Ok(table
            .into_iter()
            .map(|(number, value)| (number.0, value))
            .collect())
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Number(u16);

    impl<'de> Deserialize<'de> for Number {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = Number;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a number from 0 to 65535, such as 1008 or 503")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                    // One spelling a number, so that no entry can silently replace another.
                    text.parse()
                        .ok()
                        .filter(|number: &u16| number.to_string() == text)
                        .map(Number)
                        .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
            deserializer.deserialize_str(Text)
        }
    }
}
