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
        Ok(Self {
            runtime: reader.value("runtime")?,
            admission: reader.value("admission")?.unwrap_or_default(),
            letters: reader.value("letters")?.unwrap_or_default(),
            connections: connection::read_all(&reader, names)?,
            defaults: connection::read_defaults(&reader)?,
        })
    }
}
