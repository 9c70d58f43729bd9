//! Headers of frames: tungstenite's parser, and the rules it does not check (RFC 6455 §5.2, §5.5).

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{CONTROL_BYTES_MAX, ProtocolError};
use crate::message::Kind;

/// The longest header without a mask, and a server's frame has none: two bytes and a 64-bit length.
pub(super) const HEADER_BYTES_MAX: usize = 10;

/// The longest header with a mask.
const MASKED_HEADER_BYTES_MAX: usize = HEADER_BYTES_MAX + 4;

/// The FIN bit and the opcode of a message in one frame, with no reserved bit (RFC 6455 §5.2).
const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;

/// A header whose first two bytes break no rule that a header can break by itself.
pub(super) struct Header {
    pub(super) frame_type: FrameType,
    pub(super) end: End,
    /// Size of the header and length of the payload, once all of the header has arrived.
    sizes: Option<(usize, u64)>,
    inner: FrameHeader,
}

/// What a frame is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameType {
    Start(Kind),
    Continuation,
    Control(ControlOpcode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlOpcode {
    Ping,
    Pong,
    Close,
}

/// Whether a data frame ends its message: the FIN bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    OfMessage,
    OfFragment,
}

/// Whether a message is compressed: RSV1 of its first frame (RFC 7692 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Compressed,
}

/// What a whole message that is neither cut nor fragmented, compressed or masked begins with: its kind, the length of its payload,
/// and what stands behind the header. `None` if the header is another, has not all arrived, or is longer than it need be.
#[inline]
pub(super) fn split_plain(bytes: &[u8]) -> Option<(Kind, usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let kind = match *first {
        FINAL_TEXT => Kind::Text,
        FINAL_BINARY => Kind::Binary,
        _ => return None,
    };
    let (second, rest) = rest.split_first()?;
    let (len, rest) = match *second {
        len @ ..=125 => (usize::from(len), rest),
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = usize::from(u16::from_be_bytes(*len));
            (Some(len).filter(|len| *len > 125)?, rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = usize::try_from(u64::from_be_bytes(*len)).ok()?;
            let is_minimal = len > usize::from(u16::MAX);
            (Some(len).filter(|len| is_minimal && len >> 63 == 0)?, rest)
        }
        128.. => return None,
    };
    Some((kind, len, rest))
}

impl Header {
    /// Parses the header at the start of `bytes`, which may say that a message is compressed if `allowed`
    /// does; `None` if there are less than two bytes. What is wrong with the first two is wrong at once,
    /// though the length be still to come.
    pub(super) fn parse(bytes: &[u8], allowed: Coding) -> Result<Option<Self>, ProtocolError> {
        if let [first, second, ..] = *bytes {
            let mut cursor = Cursor::new(bytes);
            if let Some((header, len)) = parse(&mut cursor, first)? {
                let size = usize::try_from(cursor.position()).expect("a header is short");
                return Self::check(header, allowed, Some((size, len))).map(Some);
            }
            let mut padded = [0; MASKED_HEADER_BYTES_MAX];
            padded[..2].copy_from_slice(&[first, second]);
            let (header, _) = parse(&mut Cursor::new(&padded[..]), first)?
                .expect("the buffer holds the longest header");
            return Self::check(header, allowed, None).map(Some);
        }
        Ok(None)
    }

    /// Size of the header and length of the payload; `None` if part of the header has not arrived.
    pub(super) fn sizes(&self) -> Result<Option<(usize, u64)>, ProtocolError> {
        let Some((size, len)) = self.sizes else {
            return Ok(None);
        };
        if len >> 63 != 0 {
            return Err(ProtocolError::LengthOutOfRange);
        }
        if size != self.inner.len(len) {
            return Err(ProtocolError::NonMinimalLength);
        }
        let is_control = matches!(self.frame_type, FrameType::Control(_));
        if is_control && len > CONTROL_BYTES_MAX as u64 {
            return Err(ProtocolError::OversizedControl(len));
        }
        Ok(Some((size, len)))
    }

    /// Whether the message that starts here is compressed.
    pub(super) fn coding(&self) -> Coding {
        match self.inner.rsv1 {
            true => Coding::Compressed,
            false => Coding::Plain,
        }
    }

    /// The one place where an extension allows a reserved bit, and that on the first frame of a data
    /// message only (RFC 6455 §5.2, RFC 7692 §6).
    fn check(
        inner: FrameHeader,
        allowed: Coding,
        sizes: Option<(usize, u64)>,
    ) -> Result<Self, ProtocolError> {
        if inner.rsv1 || inner.rsv2 || inner.rsv3 {
            let is_start = matches!(inner.opcode, OpCode::Data(Data::Text | Data::Binary));
            let is_allowed = allowed == Coding::Compressed && is_start;
            if !is_allowed || inner.rsv2 || inner.rsv3 {
                return Err(ProtocolError::ReservedBits);
            }
        }
        if inner.mask.is_some() {
            return Err(ProtocolError::MaskedFrame);
        }
        let end = if inner.is_final {
            End::OfMessage
        } else {
            End::OfFragment
        };
        let frame_type = frame_type(inner.opcode)?;
        if matches!(frame_type, FrameType::Control(_)) && end == End::OfFragment {
            return Err(ProtocolError::FragmentedControl);
        }
        Ok(Self {
            frame_type,
            end,
            sizes,
            inner,
        })
    }
}

fn parse(
    cursor: &mut Cursor<&[u8]>,
    first: u8,
) -> Result<Option<(FrameHeader, u64)>, ProtocolError> {
    // Reading from a slice cannot fail, so the one error left is an opcode that does not exist.
    FrameHeader::parse(cursor).map_err(|_| ProtocolError::ReservedOpcode(first & 0x0f))
}

fn frame_type(opcode: OpCode) -> Result<FrameType, ProtocolError> {
    Ok(match opcode {
        OpCode::Data(Data::Text) => FrameType::Start(Kind::Text),
        OpCode::Data(Data::Binary) => FrameType::Start(Kind::Binary),
        OpCode::Data(Data::Continue) => FrameType::Continuation,
        OpCode::Control(Control::Ping) => FrameType::Control(ControlOpcode::Ping),
        OpCode::Control(Control::Pong) => FrameType::Control(ControlOpcode::Pong),
        OpCode::Control(Control::Close) => FrameType::Control(ControlOpcode::Close),
        OpCode::Data(Data::Reserved(opcode)) | OpCode::Control(Control::Reserved(opcode)) => {
            return Err(ProtocolError::ReservedOpcode(opcode));
        }
    })
}
