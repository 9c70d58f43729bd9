//! Which ends are worth another attempt: one table, and what the server asked for beside it.

mod strikes;
mod table;

use std::fmt;
use std::time::Duration;

use crate::reason::{CloseReason, TransportErrorKind};
use crate::settings::ClassificationSettings;
use crate::tls::TlsErrorKind;
use crate::websocket::{CloseCode, Refusal, UpgradeError};

pub use strikes::{STRIKE_WINDOW, STRIKES_MAX, StrikeVerdict, Strikes};
pub use table::{Row, What, table};

/// What follows the end of an attempt or of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Class {
    /// Another attempt, by backoff.
    Retry,
    /// This machine lacks something: another attempt after a second or more, not counted as a failure.
    Resource,
    /// Another attempt with fresh credentials from the application's provider, at most two in a row.
    Reauth,
    /// Another attempt, but the third end of the same [`Cause`] within ten minutes is final.
    Strike,
    /// No further attempt.
    GiveUp,
}

impl Class {
    /// The word that configurations, events and tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Resource => "resource",
            Self::Reauth => "reauth",
            Self::Strike => "strike",
            Self::GiveUp => "give_up",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the server asked for when it ended things. It makes a wait longer, never shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Nothing.
    #[default]
    None,
    /// Not before this time has passed: `Retry-After`, at most [`RETRY_AFTER_MAX`].
    NotBefore {
        /// The time that the server named.
        at_least: Duration,
    },
    /// At a moment drawn from a range that all clients of the server use.
    Within {
        /// The least wait.
        low: Duration,
        /// The longest wait.
        high: Duration,
    },
    /// Elsewhere first, and here not before this time and the backoff have passed.
    AnotherAddress {
        /// The least wait at this address.
        at_least: Duration,
    },
}

/// A server that asks for a longer pause than this gets this one, so that it cannot disable a client.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

impl Hint {
    /// Close code 1012: "a randomized delay of 5 - 30s", as its registration says.
    pub const RESTART: Self = Self::Within {
        low: Duration::from_secs(5),
        high: Duration::from_secs(30),
    };
    /// Close code 1013.
    pub const OVERLOADED: Self = Self::AnotherAddress {
        at_least: Duration::from_secs(30),
    };

    fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Peer(Some(frame)) if frame.code == CloseCode::SERVICE_RESTART => {
                Self::RESTART
            }
            CloseReason::Peer(Some(frame)) if frame.code == CloseCode::TRY_AGAIN_LATER => {
                Self::OVERLOADED
            }
            CloseReason::Upgrade(UpgradeError::Status(refusal)) => Self::of_refusal(refusal),
            CloseReason::Peer(_)
            | CloseReason::Upgrade(_)
            | CloseReason::SubprotocolMissing
            | CloseReason::Local
            | CloseReason::Protocol(_)
            | CloseReason::InvalidMessages(_)
            | CloseReason::Transport(_)
            | CloseReason::Tls(_)
            | CloseReason::Resolve(_)
            | CloseReason::Ready(_)
            | CloseReason::Provider(_)
            | CloseReason::Timeout(_) => Self::None,
        }
    }

    /// `Retry-After` counts on 429 (RFC 6585 §4) and 503 (RFC 9110 §15.6.4) only.
    fn of_refusal(refusal: &Refusal) -> Self {
        match (refusal.status, refusal.retry_after) {
            (429 | 503, Some(after)) => Self::NotBefore {
                at_least: after.min(RETRY_AFTER_MAX),
            },
            _ => Self::None,
        }
    }
}

/// What ended an attempt or a session, as far as the table tells one end from another. Strikes are
/// counted for each cause apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The server's close frame had this code; 1005 stands for a frame without one (RFC 6455 §7.1.5).
    Close(u16),
    /// The server answered the opening handshake with this HTTP status.
    Status(u16),
    /// The server's 101 was wrong, or what it answered was no HTTP response (RFC 6455 §4.1).
    MalformedUpgrade,
    /// The server did not choose the subprotocol that the application cannot do without.
    SubprotocolMissing,
    /// The server broke the protocol after the handshake.
    Protocol,
    /// The application's decoder refused too many of the server's messages.
    InvalidMessages,
    /// The transport failed or ended.
    Transport(TransportErrorKind),
    /// The server's certificate does not prove that it is the host of the URL.
    ServerCertificate,
    /// The server wants a client certificate, or another one.
    ClientCertificate,
    /// The server refused TLS with an alert that is about no certificate.
    TlsAlert,
    /// What the server sent is not TLS, or breaks its rules.
    TlsProtocol,
    /// The request provider asked for `wss` where no TLS is configured.
    TlsNotConfigured,
    /// The host was not resolved.
    Resolve,
    /// The server's answer to the ready script was a refusal.
    Ready,
    /// The application's request provider failed.
    Provider,
    /// A deadline passed, at any stage.
    Timeout,
}

impl Cause {
    /// The cause of an end; `None` if the application itself wanted it.
    pub fn of(reason: &CloseReason) -> Option<Self> {
        Some(match reason {
            CloseReason::Local => return None,
            CloseReason::Peer(None) => Self::Close(CloseCode::NO_STATUS.as_u16()),
            CloseReason::Peer(Some(frame)) => Self::Close(frame.code.as_u16()),
            CloseReason::Protocol(_) => Self::Protocol,
            CloseReason::InvalidMessages(_) => Self::InvalidMessages,
            CloseReason::Transport(error) => Self::Transport(error.kind),
            CloseReason::Tls(error) => Self::of_tls(error.kind),
            CloseReason::Resolve(_) => Self::Resolve,
            CloseReason::Upgrade(error) => Self::of_upgrade(error),
            CloseReason::SubprotocolMissing => Self::SubprotocolMissing,
            CloseReason::Ready(_) => Self::Ready,
            CloseReason::Provider(_) => Self::Provider,
            CloseReason::Timeout(_) => Self::Timeout,
        })
    }

    fn of_tls(kind: TlsErrorKind) -> Self {
        match kind {
            TlsErrorKind::Certificate(_) => Self::ServerCertificate,
            TlsErrorKind::ClientCertificate => Self::ClientCertificate,
            TlsErrorKind::Alert => Self::TlsAlert,
            TlsErrorKind::Protocol => Self::TlsProtocol,
            TlsErrorKind::NotConfigured => Self::TlsNotConfigured,
        }
    }

    fn of_upgrade(error: &UpgradeError) -> Self {
        match error {
            UpgradeError::Status(refusal) => Self::Status(refusal.status),
            UpgradeError::Eof { .. } => Self::Transport(TransportErrorKind::Eof),
            UpgradeError::NotHttp
            | UpgradeError::HeadTooBig { .. }
            | UpgradeError::LineTooLong { .. }
            | UpgradeError::TooManyHeaders { .. }
            | UpgradeError::TooManyInterim { .. }
            | UpgradeError::HttpVersion
            | UpgradeError::MissingUpgrade
            | UpgradeError::MissingConnection
            | UpgradeError::BadAccept
            | UpgradeError::UnofferedSubprotocol(_)
            | UpgradeError::UnofferedExtension(_)
            | UpgradeError::RepeatedExtension(_)
            | UpgradeError::MalformedExtensions(_)
            | UpgradeError::ExtensionParameter { .. }
            | UpgradeError::Malformed(_) => Self::MalformedUpgrade,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(code) => write!(f, "close {code}"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::MalformedUpgrade => f.write_str("wrong or malformed upgrade response"),
            Self::SubprotocolMissing => f.write_str("required subprotocol refused"),
            Self::Protocol => f.write_str("protocol violation by the server"),
            Self::InvalidMessages => f.write_str("too many invalid messages"),
            Self::Transport(kind) => kind.fmt(f),
            Self::ServerCertificate => f.write_str("server certificate not trusted"),
            Self::ClientCertificate => f.write_str("client certificate asked for or refused"),
            Self::TlsAlert => f.write_str("TLS refused with another alert"),
            Self::TlsProtocol => f.write_str("no TLS, or broken TLS"),
            Self::TlsNotConfigured => f.write_str("wss without a TLS configuration"),
            Self::Resolve => f.write_str("host not resolved"),
            Self::Ready => f.write_str("ready script refused"),
            Self::Provider => f.write_str("request provider failed"),
            Self::Timeout => f.write_str("deadline passed, at any stage"),
        }
    }
}

/// The class of an end, and what the server asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Classified {
    /// What follows.
    pub class: Class,
    /// The server's wish.
    pub hint: Hint,
    /// What a strike is counted under.
    pub cause: Cause,
}

/// Finds the first row of the [`table`] that fits an end.
///
/// `None` if the application itself wanted the end ([`CloseReason::Local`]): there is nothing to decide.
pub fn classify(reason: &CloseReason, overrides: &ClassificationSettings) -> Option<Classified> {
    let cause = Cause::of(reason)?;
    let row = table(overrides)
        .find(|row| row.what.includes(cause))
        .expect("the table's last rows fit every close code and status, and the others are listed");
    Some(Classified {
        class: row.class,
        hint: Hint::of(reason),
        cause,
    })
}

#[cfg(test)]
mod tests;
