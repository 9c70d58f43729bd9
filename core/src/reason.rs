//! Why a connection ended.

use std::fmt;
use std::io;

use crate::renegotiate::Invalid;
use crate::tls::TlsError;
use crate::websocket::{CloseFrame, ProtocolError, UpgradeError};

/// Why an attempt or a session ended.
///
/// The [classification table](crate::classify::table) maps each reason to what
/// happens next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The application closed, paused or removed the connection, or shut the fleet down.
    #[error("closed by the application")]
    Local,
    /// The peer sent a close frame; `None` is one without a code (1005, RFC 6455 §7.1.5).
    #[error("closed by the server: {}", PeerClose(.0.as_ref()))]
    Peer(Option<CloseFrame>),
    /// The peer broke the protocol; the connection was failed (RFC 6455 §7.1.7).
    #[error("protocol violation by the server: {0}")]
    Protocol(#[from] ProtocolError),
    /// The server sent more messages that the application's decoder refused than `invalid_max` allows. The last of them says
    /// what the close code is.
    #[error("too many invalid messages: {0}")]
    InvalidMessages(Invalid),
    /// The transport failed or ended without a close frame (1006).
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// TLS failed, or the server did not prove who it is.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The host name could not be resolved, or resolved to nothing usable.
    #[error("cannot resolve the host: {0}")]
    Resolve(Box<str>),
    /// The opening handshake was refused or malformed (RFC 6455 §4.1).
    #[error("{0}")]
    Upgrade(#[from] UpgradeError),
    /// The server chose none of the offered subprotocols, and the application cannot do without.
    #[error("the server chose none of the offered subprotocols")]
    SubprotocolMissing,
    /// The ready script was refused by the server's reply.
    #[error("the ready script failed: {0}")]
    Ready(Box<str>),
    /// The application's request provider failed.
    #[error("the request provider failed: {0}")]
    Provider(Box<str>),
    /// A deadline passed.
    #[error("{0}")]
    Timeout(TimerKind),
}

struct PeerClose<'a>(Option<&'a CloseFrame>);

impl fmt::Display for PeerClose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(frame) => frame.fmt(f),
            None => f.write_str("1005 (no code)"),
        }
    }
}

/// What the operating system, or a transport of the user's own, said of a socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", Detail(.detail))]
pub struct TransportError {
    /// What kind of failure it is; this alone decides what happens next.
    pub kind: TransportErrorKind,
    /// The system's own words, empty if there are none.
    pub detail: Box<str>,
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.0.escape_debug())
    }
}

/// Kinds of transport failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Nobody listens at the address.
    Refused,
    /// The peer reset or aborted the connection.
    Reset,
    /// No route to the host or network.
    Unreachable,
    /// The stream ended without a close frame.
    Eof,
    /// This process or machine ran out of descriptors, ports, buffers or memory.
    Resource,
    /// The system forbids it (EACCES, EPERM).
    Denied,
    /// The socket was connected to itself (an ephemeral port dialling its own number).
    SelfConnect,
    /// Anything else.
    Other,
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset",
            Self::Unreachable => "network unreachable",
            Self::Eof => "the stream ended without a close frame",
            Self::Resource => "out of local resources",
            Self::Denied => "not permitted",
            Self::SelfConnect => "the socket connected to itself",
            Self::Other => "transport error",
        })
    }
}

impl TransportError {
    pub(crate) fn with_detail(kind: TransportErrorKind, detail: &str) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    /// An error of this kind with no further detail.
    pub fn new(kind: TransportErrorKind) -> Self {
        Self {
            kind,
            detail: Box::default(),
        }
    }
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&io::Error> for TransportError {
    fn from(error: &io::Error) -> Self {
        let kind = kind_of(error);
        let detail = match kind {
            // The kind says what the system's words would only repeat.
            TransportErrorKind::Refused
            | TransportErrorKind::Reset
            | TransportErrorKind::Unreachable
            | TransportErrorKind::Eof
            | TransportErrorKind::SelfConnect => Box::default(),
            TransportErrorKind::Resource
            | TransportErrorKind::Denied
            | TransportErrorKind::Other => error.to_string().into(),
        };
        Self { kind, detail }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "io::ErrorKind is open-ended"
)]
fn kind_of(error: &io::Error) -> TransportErrorKind {
    // Descriptor and buffer exhaustion have no stable `io::ErrorKind`; the numbers are Linux's and BSD's.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    match error.raw_os_error() {
        Some(ENFILE | EMFILE | ENOBUFS) if cfg!(unix) => return TransportErrorKind::Resource,
        Some(_) | None => {}
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => TransportErrorKind::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => TransportErrorKind::Reset,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => TransportErrorKind::Unreachable,
        io::ErrorKind::UnexpectedEof => TransportErrorKind::Eof,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => {
            TransportErrorKind::Resource
        }
        io::ErrorKind::PermissionDenied => TransportErrorKind::Denied,
        _ => TransportErrorKind::Other,
    }
}

/// Why a deadline exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TimerKind {
    /// The wait before the next attempt is over.
    Backoff,
    /// The application's request provider did not answer in time.
    Provider,
    /// The resolver did not answer in time.
    Resolve,
    /// The transport was not connected in time.
    Connect,
    /// The TLS handshake was not finished in time.
    Tls,
    /// The server did not answer the upgrade request in time.
    Upgrade,
    /// The attempt as a whole took too long.
    Attempt,
    /// The ready script was not finished in time.
    Ready,
    /// It is time to ask the peer for a sign of life.
    Keepalive,
    /// The peer gave no sign of life after a ping.
    KeepaliveTimeout,
    /// No data message arrived for `stale_after`.
    Stale,
    /// A message was not complete in time: `timeouts.message`, or 10 s while nothing else is read because all
    /// connections together hold as much as they may.
    Message,
    /// The peer accepted no byte of what was waiting.
    WriteProgress,
    /// Messages received before a close are still being answered.
    FlushBeforeClose,
    /// The close handshake was not finished in time.
    CloseHandshake,
    /// The batch in progress is due.
    Linger,
    /// Messages to send have waited for others to leave with them for as long as they may.
    OutboundLinger,
    /// A message is due for another try at its processor.
    Retry,
    /// A message has waited to be sent for as long as it may.
    Expiry,
    /// A written message has waited for its reply for as long as it may.
    Acknowledge,
    /// A graceful shutdown has reached its deadline.
    Shutdown,
}

impl fmt::Display for TimerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backoff => "the wait before the next attempt is over",
            Self::Provider => "the request provider did not answer in time",
            Self::Resolve => "the resolver did not answer in time",
            Self::Connect => "the transport was not connected in time",
            Self::Tls => "the TLS handshake was not finished in time",
            Self::Upgrade => "the server did not answer the upgrade request in time",
            Self::Attempt => "the attempt took too long",
            Self::Ready => "the ready script was not finished in time",
            Self::Keepalive => "keepalive is due",
            Self::KeepaliveTimeout => "the server gave no sign of life after a ping",
            Self::Stale => "no data message arrived for `stale_after`",
            Self::Message => "the server did not finish a message in time",
            Self::WriteProgress => "the server accepted no byte of what was waiting",
            Self::FlushBeforeClose => "messages before a close are still being answered",
            Self::CloseHandshake => "the close handshake was not finished in time",
            Self::Linger => "the batch in progress is due",
            Self::OutboundLinger => {
                "messages to send have waited for others for as long as they may"
            }
            Self::Retry => "a message is due for another try",
            Self::Expiry => "a message waited to be sent for as long as it may",
            Self::Acknowledge => "a message waited for its reply for as long as it may",
            Self::Shutdown => "the shutdown reached its deadline",
        })
    }
}
