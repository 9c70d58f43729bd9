//! The head of a response: status line and headers, up to the empty line.

use tungstenite::handshake::client::Response;
use tungstenite::handshake::headers::MAX_HEADERS;
use tungstenite::handshake::machine::TryParse;

use super::{UpgradeError, UpgradeLimits};

/// The longest line, in bytes without its CRLF.
const LINE_BYTES_MAX: usize = 8 * 1024;

const START: &[u8] = b"HTTP/";

/// Collects a head and judges its bytes one by one, so that neither how the stream is cut nor how
/// slowly it arrives changes the verdict or the cost.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: Vec<u8>,
    line_start: usize,
    /// Lines that have ended, the status line among them.
    lines: usize,
}

/// Which HTTP/1 the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// Whether the byte just taken was the head's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Partial,
    Complete,
}

impl HeadReader {
    /// Takes bytes up to the end of the head: how many, or `None` if all were taken and the head has
    /// not ended. What is held never exceeds `limits.header_bytes_max`.
    pub(super) fn read(
        &mut self,
        limits: &UpgradeLimits,
        bytes: &[u8],
    ) -> Result<Option<usize>, UpgradeError> {
        for (i, &byte) in bytes.iter().enumerate() {
            match self.push(limits, byte)? {
                Head::Partial => {}
                Head::Complete => return Ok(Some(i + 1)),
            }
        }
        Ok(None)
    }

    /// Parses the complete head, and is ready for the next one.
    pub(super) fn parse(&mut self) -> Result<(Version, Response), UpgradeError> {
        let Self { mut bytes, .. } = std::mem::take(self);
        let minor = START.len() + 2;
        let version = match bytes.get(START.len()..=minor + 1) {
            Some(b"1.1 ") => Version::Http11,
            Some(b"1.0 ") => Version::Http10,
            _ => return Err(UpgradeError::HttpVersion),
        };
        // The parser refuses 1.0 before it has a status, but an old proxy's 503 is still a 503.
        bytes[minor] = b'1';
        match Response::try_parse(&bytes) {
            Ok(Some((size, response))) if size == bytes.len() => Ok((version, response)),
            Ok(_) | Err(_) => Err(UpgradeError::Malformed(
                "the status line or a header is not as HTTP writes it",
            )),
        }
    }

    /// How much of an unfinished head is held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn push(&mut self, limits: &UpgradeLimits, byte: u8) -> Result<Head, UpgradeError> {
        let at = self.bytes.len();
        if at >= limits.header_bytes_max {
            let max = limits.header_bytes_max;
            return Err(UpgradeError::HeadTooBig { max });
        }
        if START.get(at).is_some_and(|&expected| expected != byte) {
            return Err(UpgradeError::NotHttp);
        }
        match (self.bytes.last(), byte) {
            (Some(b'\r'), b'\n') => {
                self.bytes.push(byte);
                return self.end_line(limits);
            }
            (Some(b'\r'), _) => return Err(UpgradeError::Malformed("a CR without its LF")),
            (_, b'\n') => return Err(UpgradeError::Malformed("a LF without its CR")),
            (_, b'\0') => return Err(UpgradeError::Malformed("a NUL byte")),
            (_, b' ' | b'\t') if at == self.line_start => {
                return Err(UpgradeError::Malformed("a folded header line"));
            }
            (_, b'\r') => {}
            _ if at - self.line_start >= LINE_BYTES_MAX => {
                let max = LINE_BYTES_MAX;
                return Err(UpgradeError::LineTooLong { max });
            }
            _ => {}
        }
        self.bytes.push(byte);
        Ok(Head::Partial)
    }

    fn end_line(&mut self, limits: &UpgradeLimits) -> Result<Head, UpgradeError> {
        let len = self.bytes.len() - self.line_start;
        if len == b"\r\n".len() {
            return Ok(Head::Complete);
        }
        self.line_start = self.bytes.len();
        self.lines += 1;
        let max = limits.headers_max.min(MAX_HEADERS);
        // The first line is the status line.
        if self.lines - 1 > max {
            return Err(UpgradeError::TooManyHeaders { max });
        }
        Ok(Head::Partial)
    }
}
