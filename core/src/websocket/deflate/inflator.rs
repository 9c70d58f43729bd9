//! Decompression of received messages (RFC 7692 §7.2.2).

use std::num::NonZeroU32;

use flate2::{Decompress, FlushDecompress, Status};

use super::{Agreement, Context, TAIL, WhenIdle, WindowBits};
use crate::websocket::ProtocolError;

/// What an inflator's state is charged, in bytes, while it exists: a window of 32 KiB and its tables.
pub const INFLATOR_BYTES: usize = 48 * 1024;

/// Messages of up to this many bytes are not judged by their ratio: one that repeats an earlier one
/// compresses to next to nothing, and harms nobody.
const RATIO_FREE_BYTES: usize = 64 * 1024;

/// The least room, and the most to begin with, that is made for output, in bytes.
const ROOM_MIN: usize = 512;
const ROOM_FIRST_MAX: usize = 64 * 1024;

/// What the peer left out, and further empty stored blocks. They change nothing where a message may end.
/// Anywhere else these bits mean something else, and output or an error comes of them: at the latest when
/// they have completed the longest description of codes that a block can begin with, of 4,424 bits
/// (RFC 1951 §3.2.7).
const END: [u8; END_LONG] = {
    let mut end = [0; END_LONG];
    let mut at = 0;
    while at < END_LONG {
        // Every block is its type, one byte with the padding, and what `TAIL` is: the first lacks its type.
        end[at] = if at % 5 < 4 { TAIL[at % 5] } else { 0 };
        at += 1;
    }
    end
};
const END_LONG: usize = 4 + 110 * 5;

/// Enough of [`END`] for a short message that does not begin with a description of codes.
const END_SHORT: usize = 4 + 5;

/// A message of fewer bytes is short; for others the long end costs little beside the rest.
const SHORT_BYTES: u64 = 1024;

/// The decompressing part of a [`Decoder`](crate::websocket::Decoder).
///
/// Its state, [`INFLATOR_BYTES`], is made when the first compressed message arrives. It is needed as
/// long as later messages may refer to earlier ones; where they may not, it is freed between messages
/// if that is wanted.
#[derive(Debug)]
pub struct Inflator {
    state: Option<Decompress>,
    context: Context,
    when_idle: WhenIdle,
    ratio_max: Option<NonZeroU32>,
    /// Compressed bytes of the message so far, by the headers of its frames; `None` between messages
    /// and in one that is not compressed.
    announced: Option<u64>,
    /// The first byte of the compressed message, which has the type of its first block.
    first: Option<u8>,
}

impl Inflator {
    /// An inflator of what the server sends under `agreement`.
    ///
    /// A message may have `ratio_max` times the bytes that its frames announce; up to 64 KiB are
    /// always accepted. `None` is no such limit. `when_idle` says what happens to the state between
    /// messages that do not refer to each other.
    pub fn new(agreement: &Agreement, ratio_max: Option<NonZeroU32>, when_idle: WhenIdle) -> Self {
        Self {
            state: None,
            context: agreement.server_context,
            when_idle,
            ratio_max,
            announced: None,
            first: None,
        }
    }

    /// A compressed message begins.
    pub(in crate::websocket) fn begin(&mut self) {
        self.announced = Some(0);
    }

    /// A frame of the message brings `len` bytes. Nothing happens if the message is not compressed.
    pub(in crate::websocket) fn announce(&mut self, len: u64) {
        if let Some(announced) = &mut self.announced {
            *announced = announced.saturating_add(len);
        }
    }

    /// Decompresses `input` to the end of `message`, within the limits, and has `check` look at the
    /// message after each step that made it longer by so many bytes.
    ///
    /// What is wrong first is what is reported, however the stream is cut: the allowance does not
    /// depend on what has arrived but on what was announced.
    pub(in crate::websocket) fn inflate(
        &mut self,
        mut input: &[u8],
        message: &mut Vec<u8>,
        message_bytes_max: usize,
        mut check: impl FnMut(&[u8], usize) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let Some(&first) = input.first() else {
            return Ok(());
        };
        self.first.get_or_insert(first);
        let limit = self.limit(message_bytes_max);
        let state = self.state.get_or_insert_with(new_state);
        loop {
            let (taken_before, made_before) = (state.total_in(), state.total_out());
            let len_before = message.len();
            let mut beyond = [0];
            let result = if len_before < limit {
                make_room(message, input.len(), limit);
                state.decompress_vec(input, message, FlushDecompress::None)
            } else {
                state.decompress(input, &mut beyond, FlushDecompress::None)
            };
            let taken = count(state.total_in() - taken_before);
            let made = count(state.total_out() - made_before);
            check(message, message.len() - len_before)?;
            if len_before + made > limit {
                return Err(self.excess(message_bytes_max));
            }
            input = &input[taken..];
            match result {
                Err(_) => return Err(ProtocolError::InvalidDeflate),
                // A last block. What follows starts anew, as it does for whoever compresses so
                // (RFC 7692 §7.2.3.4).
                Ok(Status::StreamEnd) => {
                    state.reset(false);
                    if input.is_empty() {
                        return Ok(());
                    }
                }
                Ok(Status::Ok | Status::BufError) => {
                    let has_room = made == 0 || message.len() < message.capacity();
                    if input.is_empty() && has_room {
                        return Ok(());
                    }
                    if taken == 0 && made == 0 {
                        return Err(ProtocolError::InvalidDeflate);
                    }
                }
            }
        }
    }

    /// The message's last frame has ended: checks that the compressed data end where a message may
    /// (RFC 7692 §7.2.2).
    pub(in crate::websocket) fn finish(&mut self) -> Result<(), ProtocolError> {
        let end = self.end();
        self.announced = None;
        self.first = None;
        let state = self.state.get_or_insert_with(new_state);
        let (taken_before, made_before) = (state.total_in(), state.total_out());
        let result = state.decompress(end, &mut [0], FlushDecompress::None);
        let is_all_taken = count(state.total_in() - taken_before) == end.len();
        let is_nothing_made = state.total_out() == made_before;
        let goes_on = matches!(result, Ok(Status::Ok | Status::BufError));
        if !(goes_on && is_all_taken && is_nothing_made) {
            return Err(ProtocolError::InvalidDeflate);
        }
        match (self.context, self.when_idle) {
            (Context::TakenOver, _) => {}
            (Context::PerMessage, WhenIdle::Keep) => state.reset(false),
            (Context::PerMessage, WhenIdle::Free) => self.state = None,
        }
        Ok(())
    }

    /// Whether the message being received is compressed.
    pub(in crate::websocket) fn is_active(&self) -> bool {
        self.announced.is_some()
    }

    /// Compressed bytes of the message so far, by the headers of its frames.
    pub(in crate::websocket) fn announced(&self) -> u64 {
        self.announced.unwrap_or(0)
    }

    /// What the state takes, in bytes.
    pub(in crate::websocket) fn charged(&self) -> usize {
        self.state.as_ref().map_or(0, |_| INFLATOR_BYTES)
    }

    /// How much of [`END`] this message is given.
    fn end(&self) -> &'static [u8] {
        const DYNAMIC: u8 = 2;
        let has_codes = self.first.is_some_and(|first| first >> 1 & 3 == DYNAMIC);
        if has_codes || self.announced() >= SHORT_BYTES {
            &END
        } else {
            &END[..END_SHORT]
        }
    }

    /// How long the message may become.
    fn limit(&self, message_bytes_max: usize) -> usize {
        let Some(ratio_max) = self.ratio_max else {
            return message_bytes_max;
        };
        let allowed = u64::from(ratio_max.get()).saturating_mul(self.announced());
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        message_bytes_max.min(allowed.max(RATIO_FREE_BYTES))
    }

    /// Which limit it was.
    fn excess(&self, message_bytes_max: usize) -> ProtocolError {
        match self.ratio_max {
            Some(max) if self.limit(message_bytes_max) < message_bytes_max => {
                ProtocolError::RatioTooHigh { max: max.get() }
            }
            Some(_) | None => ProtocolError::MessageTooBig {
                bytes: message_bytes_max as u64 + 1,
                max: message_bytes_max,
            },
        }
    }
}

/// A window of the largest size, whatever was agreed: with a smaller one, whether a forbidden distance
/// is noticed would depend on how the stream is cut.
fn new_state() -> Decompress {
    Decompress::new_with_window_bits(false, WindowBits::MAX.get())
}

/// Doubling keeps the copying linear; `limit` bounds it, and so does what has arrived.
fn make_room(message: &mut Vec<u8>, input_len: usize, limit: usize) {
    let len = message.len();
    if message.capacity() - len >= ROOM_MIN.min(limit - len) {
        return;
    }
    let first = input_len.saturating_mul(4).clamp(ROOM_MIN, ROOM_FIRST_MAX);
    let target = message.capacity().saturating_mul(2).max(len + first);
    message.reserve_exact(target.min(limit) - len);
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).expect("no more than a buffer holds")
}
