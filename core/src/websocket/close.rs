//! Close codes and the payload of close frames (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::{ProtocolError, untrusted};

/// The most bytes that the reason of a close frame can have: a control frame's 125 less the code's two.
pub const REASON_BYTES_MAX: usize = super::CONTROL_BYTES_MAX - 2;

/// A close code (RFC 6455 §7.4).
///
/// Any number can be held, because the codes that never stand in a frame still name ends:
/// [`NO_STATUS`](Self::NO_STATUS), [`ABNORMAL`](Self::ABNORMAL) and [`TLS`](Self::TLS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away, such as a server that shuts down.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: a close frame without a code; never sent (RFC 6455 §7.4.1).
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame; never sent (RFC 6455 §7.4.1).
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the endpoint's policy forbids the message.
    pub const POLICY: Self = Self(1008);
    /// 1009: the message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client wanted an extension that the server did not agree to.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met a condition that it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway had a bad answer from behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed; never sent (RFC 6455 §7.4.1).
    pub const TLS: Self = Self(1015);

    /// The code with this number, whether or not a frame may carry it.
    pub const fn from_u16(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a server's close frame may carry the code; one that may not is a protocol violation
    /// ([`ProtocolError::InvalidCloseCode`], RFC 6455 §7.4).
    pub const fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether our close frame may carry the code: the same set, since what one side of this
    /// protocol may put on the wire the other must accept.
    pub const fn may_be_sent(self) -> bool {
        self.may_be_received()
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code and the reason of a close frame.
///
/// A received reason is untrusted text; `Display` escapes what could steer a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection is closed.
    pub code: CloseCode,
    /// Text for people, at most [`REASON_BYTES_MAX`] bytes; more is cut off when it is sent.
    pub reason: Box<str>,
}

impl CloseFrame {
    /// A frame with the first [`REASON_BYTES_MAX`] bytes of `reason`, cut between characters.
    pub fn new(code: CloseCode, reason: &str) -> Self {
        Self {
            code,
            reason: untrusted::prefix(reason, REASON_BYTES_MAX).into(),
        }
    }
}

impl CloseFrame {
    /// Parses the payload of a received close frame (RFC 6455 §5.5.1).
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::InvalidClosePayload),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let code = CloseCode::from_u16(code);
        if !code.may_be_received() {
            return Err(ProtocolError::InvalidCloseCode(code.as_u16()));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        let reason = reason.into();
        Ok(Some(Self { code, reason }))
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if self.reason.is_empty() {
            return Ok(());
        }
        f.write_str(" \"")?;
        untrusted::write_escaped(f, &self.reason)?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_on_the_wire_are_the_registered_ranges_for_all_numbers() {
        for number in 0..=u16::MAX {
            let code = CloseCode::from_u16(number);
            let reserved = [1004, 1005, 1006].contains(&number);
            let expected =
                (1000..=1014).contains(&number) && !reserved || (3000..5000).contains(&number);
            assert_eq!(code.may_be_received(), expected, "{number}");
            assert_eq!(code.may_be_sent(), expected, "{number}");
            assert_eq!(code.as_u16(), number);
        }
    }

    #[test]
    fn a_reason_is_escaped_when_shown() {
        let frame = CloseFrame::new(CloseCode::POLICY, "slow \u{1b}[31mdown\n");
        assert_eq!(frame.to_string(), r#"1008 "slow \u{1b}[31mdown\n""#);
        assert_eq!(CloseFrame::new(CloseCode::NORMAL, "").to_string(), "1000");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = CloseFrame::new(CloseCode::NORMAL, &"é".repeat(200));
        assert_eq!(&*frame.reason, "é".repeat(61));
    }
}
