//! permessage-deflate (RFC 7692), the server's side.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What ends the data of every message and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The payload of a message that refers to no other one.
pub(super) fn compress(message: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::default(), false);
    let mut payload = Vec::with_capacity(message.len() + 1_024);
    state
        .compress_vec(message, &mut payload, FlushCompress::Sync)
        .expect("a fresh compressor takes everything");
    assert!(payload.ends_with(&TAIL), "there was room for all of it");
    payload.truncate(payload.len() - TAIL.len());
    payload
}

/// What a contestant has compressed, each message after the last.
pub(super) struct Inflater {
    state: Decompress,
    data: Vec<u8>,
    message: Vec<u8>,
}

impl Inflater {
    /// `bytes` is how long a message is.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            state: Decompress::new(false),
            data: Vec::new(),
            message: Vec::with_capacity(bytes + 64),
        }
    }

    /// The message of this payload.
    pub(super) fn inflate(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        self.data.clear();
        self.data.extend_from_slice(payload);
        self.data.extend_from_slice(&TAIL);
        self.message.clear();
        let before = self.state.total_in();
        self.state
            .decompress_vec(&self.data, &mut self.message, FlushDecompress::Sync)?;
        if self.state.total_in() - before < self.data.len() as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::quotes;

    #[test]
    fn what_was_compressed_comes_back_again_and_again() {
        let message = quotes(1_024);
        let payload = compress(&message);
        assert!(payload.len() < message.len() / 2, "it is worth it");
        let mut inflater = Inflater::new(message.len());
        for _ in 0..3 {
            assert_eq!(inflater.inflate(&payload).expect("it is whole"), message);
        }
    }
}
