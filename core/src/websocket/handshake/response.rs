//! The server's answer to the opening request (RFC 6455 §4.1).

use tungstenite::handshake::client::Response;
use tungstenite::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use tungstenite::http::{HeaderMap, HeaderValue, StatusCode};

use super::error::QUOTE_BYTES_MAX;
use super::extensions::{Extension, parse_extensions};
use super::head::{HeadReader, Version};
use super::{HandshakeKey, Refusal, UpgradeError};
use crate::websocket::deflate::{Agreement, NAME, Offer};
use crate::websocket::untrusted;

/// How much a server may send before the first frame. Each limit is inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeLimits {
    /// Bytes of one response head, up to and with its empty line. Default 16 KiB. Up to so much is
    /// held while an answer is awaited.
    pub header_bytes_max: usize,
    /// Headers of one response. Default 100; more than 124 is taken as 124.
    pub headers_max: usize,
    /// Interim responses (1xx other than 101). Default 8.
    pub interim_max: u32,
}

impl Default for UpgradeLimits {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 * 1024,
            headers_max: 100,
            interim_max: 8,
        }
    }
}

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All were taken, and the response is not complete.
    NeedMore,
    /// The WebSocket is open.
    Done {
        /// How many of the bytes passed in belong to the response; frames begin behind them.
        consumed: usize,
        /// What the server chose.
        accepted: Accepted,
    },
}

/// What the server chose of what the request offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// One of the subprotocols offered, or none.
    pub subprotocol: Option<Box<str>>,
    /// What was agreed about compression, if it was offered and accepted (RFC 7692).
    pub deflate: Option<Agreement>,
}

/// Reads the response to one opening request, cut anywhere.
#[derive(Debug)]
pub struct ResponseReader {
    key: HandshakeKey,
    deflate: Option<Offer>,
    head: HeadReader,
    interim: u32,
}

impl ResponseReader {
    /// A reader of the response to the request that sent `key`.
    pub fn new(key: HandshakeKey) -> Self {
        Self {
            key,
            deflate: None,
            head: HeadReader::default(),
            interim: 0,
        }
    }

    /// The same for a request that made this offer of compression, or none.
    #[must_use]
    pub fn deflate(mut self, offer: Option<Offer>) -> Self {
        self.deflate = offer;
        self
    }

    /// Takes bytes of the response.
    ///
    /// `offered` are the subprotocols of the request. A response that refuses is reported as soon as
    /// its head is complete, with what has arrived of its body.
    ///
    /// # Errors
    ///
    /// Whatever makes the answer not an opened WebSocket, at the first byte that shows it. The reader
    /// has no use after an error, nor after [`Progress::Done`].
    pub fn read(
        &mut self,
        limits: &UpgradeLimits,
        offered: &[Box<str>],
        bytes: &[u8],
    ) -> Result<Progress, UpgradeError> {
        let mut rest = bytes;
        while let Some(size) = self.head.read(limits, rest)? {
            rest = &rest[size..];
            let (version, response) = self.head.parse()?;
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                let accepted = self.check(version, &response, offered)?;
                let consumed = bytes.len() - rest.len();
                return Ok(Progress::Done { consumed, accepted });
            }
            if !status.is_informational() {
                let refusal = Refusal::new(&response, rest);
                return Err(UpgradeError::Status(Box::new(refusal)));
            }
            self.interim += 1;
            if self.interim > limits.interim_max {
                let max = limits.interim_max;
                return Err(UpgradeError::TooManyInterim { max });
            }
        }
        Ok(Progress::NeedMore)
    }

    /// The peer ended the stream before the response was complete.
    pub fn end(self) -> UpgradeError {
        let bytes = self.head.len();
        UpgradeError::Eof { bytes }
    }

    /// The six rules of RFC 6455 §4.1 on a 101, in its order.
    fn check(
        &self,
        version: Version,
        response: &Response,
        offered: &[Box<str>],
    ) -> Result<Accepted, UpgradeError> {
        let headers = response.headers();
        if version != Version::Http11 {
            return Err(UpgradeError::HttpVersion);
        }
        check_ascii(headers)?;
        if !is_websocket(headers) {
            return Err(UpgradeError::MissingUpgrade);
        }
        if !has_connection_upgrade(headers) {
            return Err(UpgradeError::MissingConnection);
        }
        let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let is_answer = accepts
            .next()
            .is_some_and(|value| value.as_bytes() == self.key.accept().as_bytes());
        if !is_answer || accepts.next().is_some() {
            return Err(UpgradeError::BadAccept);
        }
        let deflate = agreed_deflate(headers, self.deflate)?;
        let subprotocol = selected_subprotocol(headers, offered)?;
        Ok(Accepted {
            subprotocol,
            deflate,
        })
    }
}

/// What is interpreted must be text, and all that these headers may say is ASCII (RFC 6455 §4.1, §8.1).
fn check_ascii(headers: &HeaderMap) -> Result<(), UpgradeError> {
    let interpreted = [
        UPGRADE,
        CONNECTION,
        SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_PROTOCOL,
    ];
    let mut values = interpreted.iter().flat_map(|name| headers.get_all(name));
    if values.all(|value| value.as_bytes().is_ascii()) {
        Ok(())
    } else {
        Err(UpgradeError::Malformed(
            "a header of the handshake is not ASCII",
        ))
    }
}

/// What the server accepted of the offer; it may accept nothing, and nothing that was not offered. It says
/// nothing by leaving the header out: several headers are one list, and a list names one extension at
/// least (RFC 6455 §9.1).
fn agreed_deflate(
    headers: &HeaderMap,
    offer: Option<Offer>,
) -> Result<Option<Agreement>, UpgradeError> {
    let quote = |text: &[u8]| untrusted::excerpt(text, QUOTE_BYTES_MAX);
    let mut agreed = None;
    let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    for value in &values {
        let extensions = parse_extensions(value.as_bytes())
            .map_err(|_| UpgradeError::MalformedExtensions(quote(value.as_bytes())))?;
        for extension in &extensions {
            let Extension { name, .. } = extension;
            let Some(offer) = offer.filter(|_| name == NAME) else {
                return Err(UpgradeError::UnofferedExtension(quote(name.as_bytes())));
            };
            if agreed.is_some() {
                return Err(UpgradeError::RepeatedExtension(quote(name.as_bytes())));
            }
            agreed = Some(offer.settle(extension)?);
        }
    }
    // What named an extension that was not agreed on has failed above.
    match (agreed, values.iter().next()) {
        (None, Some(value)) => Err(UpgradeError::MalformedExtensions(quote(value.as_bytes()))),
        (agreed, _) => Ok(agreed),
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter().peekable();
    values.peek().is_some()
        && values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn has_connection_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn selected_subprotocol(
    headers: &HeaderMap,
    offered: &[Box<str>],
) -> Result<Option<Box<str>>, UpgradeError> {
    let values: Vec<&[u8]> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let one_of = |value: &[u8]| offered.iter().find(|name| name.as_bytes() == value);
    match values[..] {
        [] => Ok(None),
        [value] if let Some(name) = one_of(value) => Ok(Some(name.clone())),
        _ => {
            let quote = untrusted::excerpt(&values.join(&b", "[..]), QUOTE_BYTES_MAX);
            Err(UpgradeError::UnofferedSubprotocol(quote))
        }
    }
}
