//! The configuration file.

mod connection;
mod document;
mod error;
mod keys;
mod pointer;
mod print;
mod processor;
mod reader;
#[cfg(test)]
mod tests;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk_core::AdmissionLimits;
use serde::{Deserialize, Serialize};

pub(crate) use connection::{ConnectionPlan, Parts};
pub(crate) use error::ConfigError;
pub(crate) use print::print;
pub(crate) use processor::ProcessorPlan;

use crate::names::Names;
use crate::runtime::RuntimeName;
use document::Document;
use reader::Reader;

/// Everything that a file says, with every default filled in.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The runtime, if the file names one.
    pub(crate) runtime: Option<RuntimeName>,
    /// What the connections share.
    pub(crate) admission: AdmissionLimits,
    /// Where dead letters are kept, if anywhere.
    pub(crate) letters: LetterKeys,
    /// One for each `[[connection]]`, in order.
    pub(crate) connections: Vec<ConnectionPlan>,
    /// What a URL of the command line starts from.
    pub(crate) defaults: ConnectionPlan,
}

/// `[letters]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct LetterKeys {
    /// The file; relative to where the command was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<PathBuf>,
    /// How long letters are kept that are delivered or discarded; for ever if it is not said.
    #[serde(default, with = "keep")]
    pub(crate) keep: Option<Duration>,
}

/// A duration such as `30d`, or `off`.
mod keep {
    use std::time::Duration;

    use ropewalk_core::settings::{format_duration, parse_duration};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const OFF: &str = "off";

    pub(super) fn serialize<S: Serializer>(
        keep: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        keep.map_or_else(|| OFF.to_owned(), format_duration)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            OFF => Ok(None),
            text => parse_duration(text).map(Some).map_err(D::Error::custom),
        }
    }
}

impl Plan {
    /// What there is without a file.
    pub(crate) fn without_file() -> Self {
        Self {
            runtime: None,
            admission: AdmissionLimits::default(),
            letters: LetterKeys::default(),
            connections: Vec::new(),
            defaults: ConnectionPlan::default(),
        }
    }

    /// Reads a file and checks all of it.
    pub(crate) fn read(file: &Path, names: &mut Names) -> Result<Self, ConfigError> {
        Self::from_document(&Document::read(file)?, names)
    }

    fn from_document(document: &Document, names: &mut Names) -> Result<Self, ConfigError> {
        keys::check(document)?;
        let reader = Reader::new(document);
        let letters: LetterKeys = reader.value("letters")?.unwrap_or_default();
        if letters.keep.is_some() && letters.store.is_none() {
            let key = "letters.keep";
            return Err(reader.refuse(key, key, "needs `store` beside it".to_owned()));
        }
        Ok(Self {
            runtime: reader.value("runtime")?,
            admission: reader.value("admission")?.unwrap_or_default(),
            letters,
            connections: connection::read_all(&reader, names)?,
            defaults: connection::read_defaults(&reader)?,
        })
    }
}
