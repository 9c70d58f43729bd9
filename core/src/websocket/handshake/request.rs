//! The opening request (RFC 6455 §4.1).

use std::fmt;

use super::HandshakeKey;
use super::extensions::is_token_byte;
use crate::websocket::deflate::Offer;

/// Headers that the handshake itself writes, or that would change where the request ends.
const RESERVED: [&str; 10] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
    "content-length",
    "transfer-encoding",
];

/// What an opening request says. `Debug` shows neither the query nor the values of headers.
#[derive(Clone, Copy)]
pub struct UpgradeRequest<'a> {
    /// The host, with the port unless it is the scheme's default; an IPv6 address in brackets.
    pub host: &'a str,
    /// The path, which starts with `/`, and the query if there is one.
    pub path_and_query: &'a str,
    /// Further headers, each of which has passed [`check_header`].
    pub headers: &'a [(Box<str>, Box<str>)],
    /// Subprotocols in order of preference, which have passed [`check_subprotocols`].
    pub subprotocols: &'a [Box<str>],
    /// What is offered of compression, if anything (RFC 7692).
    pub deflate: Option<Offer>,
}

impl fmt::Debug for UpgradeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("UpgradeRequest")
            .field("host", &self.host)
            .field("path", &path)
            .field("headers", &headers)
            .field("subprotocols", &self.subprotocols)
            .field("deflate", &self.deflate)
            .finish()
    }
}

/// Why a header or a subprotocol cannot be sent. Says nothing of a header's value, which may be a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name of a header is empty.
    #[error("a header's name is empty")]
    EmptyName,
    /// The name has a character that no token has (RFC 9110 §5.6.2).
    #[error("the header name {name:?} has the character {character:?}")]
    InvalidName {
        /// The name.
        name: Box<str>,
        /// Its first such character.
        character: char,
    },
    /// The handshake writes this header itself.
    #[error("the header {0:?} is written by the handshake")]
    Reserved(Box<str>),
    /// The value has a control character, such as CR, LF or NUL.
    #[error("the value of the header {name:?} has the control character {character:?}")]
    InvalidValue {
        /// The header's name.
        name: Box<str>,
        /// The first control character of the value.
        character: char,
    },
    /// The value begins or ends with a space or tab, which would not arrive (RFC 9110 §5.5).
    #[error("the value of the header {0:?} begins or ends with a space")]
    SpaceAroundValue(Box<str>),
    /// A subprotocol is empty.
    #[error("a subprotocol is empty")]
    EmptySubprotocol,
    /// A subprotocol has a character that no token has (RFC 6455 §4.1).
    #[error("the subprotocol {name:?} has the character {character:?}")]
    InvalidSubprotocol {
        /// The subprotocol.
        name: Box<str>,
        /// Its first such character.
        character: char,
    },
    /// A subprotocol stands in the list twice (RFC 6455 §4.1).
    #[error("the subprotocol {0:?} stands in the list twice")]
    RepeatedSubprotocol(Box<str>),
}

/// Whether a header may be added to opening requests.
///
/// # Errors
///
/// A name that is no token or that the handshake writes itself; a value with control characters, or
/// with space around it.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    if name.is_empty() {
        return Err(HeaderError::EmptyName);
    }
    if let Some(character) = first_not_in_token(name) {
        let name = name.into();
        return Err(HeaderError::InvalidName { name, character });
    }
    if RESERVED.iter().any(|it| it.eq_ignore_ascii_case(name)) {
        return Err(HeaderError::Reserved(name.into()));
    }
    if let Some(character) = value.chars().find(|&c| c.is_ascii_control() && c != '\t') {
        let name = name.into();
        return Err(HeaderError::InvalidValue { name, character });
    }
    if value.trim_matches([' ', '\t']).len() < value.len() {
        return Err(HeaderError::SpaceAroundValue(name.into()));
    }
    Ok(())
}

/// Whether a subprotocol may be offered.
///
/// # Errors
///
/// A name that is empty or no token (RFC 6455 §4.1).
pub fn check_subprotocol(name: &str) -> Result<(), HeaderError> {
    if name.is_empty() {
        return Err(HeaderError::EmptySubprotocol);
    }
    if let Some(character) = first_not_in_token(name) {
        let name = name.into();
        return Err(HeaderError::InvalidSubprotocol { name, character });
    }
    Ok(())
}

/// Whether these subprotocols may be offered together.
///
/// # Errors
///
/// A name that is empty, no token, or in the list twice (RFC 6455 §4.1).
pub fn check_subprotocols<S: AsRef<str>>(names: &[S]) -> Result<(), HeaderError> {
    for (i, name) in names.iter().enumerate() {
        let name = name.as_ref();
        check_subprotocol(name)?;
        if names[..i].iter().any(|earlier| earlier.as_ref() == name) {
            return Err(HeaderError::RepeatedSubprotocol(name.into()));
        }
    }
    Ok(())
}

/// Appends the opening request to `out` and returns the key that it sent (RFC 6455 §4.1).
///
/// The nonce must be random and fresh for each attempt.
///
/// # Panics
///
/// If a part of the request would end its line early: the host, path, headers and subprotocols are
/// checked when the configuration is built.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &UpgradeRequest<'_>,
    nonce: [u8; 16],
) -> HandshakeKey {
    let UpgradeRequest {
        host,
        path_and_query,
        headers,
        subprotocols,
        deflate,
    } = *request;
    assert!(
        is_visible(host) && is_visible(path_and_query) && path_and_query.starts_with('/'),
        "a URL's host and path have no spaces and no control characters"
    );
    assert_eq!(check_subprotocols(subprotocols), Ok(()));
    let key = HandshakeKey::from_nonce(nonce);
    let mut put = |parts: &[&str]| out.extend(parts.iter().flat_map(|part| part.bytes()));
    put(&["GET ", path_and_query, " HTTP/1.1\r\nHost: ", host, "\r\n"]);
    put(&["Upgrade: websocket\r\nConnection: Upgrade\r\n"]);
    put(&["Sec-WebSocket-Key: ", key.as_str(), "\r\n"]);
    put(&["Sec-WebSocket-Version: 13\r\n"]);
    if !subprotocols.is_empty() {
        let offered = subprotocols.join(", ");
        put(&["Sec-WebSocket-Protocol: ", &offered, "\r\n"]);
    }
    if let Some(offer) = deflate {
        put(&["Sec-WebSocket-Extensions: ", &offer.to_string(), "\r\n"]);
    }
    for (name, value) in headers {
        assert_eq!(check_header(name, value), Ok(()));
        put(&[name, ": ", value, "\r\n"]);
    }
    put(&["\r\n"]);
    key
}

fn first_not_in_token(name: &str) -> Option<char> {
    let is_token = |c: char| u8::try_from(c).is_ok_and(is_token_byte);
    name.chars().find(|&c| !is_token(c))
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
