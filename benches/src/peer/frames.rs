//! Frames as the peer writes and reads them, without a library: it must cost little.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Whether a message is compressed (RFC 7692 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    No,
    Yes,
}

/// Appends an unmasked frame with a text message.
pub(super) fn append_text(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, payload, OpCode::Data(Data::Text), Compressed::No);
}

/// Appends an unmasked frame with a text message that was compressed.
pub(super) fn append_compressed(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, payload, OpCode::Data(Data::Text), Compressed::Yes);
}

fn append(out: &mut Vec<u8>, payload: &[u8], opcode: OpCode, compressed: Compressed) {
    let header = FrameHeader {
        opcode,
        rsv1: compressed == Compressed::Yes,
        ..FrameHeader::default()
    };
    header
        .format(payload.len() as u64, out)
        .expect("a vector takes everything");
    out.extend_from_slice(payload);
}

/// Reads masked frames out of a stream of bytes that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Where the first byte is that was not read.
    at: usize,
    /// How many bytes the frames had that were read.
    frame_bytes: u64,
    /// The answers to the pings among them.
    pongs: Vec<u8>,
}

impl Reader {
    /// The buffer for the next piece, behind what is left of the last.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.at);
        self.at = 0;
        &mut self.bytes
    }

    /// How many bytes the frames had that were read so far.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// The answers to the pings so far, for whoever sends them.
    pub(super) fn take_pongs(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pongs)
    }

    /// The next data message, unmasked in place; `None` if more bytes are needed. Fragments and control frames are passed
    /// over: the contestants are not asked for any. A ping's answer is kept.
    pub(super) fn next(&mut self) -> Option<(&[u8], Compressed)> {
        loop {
            let mut cursor = std::io::Cursor::new(&self.bytes[self.at..]);
            let (header, len) = FrameHeader::parse(&mut cursor).ok()??;
            let header_len = usize::try_from(cursor.position()).ok()?;
            let start = self.at + header_len;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            if end > self.bytes.len() {
                return None;
            }
            self.at = end;
            self.frame_bytes += (header_len as u64).saturating_add(len);
            let payload = &mut self.bytes[start..end];
            for (byte, mask) in payload.iter_mut().zip(header.mask?.iter().cycle()) {
                *byte ^= mask;
            }
            if header.opcode == OpCode::Control(Control::Ping) {
                let pong = OpCode::Control(Control::Pong);
                append(&mut self.pongs, payload, pong, Compressed::No);
            }
            if header.opcode == OpCode::Data(Data::Text) && header.is_final {
                let compressed = match header.rsv1 {
                    true => Compressed::Yes,
                    false => Compressed::No,
                };
                return Some((&self.bytes[start..end], compressed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a client, whose mask is zero.
    fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            opcode,
            mask: Some([0; 4]),
            ..FrameHeader::default()
        };
        let mut out = Vec::new();
        header
            .format(payload.len() as u64, &mut out)
            .expect("a vector takes everything");
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn a_ping_between_messages_is_answered_and_all_frames_are_counted() {
        let mut reader = Reader::default();
        let buffer = reader.buffer();
        buffer.extend_from_slice(&masked(OpCode::Data(Data::Text), b"one"));
        buffer.extend_from_slice(&masked(OpCode::Control(Control::Ping), b"alive"));
        buffer.extend_from_slice(&masked(OpCode::Data(Data::Text), b"two"));
        assert_eq!(reader.next(), Some((&b"one"[..], Compressed::No)));
        assert_eq!(reader.next(), Some((&b"two"[..], Compressed::No)));
        assert_eq!(reader.next(), None);
        assert_eq!(reader.take_pongs(), b"\x8a\x05alive");
        assert_eq!(reader.frame_bytes(), 9 + 11 + 9);
    }
}
