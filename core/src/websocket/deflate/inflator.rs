//! Decompression of received messages (RFC 7692 §7.2.2).

use std::fmt;
use std::num::NonZeroU32;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{Agreement, Context, TAIL, WhenIdle, WindowBits};
use crate::websocket::ProtocolError;

/// What an inflator's state is charged, in bytes, while it exists: a window of 32 KiB and its tables.
pub const INFLATOR_BYTES: usize = 48 * 1024;

/// Messages of up to this many bytes are not judged by their ratio: one that repeats an earlier one
/// compresses to next to nothing, and harms nobody.
const RATIO_FREE_BYTES: usize = 64 * 1024;

/// The least room, and the most, that is made for output at a time, in bytes. The least is enough for most messages: a
/// further step costs more than to clear it.
const ROOM_MIN: usize = 2 << 10;
const ROOM_MAX: usize = 64 * 1024;

/// What the peer left out of the last block (RFC 7692 §7.2.1), and an empty stored block, which changes nothing.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff];

/// The decompressing part of a [`Decoder`](crate::websocket::Decoder).
///
/// Its state, [`INFLATOR_BYTES`], is made when the first compressed message arrives. It is needed as
/// long as later messages may refer to earlier ones; where they may not, it is freed between messages
/// if that is wanted.
pub struct Inflator {
    state: Option<Inflate>,
    context: Context,
    when_idle: WhenIdle,
    ratio_max: Option<NonZeroU32>,
    /// Compressed bytes of the message so far, by the headers of its frames; `None` between messages
    /// and in one that is not compressed.
    announced: Option<u64>,
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
        if input.is_empty() {
            return Ok(());
        }
        let limit = self.limit(message_bytes_max);
        let state = self.state.get_or_insert_with(new_state);
        loop {
            let len_before = message.len();
            let room = room(message, input.len(), limit);
            let step = if room > 0 {
                message.resize(len_before + room, 0);
                let output = &mut message[len_before..];
                let step = run(state, input, output, InflateFlush::NoFlush);
                message.truncate(len_before + step.made);
                step
            } else {
                // What comes out now is too much.
                run(state, input, &mut [0], InflateFlush::NoFlush)
            };
            check(message, message.len() - len_before)?;
            if len_before + step.made > limit {
                return Err(self.excess(message_bytes_max));
            }
            input = &input[step.taken..];
            match step.status {
                None => return Err(ProtocolError::InvalidDeflate),
                // A last block. What follows starts anew, as it does for whoever compresses so
                // (RFC 7692 §7.2.3.4).
                Some(Status::StreamEnd) => {
                    state.reset(false);
                    if input.is_empty() {
                        return Ok(());
                    }
                }
                Some(Status::Ok | Status::BufError) => {
                    if input.is_empty() && step.made < room.max(1) {
                        return Ok(());
                    }
                    if step.taken == 0 && step.made == 0 {
                        return Err(ProtocolError::InvalidDeflate);
                    }
                }
            }
        }
    }

    /// The message's last frame has ended: checks that the compressed data end where a message may
    /// (RFC 7692 §7.2.2).
    pub(in crate::websocket) fn finish(&mut self) -> Result<(), ProtocolError> {
        self.announced = None;
        let state = self.state.get_or_insert_with(new_state);
        if !ends_with_a_block(state) {
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
fn new_state() -> Inflate {
    Inflate::new(false, WindowBits::MAX.get())
}

/// Takes the end of the last block that the peer left out, and says whether it is that: the block is over, and the
/// next one not begun, to the bit.
fn ends_with_a_block(state: &mut Inflate) -> bool {
    let mut takes = |count, input: &[u8], flush| {
        // Whatever comes out belonged to the message.
        let step = run(state, input, &mut [0], flush);
        let goes_on = matches!(step.status, Some(Status::Ok | Status::BufError));
        goes_on && step.taken == count && step.made == 0
    };
    // Decompression stops where a block ends, before the next one. Bits left of the last byte would be the beginning
    // of a block, and that not of an empty one.
    takes(TAIL.len(), &END, InflateFlush::Block)
        && takes(
            END.len() - TAIL.len(),
            &END[TAIL.len()..],
            InflateFlush::NoFlush,
        )
}

/// What a step of decompression came to; no status if the data are corrupt.
struct Inflated {
    taken: usize,
    made: usize,
    status: Option<Status>,
}

fn run(state: &mut Inflate, input: &[u8], output: &mut [u8], flush: InflateFlush) -> Inflated {
    let (taken, made) = (state.total_in(), state.total_out());
    let status = state.decompress(input, output, flush).ok();
    Inflated {
        taken: count(state.total_in() - taken),
        made: count(state.total_out() - made),
        status,
    }
}

/// How many bytes are made room for at the end of `message`. Doubling keeps the copying linear; `limit` bounds it, and
/// so does what has arrived.
fn room(message: &mut Vec<u8>, input_len: usize, limit: usize) -> usize {
    let len = message.len();
    let wanted = input_len.saturating_mul(4).clamp(ROOM_MIN, ROOM_MAX);
    let left = limit.saturating_sub(len);
    if message.capacity() - len < wanted.min(left) {
        let target = message.capacity().saturating_mul(2).max(len + wanted);
        message.reserve_exact(target.min(limit) - len);
    }
    wanted.min(left)
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).expect("no more than a buffer holds")
}

impl fmt::Debug for Inflator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflator")
            .field("context", &self.context)
            .field("when_idle", &self.when_idle)
            .field("ratio_max", &self.ratio_max)
            .field("announced", &self.announced)
            .field("charged", &self.charged())
            .finish_non_exhaustive()
    }
}
