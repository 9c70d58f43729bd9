//! Values of a document, and errors that name their place.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::document::Document;
use super::error::ConfigError;

/// Reads the top level of a document.
pub(super) struct Reader<'a> {
    document: &'a Document,
}

/// A table that a connection's keys come from, with the defaults merged into it.
pub(super) struct Section<'a> {
    document: &'a Document,
    /// Where the table itself stands: `defaults`, or `connection[0]`.
    path: String,
    table: Table,
}

/// Where the keys stand that connections share.
const DEFAULTS: &str = "defaults";

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self { document }
    }

    /// The value of a key of the top level.
    pub(super) fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.document.table().get(key) else {
            return Ok(None);
        };
        read(value.clone()).map(Some).map_err(|(below, problem)| {
            let path = join(key, &below);
            self.refuse(&path, &path, problem)
        })
    }

    /// `[defaults]`, empty if there is none.
    pub(super) fn defaults(&self) -> Result<Section<'a>, ConfigError> {
        let table = match self.document.table().get(DEFAULTS) {
            Some(Value::Table(table)) => table.clone(),
            Some(_) => return Err(self.refuse(DEFAULTS, DEFAULTS, "must be a table".into())),
            None => Table::new(),
        };
        Ok(Section {
            document: self.document,
            path: DEFAULTS.to_owned(),
            table,
        })
    }

    /// Every `[[connection]]` with the defaults under it.
    pub(super) fn connections(&self) -> Result<Vec<Section<'a>>, ConfigError> {
        let key = "connection";
        let problem = "must be a list of tables: write `[[connection]]`";
        let tables = match self.document.table().get(key) {
            Some(Value::Array(tables)) => tables.as_slice(),
            Some(_) => return Err(self.refuse(key, key, problem.into())),
            None => &[],
        };
        let defaults = self.defaults()?.table;
        let merged = tables.iter().enumerate().map(|(index, value)| {
            let path = format!("{key}[{index}]");
            let Value::Table(table) = value else {
                return Err(self.refuse(&path, key, problem.into()));
            };
            Ok(Section {
                document: self.document,
                path,
                table: merge(defaults.clone(), table),
            })
        });
        merged.collect()
    }

    pub(super) fn refuse(&self, path: &str, key: &str, problem: String) -> ConfigError {
        ConfigError::Value {
            place: self.document.place(path),
            key: key.to_owned(),
            problem,
        }
    }
}

impl Section<'_> {
    /// Takes the value of a key out of the table.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.table.remove(key) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .map_err(|(below, problem)| self.refuse(&join(key, &below), problem))
    }

    /// Takes the value of a key out of one of the table's tables.
    pub(super) fn take_from<T: DeserializeOwned>(
        &mut self,
        table: &str,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(Value::Table(inner)) = self.table.get_mut(table) else {
            return Ok(None);
        };
        let Some(value) = inner.remove(key) else {
            return Ok(None);
        };
        read(value).map(Some).map_err(|(below, problem)| {
            self.refuse(&join(&format!("{table}.{key}"), &below), problem)
        })
    }

    /// Whether the table itself has the key, and not only the defaults.
    pub(super) fn has(&self, key: &str) -> bool {
        self.document.has(&join(&self.path, key))
    }

    /// What is left of the table, as one value.
    pub(super) fn rest<T: DeserializeOwned>(&mut self) -> Result<T, ConfigError> {
        let table = std::mem::take(&mut self.table);
        read(Value::Table(table)).map_err(|(below, problem)| self.refuse(&below, problem))
    }

    /// An error about a key of this table, at the place that its value came from.
    pub(super) fn refuse(&self, key: &str, problem: impl Display) -> ConfigError {
        let own = join(&self.path, key);
        let common = join(DEFAULTS, key);
        let from_defaults = !self.document.has(&own) && self.document.has(&common);
        let path = if from_defaults { &common } else { &own };
        ConfigError::Value {
            place: self.document.place(path),
            key: without_indices_of_connections(path),
            problem: problem.to_string(),
        }
    }
}

/// The value, or the path below it at which it is wrong and what is wrong.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        let problem = error.into_inner();
        (path, format!("is wrong: {}", problem.message()))
    })
}

fn join(above: &str, below: &str) -> String {
    match (above, below) {
        (above, "") => above.to_owned(),
        ("", below) => below.to_owned(),
        (above, below) if below.starts_with('[') => format!("{above}{below}"),
        (above, below) => format!("{above}.{below}"),
    }
}

fn without_indices_of_connections(path: &str) -> String {
    match path.split_once(']') {
        Some((head, rest)) if head.starts_with("connection[") => format!("connection{rest}"),
        Some(_) | None => path.to_owned(),
    }
}

/// Puts `over` on top: tables are merged, anything else is replaced.
fn merge(mut under: Table, over: &Table) -> Table {
    for (key, value) in over {
        let merged = match (under.remove(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => Value::Table(merge(under, over)),
            (_, value) => value.clone(),
        };
        under.insert(key.clone(), merged);
    }
    under
}
