//! What a server can do wrong after the handshake.

use super::CloseCode;

/// A rule of RFC 6455, or a limit of ours, that the server broke.
///
/// The connection is failed (RFC 6455 §7.1.7): [`close_code`](Self::close_code) is what our close
/// frame says, and nothing more of the stream is parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set and no extension was negotiated that gives it a meaning there
    /// (RFC 6455 §5.2, RFC 7692 §6).
    #[error("a frame has a reserved bit set")]
    ReservedBits,
    /// An opcode of 3 to 7 or 11 to 15 (RFC 6455 §5.2).
    #[error("a frame has the reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A server's frame is masked (RFC 6455 §5.1).
    #[error("a frame from the server is masked")]
    MaskedFrame,
    /// A control frame without FIN (RFC 6455 §5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame that announces more than 125 bytes (RFC 6455 §5.5). Holds the announced size.
    #[error("a control frame announces {0} bytes, more than 125")]
    OversizedControl(u64),
    /// A continuation with no message to continue (RFC 6455 §5.4).
    #[error("a continuation frame continues no message")]
    UnexpectedContinuation,
    /// A new text or binary frame inside a fragmented message (RFC 6455 §5.4).
    #[error("a new message starts before the last one ended")]
    ExpectedContinuation,
    /// A length in more bytes than it needs (RFC 6455 §5.2).
    #[error("a frame's length is not in its shortest form")]
    NonMinimalLength,
    /// A 64-bit length with its highest bit set (RFC 6455 §5.2).
    #[error("a frame's length has its highest bit set")]
    LengthOutOfRange,
    /// A frame larger than [`Limits::frame_bytes_max`](super::Limits::frame_bytes_max).
    #[error("a frame announces {bytes} bytes, more than {max}")]
    FrameTooBig {
        /// What its header announces.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// A message larger than [`Limits::message_bytes_max`](super::Limits::message_bytes_max).
    #[error("a message has at least {bytes} bytes, more than {max}")]
    MessageTooBig {
        /// What has arrived and what the newest frame announces; or one more than the limit, if the message
        /// is compressed and becomes too big.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// A message of more frames than [`Limits::fragments_max`](super::Limits::fragments_max).
    #[error("a message has more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: u32,
    },
    /// A compressed message whose data are corrupt, do not end, or refer to what was not there
    /// (RFC 7692 §7.2.2).
    #[error("a compressed message cannot be decompressed")]
    InvalidDeflate,
    /// A compressed message that becomes more times longer than an
    /// [`Inflator`](super::deflate::Inflator) was told to accept.
    #[error("a compressed message becomes more than {max} times longer")]
    RatioTooHigh {
        /// The limit.
        max: u32,
    },
    /// Text that is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A close frame with a payload of one byte (RFC 6455 §5.5.1).
    #[error("a close frame has a payload of one byte")]
    InvalidClosePayload,
    /// A close code that must not stand in a frame (RFC 6455 §7.4).
    #[error("a close frame has the forbidden code {0}")]
    InvalidCloseCode(u16),
    /// A close reason that is not UTF-8 (RFC 6455 §5.5.1).
    #[error("the reason of a close frame is not UTF-8")]
    InvalidCloseReason,
}

impl ProtocolError {
    /// The code of the close frame that answers the violation.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::MaskedFrame
            | Self::FragmentedControl
            | Self::OversizedControl(_)
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::NonMinimalLength
            | Self::LengthOutOfRange
            | Self::InvalidClosePayload
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL,
            Self::InvalidDeflate | Self::InvalidUtf8 | Self::InvalidCloseReason => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::TooManyFragments { .. } => CloseCode::POLICY,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::RatioTooHigh { .. } => {
                CloseCode::TOO_BIG
            }
        }
    }
}
