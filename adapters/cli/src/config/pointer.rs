//! JSON pointers (RFC 6901) that find a number without building the document.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Where a message carries its number, such as `/data/seq`.
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
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        Find(&self.tokens).deserialize(&mut deserializer).ok()?
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
struct Find<'p>(&'p [Box<str>]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<u64>, A::Error> {
        let mut found = None;
        let Some((wanted, below)) = self.0.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        while let Some(Matches(is_wanted)) = map.next_key_seed(Matching(wanted))? {
            if is_wanted {
                found = map.next_value_seed(Find(below))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<u64>, A::Error> {
        let wanted = self.0.split_first().and_then(|(token, below)| {
            let index: usize = token.parse().ok()?;
            Some((index, below))
        });
        let mut found = None;
        let mut at = 0;
        loop {
            let more = match wanted {
                Some((index, below)) if index == at => match seq.next_element_seed(Find(below))? {
                    Some(number) => {
                        found = number;
                        true
                    }
                    None => false,
                },
                Some(_) | None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(self.0.is_empty().then_some(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<u64>, E> {
        Ok(if self.0.is_empty() {
            text.parse().ok()
        } else {
            None
        })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<u64>, E> {
        Ok(None)
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
    fn what_is_not_a_pointer_is_refused() {
        assert_eq!(Pointer::parse("seq"), Err(PointerError::NoSlash));
        assert_eq!(Pointer::parse("/a~2"), Err(PointerError::Escape));
        assert_eq!(Pointer::parse("/a~"), Err(PointerError::Escape));
    }
}
