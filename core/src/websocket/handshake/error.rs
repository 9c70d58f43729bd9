//! Why an opening handshake failed.

use super::Refusal;
use crate::websocket::deflate::ParameterProblem;
use crate::websocket::untrusted;

/// How much of a server's header is repeated in an error, in bytes before it is escaped.
pub(super) const QUOTE_BYTES_MAX: usize = 64;

/// Why the server's answer is not an opened WebSocket.
///
/// After any of these the socket is closed and no frame is ever sent or parsed (RFC 6455 §4.1). Text
/// from the server is bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// A final status other than 101.
    #[error("{0}")]
    Status(Box<Refusal>),
    /// What arrived does not begin like an HTTP response.
    #[error("the peer does not speak HTTP")]
    NotHttp,
    /// An HTTP version other than 1.1; for a final status other than 101, 1.0 is accepted.
    #[error("the response is not HTTP/1.1")]
    HttpVersion,
    /// A response head larger than [`UpgradeLimits::header_bytes_max`](super::UpgradeLimits::header_bytes_max).
    #[error("the response head has more than {max} bytes")]
    HeadTooBig {
        /// The limit.
        max: usize,
    },
    /// A line of more than 8 KiB.
    #[error("a line of the response head has more than {max} bytes")]
    LineTooLong {
        /// The limit.
        max: usize,
    },
    /// More headers than [`UpgradeLimits::headers_max`](super::UpgradeLimits::headers_max).
    #[error("the response has more than {max} headers")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// More interim responses than [`UpgradeLimits::interim_max`](super::UpgradeLimits::interim_max).
    #[error("the server sent more than {max} interim responses")]
    TooManyInterim {
        /// The limit.
        max: u32,
    },
    /// The head breaks the syntax of HTTP (RFC 9112), or a header that is interpreted is not ASCII
    /// (RFC 6455 §8.1). Says how.
    #[error("malformed response: {0}")]
    Malformed(&'static str),
    /// A 101 without `Upgrade: websocket` (RFC 6455 §4.1).
    #[error("the response has no \"Upgrade: websocket\"")]
    MissingUpgrade,
    /// A 101 without `Connection: Upgrade` (RFC 6455 §4.1).
    #[error("the response has no \"Connection: Upgrade\"")]
    MissingConnection,
    /// A 101 whose `Sec-WebSocket-Accept` is missing, repeated or does not answer our key
    /// (RFC 6455 §4.1).
    #[error("the response does not answer our Sec-WebSocket-Key")]
    BadAccept,
    /// A 101 that selects a subprotocol which was not offered, or several (RFC 6455 §4.1).
    #[error("the server selected the subprotocol \"{0}\", which was not offered")]
    UnofferedSubprotocol(Box<str>),
    /// A 101 that selects an extension which was not offered (RFC 6455 §4.1).
    #[error("the server selected the extension \"{0}\", which was not offered")]
    UnofferedExtension(Box<str>),
    /// A 101 that selects the same extension twice, which leaves open what was agreed (RFC 7692 §5).
    #[error("the server selected the extension \"{0}\" twice")]
    RepeatedExtension(Box<str>),
    /// A 101 whose `Sec-WebSocket-Extensions` breaks its grammar or names no extension (RFC 6455 §9.1).
    #[error("the server's list of extensions is malformed: \"{0}\"")]
    MalformedExtensions(Box<str>),
    /// A 101 that accepts permessage-deflate with a parameter that is wrong or was not offered
    /// (RFC 7692 §7.1).
    #[error("the parameter \"{parameter}\" of permessage-deflate {problem}")]
    ExtensionParameter {
        /// Its name.
        parameter: Box<str>,
        /// What is wrong with it.
        problem: ParameterProblem,
    },
    /// The stream ended before the response was complete.
    #[error("the stream ended after {bytes} bytes of the response head")]
    Eof {
        /// How much of the head had arrived.
        bytes: usize,
    },
}

impl UpgradeError {
    pub(in crate::websocket) fn bad_parameter(name: &str, problem: ParameterProblem) -> Self {
        Self::ExtensionParameter {
            parameter: untrusted::excerpt(name.as_bytes(), QUOTE_BYTES_MAX),
            problem,
        }
    }
}
