//! Compressed messages of either side (RFC 7692), decompressed without the core.

use flate2::{Decompress, FlushDecompress, Status};

/// What ends each message's data and is not sent (§7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// One direction of a socket on which compression was agreed.
#[derive(Debug)]
pub(crate) struct Inflater {
    state: Decompress,
    context: Context,
}

/// Whether a message may refer to those before it (§7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    TakenOver,
    PerMessage,
}

impl Inflater {
    /// For a direction of which the server's answer says so much, if it agrees to compression at all. `forgets` is the
    /// parameter by which that direction's context is given up.
    pub(crate) fn agreed(answer: &[u8], forgets: &str) -> Option<Self> {
        let answer = String::from_utf8_lossy(answer);
        let context = match answer.contains(forgets) {
            true => Context::PerMessage,
            false => Context::TakenOver,
        };
        answer.contains("permessage-deflate").then(|| Self {
            state: Decompress::new(false),
            context,
        })
    }

    /// The message that this payload stands for.
    ///
    /// # Errors
    /// It stands for none.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let data = [payload, &TAIL].concat();
        let mut rest = &data[..];
        let mut message = Vec::new();
        loop {
            message.reserve(4 << 10);
            let taken = self.state.total_in();
            let status = self
                .state
                .decompress_vec(rest, &mut message, FlushDecompress::None)
                .map_err(|error| {
                    format!("data that do not decompress: {error} (RFC 7692 §7.2.2)")
                })?;
            rest = &rest[usize::try_from(self.state.total_in() - taken).unwrap_or(rest.len())..];
            if status == Status::StreamEnd {
                self.state.reset(false);
            } else if rest.is_empty() && message.len() < message.capacity() {
                break;
            }
        }
        if self.context == Context::PerMessage {
            self.state.reset(false);
        }
        Ok(message)
    }
}
