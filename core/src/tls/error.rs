//! What goes wrong with TLS.

use std::fmt;

/// Why the server was not trusted, or what it said instead of TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", Detail(.detail))]
pub struct TlsError {
    /// What kind of failure it is; this alone decides what happens next.
    pub kind: TlsErrorKind,
    /// More about it, at most 256 characters, with all that could steer a terminal escaped; may be empty.
    pub detail: Box<str>,
}

/// Kinds of TLS failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The server's certificate does not prove that it is the host of the URL. Nothing was said to it.
    Certificate(CertificateProblem),
    /// The server asked for a client certificate and there is none, or refused the one it was given.
    ClientCertificate,
    /// The server ended the handshake or the connection with an alert (RFC 8446 §6.2).
    Alert,
    /// What the server sent is not TLS, or breaks its rules, or there is no version or cipher in common.
    Protocol,
    /// The request provider asked for `wss` and the target has no [`TlsConfig`](super::TlsConfig).
    NotConfigured,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// No trusted authority issued it.
    UnknownAuthority,
    /// It is another host's.
    WrongName,
    /// It was valid once.
    Expired,
    /// It will be valid later, or this machine's clock is behind.
    NotYetValid,
    /// Its authority took it back.
    Revoked,
    /// Anything else: no certificate at all, a wrong signature, another purpose.
    Other,
}

const DETAIL_CHARS_MAX: usize = 256;

impl TlsError {
    /// An error with what is known beside its kind; a long detail is cut.
    pub fn new(kind: TlsErrorKind, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        let escaped = detail.chars().flat_map(char::escape_debug);
        Self {
            kind,
            detail: escaped.take(DETAIL_CHARS_MAX).collect(),
        }
    }
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.0)
    }
}

impl fmt::Display for TlsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(problem) => problem.fmt(f),
            Self::ClientCertificate => f.write_str("the server wants another client certificate"),
            Self::Alert => f.write_str("the server refused TLS"),
            Self::Protocol => f.write_str("TLS failed"),
            Self::NotConfigured => f.write_str("`wss` was asked for without a TLS configuration"),
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "no trusted authority issued the server's certificate",
            Self::WrongName => "the server's certificate is another host's",
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::Revoked => "the server's certificate was revoked",
            Self::Other => "the server's certificate is not acceptable",
        })
    }
}

/// A TLS configuration that cannot work. Nothing of a private key is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// There is nobody to trust: no server could be verified.
    #[error("there is no root certificate: no server could be trusted")]
    NoRoots,
    /// Roots were given beside a verifier that has its own.
    #[error("root certificates were given beside a verifier that would not use them")]
    RootsUnused,
    /// A text that should hold certificates holds none that can be read.
    #[error("there is no certificate that can be read among the {0}")]
    Certificates(&'static str),
    /// A root certificate that cannot be one.
    #[error("a root certificate is unusable: {0}")]
    Root(Box<str>),
    /// The text that should hold a private key holds none that can be read.
    #[error(
        "there is no private key that can be read (PKCS#8, PKCS#1 or SEC1, without a password)"
    )]
    Key,
    /// The private key is of an unsupported kind, or does not belong to the certificate.
    #[error("the client certificate and its key cannot be used: {0}")]
    Identity(Box<str>),
}
