//! TLS whose certificates the operating system judges.

use std::sync::Arc;

use ropewalk_core::TlsConfig;
use ropewalk_core::tls::rustls::{ClientConfig, crypto};
use ropewalk_core::tls::{TlsConfigBuilder, TlsConfigError};
use rustls_platform_verifier::BuilderVerifierExt;

/// Lets the operating system judge servers, with all that its administrator decided: the authorities that were
/// added, distrusted or constrained, and what was revoked. [`native_tls`](crate::native_tls) only takes the list of
/// authorities. On Linux and the BSDs both come to the same, there being no other judge than rustls.
///
/// `builder` says the rest: a client certificate, and what happens when one is asked for. Roots have no
/// place in it. Connections to one server should be given clones of one configuration.
///
/// macOS and Windows may look up revocations on the network, and block a shard and all its connections while
/// they do; where one slow answer must not delay the others, take `native_tls`.
///
/// # Errors
/// [`PlatformTlsError`]: the system has no verifier or, on Linux and the BSDs, no authority that can be read; or
/// `builder` is wrong, or has roots.
pub fn platform_tls(builder: TlsConfigBuilder) -> Result<TlsConfig, PlatformTlsError> {
    let verified = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| PlatformTlsError::Verifier(error.to_string().into()))?;
    Ok(builder.build_verified(verified)?)
}

/// Why the operating system cannot judge servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformTlsError {
    /// It has nothing to do so with.
    #[error("this system cannot verify servers: {0}")]
    Verifier(Box<str>),
    /// What was to be added to it.
    #[error(transparent)]
    Config(#[from] TlsConfigError),
}
