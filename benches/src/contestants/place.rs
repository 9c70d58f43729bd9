//! Where a contestant dials, and what it offers there.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Problem;
use crate::peer::Address;
use crate::work::Work;

/// Whether messages may be compressed (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Off,
    Offered,
}

/// Where a contestant dials, and what it offers there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) compression: Compression,
    /// Of a `wss` URL: who vouches for the peer, as PEM and in the configuration of those who take one.
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Place {
    pub(super) fn of(work: Work, peer: &Address) -> Result<Self, Problem> {
        let path = work.service().path();
        let plain = |compression| Self {
            url: format!("ws://127.0.0.1:{}{path}", peer.port),
            compression,
            authority: None,
            tls: None,
        };
        Ok(match work {
            Work::ReceiveTls { .. } => Self {
                url: format!("wss://127.0.0.1:{}{path}", peer.tls_port),
                compression: Compression::Off,
                authority: Some(peer.authority.as_str().into()),
                tls: Some(Arc::new(client_config(&peer.authority)?)),
            },
            Work::Inflate { .. } | Work::Deflate { .. } => plain(Compression::Offered),
            Work::Receive { .. }
            | Work::HandOver { .. }
            | Work::Paced { .. }
            | Work::Send { .. }
            | Work::Echo { .. }
            | Work::Connect { .. }
            | Work::Recover { .. }
            | Work::Idle { .. }
            | Work::Pinged { .. } => plain(Compression::Off),
        })
    }

    /// Host and port.
    pub(super) fn host_and_port(&self) -> Result<&str, Problem> {
        Ok(self.url.split('/').nth(2).ok_or("no authority")?)
    }

    /// The URL without its path.
    pub(super) fn origin(&self) -> &str {
        self.url
            .match_indices('/')
            .nth(2)
            .map_or(&self.url, |(at, _)| &self.url[..at])
    }

    /// For whom the peer's certificate must be.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Problem> {
        let host = self.host_and_port()?.split(':').next().unwrap_or_default();
        Ok(ServerName::try_from(host.to_owned())?)
    }
}

fn client_config(authority: &str) -> Result<ClientConfig, Problem> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    Ok(
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}
