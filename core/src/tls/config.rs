//! A TLS configuration, made of roots and perhaps an identity.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SignatureScheme};

use super::records::{Rustls, server_name};
use super::{Connector, Records, TlsConfig, TlsConfigError, TlsError};
use crate::target::Host;

/// The one protocol that may be chosen: a WebSocket opens with HTTP/1.1 (RFC 6455 §4.1).
pub(super) const ALPN: &[u8] = b"http/1.1";

impl TlsConfig {
    /// A configuration to be made: TLS 1.2 and 1.3 with ring, ALPN `http/1.1`, sessions resumed on redial. Kept for
    /// that are, for each of 32 hosts, the last session over TLS 1.2 and the last eight over TLS 1.3, of which each
    /// is used once; a further host takes the place of the first. Without a session there is a full handshake.
    ///
    /// ```
    /// use ropewalk_core::TlsConfig;
    /// # use ropewalk_core::tls::TlsConfigError;
    ///
    /// fn private(root: &[u8], chain: &[u8], key: &[u8]) -> Result<TlsConfig, TlsConfigError> {
    ///     TlsConfig::builder()
    ///         .roots_pem(root)?
    ///         .client_certificate_pem(chain, key)?
    ///         .build()
    /// }
    /// ```
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder {
            roots: RootCertStore::empty(),
            identity: None,
            requests: CertificateRequests::default(),
        }
    }

    /// Takes a configuration that was made with rustls itself: for another verifier, such as the
    /// platform's, another provider, or revocation lists.
    ///
    /// Whoever makes it decides how servers are verified. rustls calls its way to replace the verifier
    /// `dangerous`, and it is: with one that accepts what it should not, anybody on the network can pose
    /// as the server. Nothing here needs that, and nothing here offers it.
    ///
    /// Used as it is, but for the client certificate, which `requests` is about. An ALPN list should hold
    /// `http/1.1` only; a server that chooses anything else is refused.
    pub fn from_rustls(config: Arc<ClientConfig>, requests: CertificateRequests) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        let own = Arc::clone(&config.client_auth_cert_resolver);
        config.client_auth_cert_resolver = Arc::new(Identity { own });
        // Nothing may be said before the server is verified.
        config.enable_early_data = false;
        Self::over(Arc::new(RustlsConnector {
            config: Arc::new(config),
            requests,
        }))
    }
}

/// What happens when a server asks for a client certificate and there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertificateRequests {
    /// The attempt ends with [`ClientCertificate`](super::TlsErrorKind::ClientCertificate), before the
    /// upgrade request is sent. The default.
    #[default]
    Refuse,
    /// It goes on without, for servers that ask and do not insist. One that does insist refuses, under
    /// TLS 1.3 perhaps only when the upgrade request, with the credentials in it, is on its way.
    Decline,
}

/// A [`TlsConfig`] in the making.
pub struct TlsConfigBuilder {
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    requests: CertificateRequests,
}

impl TlsConfigBuilder {
    /// Trusts these authorities too.
    #[must_use]
    pub fn roots(mut self, roots: RootCertStore) -> Self {
        self.roots.roots.extend(roots.roots);
        self
    }

    /// Trusts the authorities whose certificates are in this text, in PEM (RFC 7468).
    ///
    /// # Errors
    /// [`TlsConfigError::Certificates`] if there is none or one cannot be read, and
    /// [`TlsConfigError::Root`] if one cannot be an authority's.
    pub fn roots_pem(mut self, pem: &[u8]) -> Result<Self, TlsConfigError> {
        for root in certificates(pem, "roots")? {
            self.roots
                .add(root)
                .map_err(|error| TlsConfigError::Root(error.to_string().into()))?;
        }
        Ok(self)
    }

    /// Proves who we are to servers that ask: a chain of certificates, our own first, and its private
    /// key, both in PEM (RFC 7468). The second call replaces the first.
    ///
    /// # Errors
    /// [`TlsConfigError::Certificates`] or [`TlsConfigError::Key`] if there is none that can be read.
    pub fn client_certificate_pem(
        mut self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, TlsConfigError> {
        let chain = certificates(chain, "client certificates")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsConfigError::Key)?;
        self.identity = Some((chain, key));
        Ok(self)
    }

    /// Says what happens when a server asks for a client certificate and there is none.
    #[must_use]
    pub fn certificate_requests(mut self, requests: CertificateRequests) -> Self {
        self.requests = requests;
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`TlsConfigError::NoRoots`] if nobody is trusted, [`TlsConfigError::Identity`] if the client
    /// certificate and the key cannot be used together.
    pub fn build(mut self) -> Result<TlsConfig, TlsConfigError> {
        if self.roots.is_empty() {
            return Err(TlsConfigError::NoRoots);
        }
        let roots = Arc::new(std::mem::replace(&mut self.roots, RootCertStore::empty()));
        // Not the process's default provider: which one that is depends on what else is linked in.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| TlsConfigError::Root(error.to_string().into()))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_webpki_verifier(verifier);
        self.build_verified(builder)
    }

    /// The configuration with a verifier that was chosen in rustls' own builder, such as the platform's or one
    /// with revocation lists. What [`from_rustls`](TlsConfig::from_rustls) says of such a choice holds here too.
    ///
    /// # Errors
    /// [`TlsConfigError::RootsUnused`] if roots were given, which the verifier would not know of, and
    /// [`TlsConfigError::Identity`] as for [`build`](Self::build).
    pub fn build_verified(
        self,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<TlsConfig, TlsConfigError> {
        if !self.roots.is_empty() {
            return Err(TlsConfigError::RootsUnused);
        }
        let mut config = match self.identity {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsConfigError::Identity(error.to_string().into()))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(TlsConfig::from_rustls(Arc::new(config), self.requests))
    }
}

impl fmt::Debug for TlsConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigBuilder")
            .field("roots", &self.roots.len())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or(TlsConfigError::Certificates(what))
}

struct RustlsConnector {
    config: Arc<ClientConfig>,
    requests: CertificateRequests,
}

impl Connector for RustlsConnector {
    fn connect(&self, host: &Host) -> Result<Box<dyn Records>, TlsError> {
        let name = server_name(host).expect("the host was checked with its URL");
        Ok(Box::new(Rustls::new(&self.config, name, self.requests)?))
    }
}

thread_local! {
    /// Whether a server asked for a client certificate that there is not, in the call of rustls that is
    /// under way on this thread. Configurations are shared by threads and sessions are resumed only where
    /// the very same resolver is used, so neither can hold what concerns one connection; but rustls asks its
    /// resolver from inside a call, and looking before and after it is enough.
    static IS_ASKED_IN_VAIN: Cell<bool> = const { Cell::new(false) };
}

/// Whether, in `call`, a server asked for a client certificate and there was none.
pub(super) fn was_asked_in_vain<R>(call: impl FnOnce() -> R) -> (R, bool) {
    IS_ASKED_IN_VAIN.set(false);
    let result = call();
    (result, IS_ASKED_IN_VAIN.take())
}

/// The configured resolver of client certificates, and a note of what it could not resolve.
#[derive(Debug)]
struct Identity {
    own: Arc<dyn ResolvesClientCert>,
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let found = self.own.resolve(root_hint_subjects, schemes);
        if found.is_none() {
            IS_ASKED_IN_VAIN.set(true);
        }
        found
    }

    fn only_raw_public_keys(&self) -> bool {
        self.own.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.own.has_certs()
    }
}
