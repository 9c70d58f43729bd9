//! Frames as a client sends them: masked, unfragmented, with the shortest length (RFC 6455 §5).

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{CONTROL_BYTES_MAX, CloseFrame, REASON_BYTES_MAX, mask_append, untrusted};
use crate::message::Kind;

/// The first byte's bit of a frame that ends its message, and the second's of one that is masked (RFC 6455 §5.2).
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The first byte's bit of a message that is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;

/// What a frame carries. Continuations are missing: a message leaves in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping (RFC 6455 §5.5.2).
    Ping,
    /// A pong (RFC 6455 §5.5.3).
    Pong,
    /// A close frame (RFC 6455 §5.5.1).
    Close,
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
            Opcode::Close => Self::Control(Control::Close),
        }
    }
}

impl Opcode {
    const fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

/// Appends one whole frame to `out`.
///
/// The mask must be fresh and unpredictable (RFC 6455 §10.3).
///
/// # Panics
///
/// If the payload of a control frame has more than 125 bytes (RFC 6455 §5.5).
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    encode_header(out, opcode, payload.len() as u64, mask);
    mask_append(out, payload, mask, 0);
}

/// Appends the header of a frame whose payload, `payload_len` bytes, follows by
/// [`mask_append`](super::mask_append) with the same mask.
///
/// # Panics
///
/// If the frame is a control frame and `payload_len` is more than 125 (RFC 6455 §5.5).
#[inline]
pub fn encode_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: u64, mask: [u8; 4]) {
    assert!(
        !opcode.is_control() || payload_len <= CONTROL_BYTES_MAX as u64,
        "a control frame's payload is checked or cut before it is encoded"
    );
    let first = FINAL | u8::from(OpCode::from(opcode));
    if !encode_short_header(out, first, payload_len, mask) {
        encode_long_header(out, &header(opcode, mask), payload_len);
    }
}

/// Nearly all there is, by hand; whether it was that. The rest is rare and long.
#[inline]
fn encode_short_header(out: &mut Vec<u8>, first: u8, payload_len: u64, mask: [u8; 4]) -> bool {
    let [a, b, c, d] = mask;
    match u16::try_from(payload_len) {
        Ok(len @ 0..126) => {
            let [_, len] = len.to_be_bytes();
            out.extend_from_slice(&[first, MASKED | len, a, b, c, d]);
        }
        Ok(len) => {
            let [high, low] = len.to_be_bytes();
            out.extend_from_slice(&[first, MASKED | 126, high, low, a, b, c, d]);
        }
        Err(_) => return false,
    }
    true
}

#[cold]
fn encode_long_header(out: &mut Vec<u8>, header: &FrameHeader, payload_len: u64) {
    header
        .format(payload_len, out)
        .expect("writing to a Vec does not fail");
}

/// Like [`encode_header`], for a message whose payload was compressed: RSV1 says so (RFC 7692 §6.1).
/// Control frames cannot be compressed, so this takes no opcode.
#[inline]
pub fn encode_compressed_header(out: &mut Vec<u8>, kind: Kind, payload_len: u64, mask: [u8; 4]) {
    let opcode = Opcode::from(kind);
    let first = FINAL | COMPRESSED | u8::from(OpCode::from(opcode));
    if !encode_short_header(out, first, payload_len, mask) {
        let header = FrameHeader {
            rsv1: true,
            ..header(opcode, mask)
        };
        encode_long_header(out, &header, payload_len);
    }
}

/// The size on the wire of a masked frame with a payload of `payload_len` bytes, header included.
pub fn frame_len(payload_len: usize) -> u64 {
    let payload_len = payload_len as u64;
    header(Opcode::Binary, [0; 4]).len(payload_len) as u64 + payload_len
}

/// The payload of a close frame: code and reason, or nothing (RFC 6455 §5.5.1).
///
/// A reason is cut, between characters, to what fits. A code that
/// [may not be sent](super::CloseCode::may_be_sent) gives an empty payload: such codes stand for the
/// absence of one.
pub fn close_payload(frame: Option<&CloseFrame>) -> Vec<u8> {
    let Some(frame) = frame.filter(|frame| frame.code.may_be_sent()) else {
        return Vec::new();
    };
    let reason = untrusted::prefix(&frame.reason, REASON_BYTES_MAX);
    let code = frame.code.as_u16().to_be_bytes();
    [&code, reason.as_bytes()].concat()
}

fn header(opcode: Opcode, mask: [u8; 4]) -> FrameHeader {
    FrameHeader {
        is_final: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: opcode.into(),
        mask: Some(mask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::CloseCode;

    #[test]
    fn the_masked_hello_of_the_specification_is_reproduced() {
        let mut out = Vec::new();
        encode_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        let expected = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn the_length_takes_its_shortest_form_and_is_counted_exactly() {
        for (len, header_len) in [
            (0, 6),
            (1, 6),
            (125, 6),
            (126, 8),
            (127, 8),
            (65_535, 8),
            (65_536, 14),
        ] {
            let mut out = Vec::new();
            encode_frame(&mut out, Opcode::Binary, &vec![0; len], [1, 2, 3, 4]);
            assert_eq!(out.len(), len + header_len, "{len}");
            assert_eq!(frame_len(len), out.len() as u64, "{len}");
            for kind in [Kind::Text, Kind::Binary] {
                for rsv1 in [false, true] {
                    let (mut out, mut theirs) = (Vec::new(), Vec::new());
                    match rsv1 {
                        false => encode_header(&mut out, kind.into(), len as u64, [1, 2, 3, 4]),
                        true => encode_compressed_header(&mut out, kind, len as u64, [1, 2, 3, 4]),
                    }
                    let header = FrameHeader {
                        rsv1,
                        ..header(kind.into(), [1, 2, 3, 4])
                    };
                    header.format(len as u64, &mut theirs).unwrap();
                    assert_eq!(out, theirs, "{len}");
                }
            }
        }
    }

    #[test]
    fn a_close_payload_fits_a_control_frame_and_never_carries_a_reserved_code() {
        let long = CloseFrame {
            code: CloseCode::POLICY,
            reason: "é".repeat(100).into(),
        };
        let payload = close_payload(Some(&long));
        assert_eq!(&payload[..2], &[0x03, 0xf0]);
        assert_eq!(&payload[2..], "é".repeat(61).as_bytes());

        assert!(close_payload(None).is_empty());
        for number in 0..=u16::MAX {
            let code = CloseCode::from_u16(number);
            let payload = close_payload(Some(&CloseFrame::new(code, "x")));
            assert_eq!(payload.is_empty(), !code.may_be_sent(), "{number}");
        }
    }

    #[test]
    #[should_panic(expected = "control frame")]
    fn an_oversized_control_frame_is_never_encoded() {
        encode_frame(&mut Vec::new(), Opcode::Ping, &[0; 126], [0; 4]);
    }
}
