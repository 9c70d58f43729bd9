//! rustls as one socket's TLS.

use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error};

use super::config::{ALPN, was_asked_in_vain};
use super::{CertificateProblem, CertificateRequests, Records, TlsError, TlsErrorKind};
use crate::target::Host;

pub(super) struct Rustls {
    connection: ClientConnection,
    requests: CertificateRequests,
    was_asked: bool,
    has_peer_closed: bool,
    plaintext_len: usize,
}

/// The name to ask for and to verify; `None` if no certificate could hold it. A trailing dot is no part of it
/// (RFC 6066 §3).
pub(crate) fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            ServerName::try_from(name.to_owned()).ok()
        }
        Host::Ip(IpAddr::V4(address)) => Some(IpAddr::V4(*address).into()),
        Host::Ip(IpAddr::V6(address)) => Some(IpAddr::V6(*address).into()),
    }
}

impl Rustls {
    pub(super) fn new(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        requests: CertificateRequests,
    ) -> Result<Self, TlsError> {
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| tls_error(&error, false))?;
        Ok(Self {
            connection,
            requests,
            was_asked: false,
            has_peer_closed: false,
            plaintext_len: 0,
        })
    }

    /// A server that speaks only another protocol ignores what was offered, or was offered it by a
    /// configuration of the application's own.
    fn check_protocol(&self) -> Result<(), TlsError> {
        match self.connection.alpn_protocol() {
            Some(chosen) if chosen != ALPN => {
                let chosen = String::from_utf8_lossy(chosen);
                let detail = format!("the server chose the protocol {chosen}, not HTTP/1.1");
                Err(TlsError::new(TlsErrorKind::Protocol, detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Records for Rustls {
    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn feed(&mut self, ciphertext: &[u8]) -> Result<usize, TlsError> {
        if self.has_peer_closed {
            return Ok(ciphertext.len());
        }
        let was_handshaking = self.connection.is_handshaking();
        let mut rest = ciphertext;
        let taken = self
            .connection
            .read_tls(&mut rest)
            .map_err(|error| TlsError::new(TlsErrorKind::Protocol, error))?;
        let connection = &mut self.connection;
        let (state, is_asked) = was_asked_in_vain(|| connection.process_new_packets());
        self.was_asked |= is_asked;
        let state = state.map_err(|error| tls_error(&error, self.was_asked))?;
        self.plaintext_len = state.plaintext_bytes_to_read();
        self.has_peer_closed = state.peer_has_closed();
        if is_asked && self.requests == CertificateRequests::Refuse {
            let detail = "it asked for one, and there is none";
            return Err(TlsError::new(TlsErrorKind::ClientCertificate, detail));
        }
        if was_handshaking && !self.connection.is_handshaking() {
            self.check_protocol()?;
        }
        Ok(taken)
    }

    fn plaintext(&mut self) -> &[u8] {
        self.connection
            .reader()
            .into_first_chunk()
            .unwrap_or_default()
    }

    fn plaintext_len(&self) -> usize {
        self.plaintext_len
    }

    fn consume(&mut self, bytes: usize) {
        self.connection.reader().consume(bytes);
        // After a failure there may be more than was counted.
        self.plaintext_len = self.plaintext_len.saturating_sub(bytes);
    }

    fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> usize {
        self.connection.writer().write(plaintext).unwrap_or(0)
    }

    fn close(&mut self) {
        self.connection.send_close_notify();
    }

    fn has_ciphertext(&self) -> bool {
        self.connection.wants_write()
    }

    fn drain(&mut self, ciphertext: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection
                .write_tls(ciphertext)
                .expect("a vector takes all that is written to it");
        }
    }
}

/// What rustls says, as what it means for the next attempt.
fn tls_error(error: &Error, was_asked: bool) -> TlsError {
    TlsError::new(kind_of(error, was_asked), error)
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "rustls' list of errors is open; what is not about certificates or alerts is one kind"
)]
fn kind_of(error: &Error, was_asked: bool) -> TlsErrorKind {
    match error {
        Error::InvalidCertificate(problem) => TlsErrorKind::Certificate(problem_of(problem)),
        Error::NoCertificatesPresented | Error::InvalidCertRevocationList(_) => {
            TlsErrorKind::Certificate(CertificateProblem::Other)
        }
        Error::AlertReceived(alert) => match alert {
            // All of these are about the receiver's certificate, and the server is who sends them.
            AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired => TlsErrorKind::ClientCertificate,
            // Before TLS 1.3 this was the only way to insist on a certificate.
            AlertDescription::HandshakeFailure if was_asked => TlsErrorKind::ClientCertificate,
            _ => TlsErrorKind::Alert,
        },
        _ => TlsErrorKind::Protocol,
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "rustls' list of problems is open"
)]
fn problem_of(problem: &CertificateError) -> CertificateProblem {
    match problem {
        // A signature that is not the authority's is one of somebody with its name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateProblem::UnknownAuthority
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        CertificateError::Revoked => CertificateProblem::Revoked,
        _ => CertificateProblem::Other,
    }
}
