//! Which keys there are.

use std::collections::BTreeMap;

use ropewalk_core::{AdmissionLimits, Settings};
use serde::Serialize;
use toml::{Table, Value};

use super::document::Document;
use super::error::ConfigError;
use super::processor::ProcessorKeys;

/// What may stand under a key.
#[derive(Debug)]
enum Known {
    /// These keys.
    Table(Keys),
    /// Whatever: values are checked when they are read, and the keys of such a table are the user's own.
    Anything,
}

type Keys = BTreeMap<String, Known>;

/// Keys of later versions: what the command does not do yet.
const LATER_KEYS: &[&str] = &["pool", "proxy"];

/// The keys of a connection that are not the library's settings and that connections may share.
const COMMON_KEYS: &[&str] = &["ready", "headers", "subprotocols", "subprotocol_required"];

/// The keys of a connection that it cannot share.
const OWN_KEYS: &[&str] = &["name", "url"];

/// Refuses the first key of the document that does not exist.
pub(crate) fn check(document: &Document) -> Result<(), ConfigError> {
    let common = common_keys();
    let mut connection = common_keys();
    connection.extend(
        OWN_KEYS
            .iter()
            .map(|key| ((*key).to_owned(), Known::Anything)),
    );
    let letters = Keys::from(["store", "keep"].map(|key| (key.to_owned(), Known::Anything)));
    let top = Keys::from([
        ("runtime".to_owned(), Known::Anything),
        ("admission".to_owned(), shape(&AdmissionLimits::default())),
        ("letters".to_owned(), Known::Table(letters)),
        ("defaults".to_owned(), Known::Table(common)),
        ("connection".to_owned(), Known::Table(connection)),
    ]);
    Walk {
        document,
        top: &top,
    }
    .table(&Path::default(), document.table(), &top)
}

fn common_keys() -> Keys {
    let mut keys = match shape(&Settings::default()) {
        Known::Table(keys) => keys,
        Known::Anything => Keys::new(),
    };
    keys.insert("processor".to_owned(), shape(&ProcessorKeys::default()));
    if let Some(Known::Table(processor)) = keys.get_mut("processor") {
        processor.insert("command".to_owned(), Known::Anything);
    }
    keys.extend(
        COMMON_KEYS
            .iter()
            .map(|key| ((*key).to_owned(), Known::Anything)),
    );
    let resume = ["sequence", "start"].map(|key| (key.to_owned(), Known::Anything));
    keys.insert("resume".to_owned(), Known::Table(Keys::from(resume)));
    let tls = ["roots", "client_certificate"].map(|key| (key.to_owned(), Known::Anything));
    keys.insert("tls".to_owned(), Known::Table(Keys::from(tls)));
    if let Some(Known::Table(decode)) = keys.get_mut("decode") {
        decode.insert("format".to_owned(), Known::Anything);
    }
    if let Some(Known::Table(outbound)) = keys.get_mut("outbound") {
        outbound.insert("coalesce".to_owned(), Known::Anything);
        let acknowledge = ["request", "reply"].map(|key| (key.to_owned(), Known::Anything));
        let acknowledge = Known::Table(Keys::from(acknowledge));
        outbound.insert("acknowledge".to_owned(), acknowledge);
    }
    keys
}

/// The keys of something that can be configured: those that its default has when it is written out.
fn shape(default: &impl Serialize) -> Known {
    fn of(value: Value) -> Known {
        match value {
            Value::Table(table) if !table.is_empty() => Known::Table(
                table
                    .into_iter()
                    .map(|(key, value)| (key, of(value)))
                    .collect(),
            ),
            Value::Table(_)
            | Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => Known::Anything,
        }
    }
    Value::try_from(default).map_or(Known::Anything, of)
}

/// A key with the tables around it.
#[derive(Clone, Default)]
struct Path {
    /// As the document notes it, with the numbers of connections.
    exact: String,
    /// As a person would write it.
    shown: String,
}

impl Path {
    fn below(&self, key: &str) -> Self {
        let join = |above: &str| match above {
            "" => key.to_owned(),
            above => format!("{above}.{key}"),
        };
        Self {
            exact: join(&self.exact),
            shown: join(&self.shown),
        }
    }

    fn item(&self, index: usize) -> Self {
        Self {
            exact: format!("{}[{index}]", self.exact),
            shown: self.shown.clone(),
        }
    }
}

struct Walk<'a> {
    document: &'a Document,
    top: &'a Keys,
}

impl Walk<'_> {
    fn table(&self, path: &Path, table: &Table, known: &Keys) -> Result<(), ConfigError> {
        for (key, value) in table {
            let below = path.below(key);
            match known.get(key) {
                Some(Known::Table(keys)) => self.value(&below, value, keys)?,
                Some(Known::Anything) => {}
                None => return Err(self.unknown(&below, key)),
            }
        }
        Ok(())
    }

    fn value(&self, path: &Path, value: &Value, known: &Keys) -> Result<(), ConfigError> {
        match value {
            Value::Table(table) => self.table(path, table, known),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.value(&path.item(index), item, known)),
            // A value where a table belongs is told of when it is read.
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => Ok(()),
        }
    }

    fn unknown(&self, path: &Path, key: &str) -> ConfigError {
        let place = self.document.place(&path.exact);
        let key_shown = path.shown.clone();
        if LATER_KEYS.contains(&key) {
            return ConfigError::NotInThisVersion {
                place,
                key: key_shown,
            };
        }
        let mut nearest = Nearest::new(&path.shown);
        nearest.among("", self.top);
        ConfigError::UnknownKey {
            place,
            key: key_shown,
            nearest: nearest.key,
        }
    }
}

/// The known key that looks most like a wrong one.
struct Nearest<'a> {
    wrong: &'a str,
    likeness: f64,
    key: String,
}

impl<'a> Nearest<'a> {
    fn new(wrong: &'a str) -> Self {
        Self {
            wrong,
            likeness: f64::NEG_INFINITY,
            key: String::new(),
        }
    }

    fn among(&mut self, above: &str, keys: &Keys) {
        for (key, known) in keys {
            let path = match above {
                "" => key.clone(),
                above => format!("{above}.{key}"),
            };
            let likeness = self.likeness_of(&path);
            if likeness > self.likeness {
                self.likeness = likeness;
                self.key.clone_from(&path);
            }
            if let Known::Table(keys) = known {
                self.among(&path, keys);
            }
        }
    }

    /// Keys of the same table, and those of the same last word, are likelier to be meant than strangers.
    fn likeness_of(&self, path: &str) -> f64 {
        let (wrong_above, wrong_key) = split(self.wrong);
        let (above, key) = split(path);
        // The top level and `connection` have different keys: a key of one is often put into the other.
        let same_half = root(self.wrong) == root(path);
        strsim::normalized_damerau_levenshtein(wrong_key, key)
            + 0.5 * strsim::normalized_damerau_levenshtein(self.wrong, path)
            + if wrong_key == key { 0.5 } else { 0.0 }
            + if wrong_above == above { 0.25 } else { 0.0 }
            + if same_half { 0.1 } else { 0.0 }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn root(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}
