//! Frames and what they carry, without a connection.

use ropewalk_core::websocket::deflate::{
    Agreement, Context, Deflator, Inflator, WhenIdle, WindowBits,
};
use ropewalk_core::websocket::{Decoder, Item, Limits, Opcode, encode_frame};

use crate::peer::{compressed_frame, text_frame};
use crate::work::{letters, quotes};

/// A decoder, and frames for it.
pub struct Codec {
    decoder: Decoder,
    limits: Limits,
    payload: Vec<u8>,
    block: Vec<u8>,
    out: Vec<u8>,
}

impl Codec {
    /// So many text frames of so many bytes, one behind the other.
    pub fn new(bytes: usize, frames: usize) -> Self {
        let payload = letters(bytes);
        Self {
            decoder: Decoder::new(),
            limits: Limits::default(),
            block: text_frame(&payload).repeat(frames),
            payload,
            out: Vec::new(),
        }
    }

    /// Decodes all frames; returns how many bytes their messages had.
    ///
    /// # Panics
    /// If the decoder finds something wrong.
    pub fn decode(&mut self) -> usize {
        decode(&mut self.decoder, &self.limits, &self.block)
    }

    /// The same, in pieces of so many bytes, as a socket may bring them.
    ///
    /// # Panics
    /// If the decoder finds something wrong.
    pub fn decode_in_pieces(&mut self, of: usize) -> usize {
        let pieces = self.block.chunks(of);
        pieces
            .map(|piece| decode(&mut self.decoder, &self.limits, piece))
            .sum()
    }

    /// Writes so many frames; returns how many bytes they have.
    pub fn encode(&mut self, frames: usize) -> usize {
        self.out.clear();
        for _ in 0..frames {
            let mask = [0x9a, 0x3c, 0x51, 0xe7];
            encode_frame(&mut self.out, Opcode::Text, &self.payload, mask);
        }
        self.out.len()
    }
}

/// permessage-deflate in both directions (RFC 7692).
pub struct Compressed {
    decoder: Decoder,
    deflator: Deflator,
    limits: Limits,
    message: Vec<u8>,
    frame: Vec<u8>,
}

impl Compressed {
    /// With a message of so many bytes, and the library's defaults.
    pub fn new(bytes: usize) -> Self {
        let agreement = Agreement {
            server_context: Context::TakenOver,
            client_context: Context::TakenOver,
            server_window: WindowBits::MAX,
            client_window: WindowBits::MAX,
        };
        let message = quotes(bytes);
        Self {
            decoder: Decoder::inflating(Inflator::new(&agreement, None, WhenIdle::Keep)),
            deflator: Deflator::new(&agreement, 6, 64, WhenIdle::Keep),
            limits: Limits::default(),
            frame: compressed_frame(&message),
            message,
        }
    }

    /// Decodes and decompresses the message; returns how long it is.
    ///
    /// # Panics
    /// If the decoder finds something wrong.
    pub fn inflate(&mut self) -> usize {
        decode(&mut self.decoder, &self.limits, &self.frame)
    }

    /// Compresses the message, after what was compressed before; returns how long it becomes.
    pub fn deflate(&mut self) -> usize {
        self.deflator
            .compress(&self.message)
            .map_or(0, |payload| payload.len())
    }
}

fn decode(decoder: &mut Decoder, limits: &Limits, mut input: &[u8]) -> usize {
    let mut bytes = 0;
    while let Some(item) = decoder
        .next(limits, &mut input)
        .expect("the frames are sound")
    {
        if let Item::Message { payload, .. } = item {
            bytes += payload.len();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_is_measured_was_decoded() {
        let mut codec = Codec::new(128, 32);
        assert_eq!(codec.decode(), 128 * 32);
        assert_eq!(codec.decode_in_pieces(100), 128 * 32);
        assert_eq!(codec.encode(3), 3 * (2 + 2 + 4 + 128));
    }

    #[test]
    fn what_is_compressed_becomes_shorter_and_comes_back() {
        let mut compressed = Compressed::new(1_024);
        for _ in 0..3 {
            assert_eq!(compressed.inflate(), 1_024);
            assert!((1..512).contains(&compressed.deflate()));
        }
    }
}
