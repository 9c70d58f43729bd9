//! JSON pointers (RFC 6901) that find a number or a text without building the document.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Where a message carries its number, or what it is known by, such as `/data/seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    tokens: Box<[Box<str>]>,
}

/// A text that is not a JSON pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PointerError {
    /// RFC 6901 §3: a pointer is empty or starts with a slash.
    #[error("a JSON pointer starts with `/`, such as \"/seq\"")]
    NoSlash,
    /// RFC 6901 §3: `~` is followed by `0` or `1`.
    #[error("`~` in a JSON pointer is written `~0`, and `/` is written `~1`")]
    Escape,
}

impl Pointer {
    /// Reads a pointer.
    pub(crate) fn parse(text: &str) -> Result<Self, PointerError> {
        let tokens = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(unescape).collect::<Result<_, _>>()?,
            None if text.is_empty() => Box::default(),
            None => return Err(PointerError::NoSlash),
        };
        Ok(Self { tokens })
    }

    /// The unsigned number at this place: a JSON number, or a string of digits as some feeds send large
    /// numbers. `None` if there is no such number or the bytes are not JSON.
    pub(crate) fn number_in(&self, json: &[u8]) -> Option<u64> {
        self.find(json)
    }

    /// What this place holds, if that is a text or a number, as bytes: `"7"` and `7` are the same. `None` if it holds
    /// something else or the bytes are not JSON.
    pub(crate) fn key_in(&self, json: &[u8]) -> Option<Bytes> {
        self.find(json)
    }

    fn find<T: Scalar>(&self, json: &[u8]) -> Option<T> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let find = Find(&self.tokens, PhantomData);
        find.deserialize(&mut deserializer).ok()?
    }
}

/// What is made of the value that was looked for.
trait Scalar: Sized {
    fn unsigned(number: u64) -> Option<Self>;
    fn signed(number: i64) -> Option<Self>;
    fn float(number: f64) -> Option<Self>;
    fn text(text: &str) -> Option<Self>;
}

impl Scalar for u64 {
    fn unsigned(number: u64) -> Option<Self> {
        Some(number)
    }

    fn signed(_: i64) -> Option<Self> {
        None
    }

    fn float(_: f64) -> Option<Self> {
        None
    }

    fn text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Scalar for Bytes {
    fn unsigned(number: u64) -> Option<Self> {
        Some(number.to_string().into())
    }

    fn signed(number: i64) -> Option<Self> {
        Some(number.to_string().into())
    }

    fn float(number: f64) -> Option<Self> {
        Some(number.to_string().into())
    }

    fn text(text: &str) -> Option<Self> {
        Some(Self::copy_from_slice(text.as_bytes()))
    }
}

fn unescape(token: &str) -> Result<Box<str>, PointerError> {
    let mut plain = String::with_capacity(token.len());
    let mut rest = token.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '~' => match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some(_) | None => return Err(PointerError::Escape),
            },
            other => other,
        });
    }
    Ok(plain.into())
}

/// Walks down one path and skips everything beside it.
struct Find<'p, T>(&'p [Box<str>], PhantomData<T>);

impl<'de, T: Scalar> DeserializeSeed<'de> for Find<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Scalar> Visitor<'de> for Find<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        let mut found = None;
        let Some((wanted, below)) = self.0.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        while let Some(Matches(is_wanted)) = map.next_key_seed(Matching(wanted))? {
            if is_wanted {
                found = map.next_value_seed(Find(below, PhantomData))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<T>, A::Error> {
        let wanted = self.0.split_first().and_then(|(token, below)| {
            let index: usize = token.parse().ok()?;
            Some((index, below))
        });
        let mut found = None;
        let mut at = 0;
        loop {
            let more = match wanted {
                Some((index, below)) if index == at => {
                    match seq.next_element_seed(Find(below, PhantomData))? {
                        Some(number) => {
                            found = number;
                            true
                        }
                        None => false,
                    }
                }
                Some(_) | None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<T>, E> {
        Ok(self.here(|| T::unsigned(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<T>, E> {
        Ok(self.here(|| T::signed(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<T>, E> {
        Ok(self.here(|| T::float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<T>, E> {
        Ok(self.here(|| T::text(text)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

impl<T> Find<'_, T> {
    /// The value, if the path ends here.
    fn here(&self, value: impl FnOnce() -> Option<T>) -> Option<T> {
        self.0.is_empty().then(value).flatten()
    }
}

/// Compares a key without owning it.
struct Matching<'p>(&'p str);

struct Matches(bool);

impl<'de> DeserializeSeed<'de> for Matching<'_> {
    type Value = Matches;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Matches, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Matching<'_> {
    type Value = Matches;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Matches, E> {
        Ok(Matches(key == self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pointer: &str, json: &str) -> Option<u64> {
        Pointer::parse(pointer).unwrap().number_in(json.as_bytes())
    }

    #[test]
    fn a_number_is_found_at_its_place_and_nowhere_else() {
        let table = [
            ("/seq", r#"{"seq":17,"kind":"tick"}"#, Some(17)),
            ("/seq", r#"{"other":{"seq":1},"seq":2}"#, Some(2)),
            ("/data/seq", r#"{"data":{"x":[1,2],"seq":3}}"#, Some(3)),
            ("/data/1/n", r#"{"data":[{"n":1},{"n":2}]}"#, Some(2)),
            ("/a~1b/c~0d", r#"{"a/b":{"c~d":5}}"#, Some(5)),
            ("/caf\u{e9}", r#"{"caf\u00e9":6}"#, Some(6)),
            ("/", r#"{"":7}"#, Some(7)),
            ("", "8", Some(8)),
            ("/seq", r#"{"seq":"18446744073709551615"}"#, Some(u64::MAX)),
            ("/seq", r#"{"seq":-1}"#, None),
            ("/seq", r#"{"seq":1.5}"#, None),
            ("/seq", r#"{"seq":null}"#, None),
            ("/seq", r#"{"seq":{"seq":1}}"#, None),
            ("/seq", r#"{"sequence":1}"#, None),
            ("/seq/deeper", r#"{"seq":1}"#, None),
            ("/seq", "[1,2]", None),
            ("/seq", r#"{"seq":1"#, None),
            ("/seq", "not json", None),
        ];
        for (pointer, json, expected) in table {
            assert_eq!(find(pointer, json), expected, "{pointer} in {json}");
        }
    }

    #[test]
    fn a_key_is_a_text_or_a_number() {
        let table = [
            ("/id", r#"{"id":"caf\u00e9"}"#, Some("caf\u{e9}")),
            ("/id", r#"{"id":7}"#, Some("7")),
            ("/id", r#"{"id":"7"}"#, Some("7")),
            ("/id", r#"{"id":-1}"#, Some("-1")),
            ("/id", r#"{"id":1.5}"#, Some("1.5")),
            ("/id", r#"{"id":null}"#, None),
            ("/id", r#"{"id":true}"#, None),
            ("/id", r#"{"id":["7"]}"#, None),
            ("/id", "not json", None),
        ];
        for (pointer, json, expected) in table {
            let found = Pointer::parse(pointer).unwrap().key_in(json.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{json}");
        }
    }

    #[test]
    fn what_is_not_a_pointer_is_refused() {
        assert_eq!(Pointer::parse("seq"), Err(PointerError::NoSlash));
        assert_eq!(Pointer::parse("/a~2"), Err(PointerError::Escape));
        assert_eq!(Pointer::parse("/a~"), Err(PointerError::Escape));
    }
}
