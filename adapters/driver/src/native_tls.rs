//! The TLS that `wss` URLs have where nobody says otherwise.

use std::sync::OnceLock;

use ropewalk_core::TlsConfig;
use ropewalk_core::tls::rustls::RootCertStore;

/// Trusts the authorities that this system trusts, and has no client certificate.
///
/// All callers get clones of one configuration, which share the sessions that can be resumed. The roots are read
/// by the first call and kept until the process ends; an error is not kept, and the next call tries again. It
/// reads files, or asks the system, and blocks meanwhile.
///
/// On Unix the environment variables `SSL_CERT_FILE` (certificates in PEM) and `SSL_CERT_DIR` name what is read
/// in the place of the system's own; if both are set, both are read.
///
/// # Errors
/// [`NativeRootsError`]: no root can be read.
pub fn native_tls() -> Result<TlsConfig, NativeRootsError> {
    static CONFIG: OnceLock<TlsConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = TlsConfig::builder()
        .roots(native_roots()?)
        .build()
        .map_err(|error| NativeRootsError(error.to_string().into()))?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// The authorities that this system trusts, for a configuration that adds to them
/// ([`TlsConfigBuilder::roots`](ropewalk_core::tls::TlsConfigBuilder::roots)). Read anew by each call; see
/// [`native_tls`] for where from.
///
/// # Errors
/// [`NativeRootsError`]: there is none that can be read. One that cannot be used is passed over where
/// there are others, since systems are known to keep such ones.
pub fn native_roots() -> Result<RootCertStore, NativeRootsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(NativeRootsError(problem.into()));
    }
    Ok(roots)
}

/// This system names no authority that could be trusted, and none was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no root certificate of this system can be read: {0}")]
pub struct NativeRootsError(Box<str>);
