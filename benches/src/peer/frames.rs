//! Frames as the peer writes and reads them, without a library: it must cost little.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Whether a message is compressed (RFC 7692 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    No,
    Yes,
}

/// Appends an unmasked frame with a text message.
pub(super) fn append_text(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, payload, Compressed::No);
}

/// Appends an unmasked frame with a text message that was compressed.
pub(super) fn append_compressed(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, payload, Compressed::Yes);
}

fn append(out: &mut Vec<u8>, payload: &[u8], compressed: Compressed) {
    let header = FrameHeader {
        opcode: OpCode::Data(Data::Text),
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
}

impl Reader {
    /// The buffer for the next piece, behind what is left of the last.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.at);
        self.at = 0;
        &mut self.bytes
    }

    /// The next data message, unmasked in place; `None` if more bytes are needed. Fragments and control frames are passed
    /// over: the contestants are not asked for any.
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
            if header.opcode == OpCode::Data(Data::Text) && header.is_final {
                let compressed = match header.rsv1 {
                    true => Compressed::Yes,
                    false => Compressed::No,
                };
                let payload = &mut self.bytes[start..end];
                for (byte, mask) in payload.iter_mut().zip(header.mask?.iter().cycle()) {
                    *byte ^= mask;
                }
                return Some((&self.bytes[start..end], compressed));
            }
        }
    }
}
