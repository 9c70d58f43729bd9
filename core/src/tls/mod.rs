//! TLS: how a `wss` connection proves whom it talks to.
//!
//! [`TlsConfig`] says whom to trust and who we are. With the feature `tls` it is made here, over rustls with
//! ring; without the feature none can be made, and no `wss` URL is accepted.
//!
//! The certificate is always verified, and always for the host of the URL, which is also the name that the
//! server is asked for (SNI, RFC 6066 §3). There is no switch to turn that off.
//!
//! rustls draws its own randomness and reads the wall clock to judge certificates; nothing else in this
//! crate does. What leaves an encrypted socket is therefore not the same in two runs from one seed, but what
//! is encrypted is.

#[cfg(feature = "tls")]
mod config;
mod error;
#[cfg(feature = "tls")]
mod records;

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "tls")]
pub use config::{CertificateRequests, TlsConfigBuilder};
pub use error::{CertificateProblem, TlsConfigError, TlsError, TlsErrorKind};
#[cfg(feature = "tls")]
pub(crate) use records::server_name;
/// The implementation whose types [`TlsConfig`] is made of.
#[cfg(feature = "tls")]
pub use rustls;

use crate::target::Host;

/// Whom to trust, and who we are. Cheap to clone: clones share the certificates and the sessions that can be
/// resumed, so connections and redials to one server should use clones of one configuration.
///
/// Two are equal if one is a clone of the other. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct TlsConfig {
    connector: Arc<dyn Connector>,
}

impl TlsConfig {
    #[cfg(feature = "tls")]
    pub(crate) fn over(connector: Arc<dyn Connector>) -> Self {
        Self { connector }
    }

    /// The beginning of a connection's TLS to `host`: the name that is asked for and verified.
    pub(crate) fn connect(&self, host: &Host) -> Result<Box<dyn Records>, TlsError> {
        self.connector.connect(host)
    }
}

impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &other.connector)
    }
}

impl Eq for TlsConfig {}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// What begins TLS for each socket.
pub(crate) trait Connector: Send + Sync {
    fn connect(&self, host: &Host) -> Result<Box<dyn Records>, TlsError>;
}

/// The TLS of one socket, between the bytes of the socket and those of the WebSocket. It does no I/O.
///
/// A trait, so that tests can put one in its place that fails as no real one can be made to.
pub(crate) trait Records: Send + Sync {
    /// Whether the server is not verified yet: nothing may be encrypted.
    fn is_handshaking(&self) -> bool;

    /// Takes some bytes from the socket; how many, at least one. What was decrypted before must have been
    /// consumed. On an error, what was decrypted before it can still be read.
    fn feed(&mut self, ciphertext: &[u8]) -> Result<usize, TlsError>;

    /// The next decrypted bytes, 16 KiB at most; empty if there are none.
    fn plaintext(&mut self) -> &[u8];

    /// How many decrypted bytes there are.
    fn plaintext_len(&self) -> usize;

    /// The first bytes of [`plaintext`](Self::plaintext) are done with.
    fn consume(&mut self, bytes: usize);

    /// Whether the server said that it has nothing more to say (`close_notify`, RFC 8446 §6.1).
    fn has_peer_closed(&self) -> bool;

    /// Encrypts the beginning of these bytes; returns how many.
    fn encrypt(&mut self, plaintext: &[u8]) -> usize;

    /// Says that we have nothing more to say.
    fn close(&mut self);

    /// Whether [`drain`](Self::drain) would bring something.
    fn has_ciphertext(&self) -> bool;

    /// Appends what is to be sent.
    fn drain(&mut self, ciphertext: &mut Vec<u8>);
}
