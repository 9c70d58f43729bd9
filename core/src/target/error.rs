//! Why a target cannot be dialled.

use crate::websocket::HeaderError;

/// A target that cannot be dialled. URLs are shown without user info and query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The URL is not one that can be dialled.
    #[error("the URL `{url}` {problem}")]
    Url {
        /// The URL as it may be shown.
        url: Box<str>,
        /// What is wrong with it.
        problem: UrlProblem,
    },
    /// A header or subprotocol that cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A header was given twice. Where a header takes a list, its values belong in one, with commas.
    #[error("the header `{name}` was given twice")]
    RepeatedHeader {
        /// The header's name.
        name: Box<str>,
    },
    /// The URL's user info and an `Authorization` header both say who asks.
    #[error("the URL `{url}` has user info, and an `Authorization` header was given too")]
    TwoCredentials {
        /// The URL as it may be shown.
        url: Box<str>,
    },
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlProblem {
    /// There is no scheme.
    #[error("has no scheme: it must start with `ws://` or `wss://`")]
    NoScheme,
    /// The scheme is `wss`, and this crate was built without its feature `tls`.
    #[error("needs TLS (`wss`), which this program was built without: only `ws` is possible")]
    TlsNotSupported,
    /// The scheme is `wss`, and nothing says whom to trust.
    #[error("needs TLS (`wss`), and there is no TLS configuration")]
    TlsNotConfigured,
    /// The scheme is another one.
    #[error("has the scheme `{0}`: a WebSocket URL starts with `ws://` or `wss://`")]
    Scheme(Box<str>),
    /// There is no `//` between scheme and host.
    #[error("has no `//` with a host after its scheme")]
    NoAuthority,
    /// A character that has no place in any URL.
    #[error("has the character {0:?}: it must be percent-encoded or left out")]
    Character(char),
    /// A fragment, which names nothing in a WebSocket (RFC 6455 §3).
    #[error("has a fragment (`#`), which a WebSocket URL cannot have: write `%23` for a plain `#`")]
    Fragment,
    /// There is no host.
    #[error("has no host")]
    NoHost,
    /// The host is neither a domain name nor an address.
    #[error("has an impossible host ({0})")]
    Host(Box<str>),
    /// An IPv6 address with a zone.
    #[error(
        "has an IPv6 zone (`%`), which means something on one machine only and is not supported"
    )]
    Zone,
    /// The host is longer than a domain name can be.
    #[error("has a host of {bytes} bytes: a domain name has at most 253")]
    HostTooLong {
        /// Its length in bytes, as it would be looked up.
        bytes: usize,
    },
    /// A part of the host between dots is empty or longer than 63 bytes.
    #[error("has a host with a part between dots that is empty or longer than 63 bytes")]
    HostLabel,
    /// The port is no number from 1 to 65535.
    #[error("has an impossible port: it must be from 1 to 65535")]
    Port,
    /// User info that cannot be sent as basic credentials (RFC 7617 §2).
    #[error("has user info that cannot be sent: {0}")]
    UserInfo(&'static str),
    /// Anything else that a URL cannot be.
    #[error("is malformed ({0})")]
    Malformed(Box<str>),
}
