//! `[connection.tls]`: whom `wss` URLs trust, and who we are.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ropewalk_core::TlsConfig;
use ropewalk_core::tls::TlsConfigError;
use ropewalk_driver::{PlatformTlsError, native_roots, native_tls, platform_tls};
use serde::{Deserialize, Serialize};

use super::connection::Refusal;

/// The keys of the table.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsKeys {
    roots: Roots,
    /// A file with the certificate, those of the authorities between it and a root, and the private key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<PathBuf>,
}

/// Which authorities are trusted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
enum Roots {
    /// Those that this system trusts.
    #[default]
    Native,
    /// Those that this system trusts, as it judges itself.
    Platform,
    /// Those in this file, in PEM.
    File(PathBuf),
}

const NATIVE: &str = "native";
const PLATFORM: &str = "platform";
const ROOTS: &str = "tls.roots";
const CLIENT_CERTIFICATE: &str = "tls.client_certificate";

impl TryFrom<PathBuf> for Roots {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        match path.to_str() {
            Some("") => Err(format!("`{NATIVE}`, `{PLATFORM}`, or a PEM file")),
            Some(NATIVE) => Ok(Self::Native),
            Some(PLATFORM) => Ok(Self::Platform),
            Some(_) | None => Ok(Self::File(path)),
        }
    }
}

impl From<Roots> for PathBuf {
    fn from(roots: Roots) -> Self {
        match roots {
            Roots::Native => NATIVE.into(),
            Roots::Platform => PLATFORM.into(),
            Roots::File(path) => path,
        }
    }
}

/// The table, and what is made of it when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Tls {
    pub(super) keys: TlsKeys,
    config: OnceLock<Result<TlsConfig, Refusal>>,
}

impl Tls {
    pub(super) fn new(keys: TlsKeys) -> Self {
        Self {
            keys,
            config: OnceLock::new(),
        }
    }

    /// Whether it says anything but the default.
    pub(super) fn is_given(&self) -> bool {
        self.keys != TlsKeys::default()
    }

    /// Reads the files, once.
    pub(super) fn config(&self) -> Result<TlsConfig, Refusal> {
        self.config.get_or_init(|| self.keys.config()).clone()
    }
}

impl TlsKeys {
    fn config(&self) -> Result<TlsConfig, Refusal> {
        if *self == Self::default() {
            return native_tls().map_err(|error| Refusal::new(ROOTS, error));
        }
        let mut builder = TlsConfig::builder();
        if let Some(file) = &self.client_certificate {
            let pem = read(CLIENT_CERTIFICATE, file)?;
            builder = builder
                .client_certificate_pem(&pem, &pem)
                .map_err(|error| in_file(CLIENT_CERTIFICATE, file, error))?;
        }
        let builder = match &self.roots {
            Roots::Native => {
                builder.roots(native_roots().map_err(|error| Refusal::new(ROOTS, error))?)
            }
            Roots::Platform => {
                return platform_tls(builder).map_err(|error| {
                    if let PlatformTlsError::Config(error) = error {
                        refused(error)
                    } else {
                        Refusal::new(ROOTS, error)
                    }
                });
            }
            Roots::File(file) => builder
                .roots_pem(&read(ROOTS, file)?)
                .map_err(|error| in_file(ROOTS, file, error))?,
        };
        builder.build().map_err(refused)
    }
}

fn refused(error: TlsConfigError) -> Refusal {
    let is_ours = matches!(error, TlsConfigError::Key | TlsConfigError::Identity(_));
    Refusal::new(if is_ours { CLIENT_CERTIFICATE } else { ROOTS }, error)
}

/// Names are relative to the working directory, as on a command line.
fn read(key: &str, file: &Path) -> Result<Vec<u8>, Refusal> {
    std::fs::read(file).map_err(|error| in_file(key, file, error))
}

fn in_file(key: &str, file: &Path, problem: impl Display) -> Refusal {
    Refusal::new(key, format_args!("{}: {problem}", file.display()))
}
