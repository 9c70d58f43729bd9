//! What is wrong with a configuration file, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", .file.display())]
    Read { file: PathBuf, source: io::Error },
    /// The file is not TOML.
    #[error("{place}: {problem}")]
    Syntax { place: Place, problem: String },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        place: Place,
        key: String,
        nearest: String,
    },
    /// A key that later versions are to have.
    #[error("{place}: unknown key `{key}`: it is not in this version")]
    NotInThisVersion { place: Place, key: String },
    /// A value that cannot be.
    #[error("{place}: `{key}` {problem}")]
    Value {
        place: Place,
        key: String,
        problem: String,
    },
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}
