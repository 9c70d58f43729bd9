//! Compression of messages to send (RFC 7692 §7.2.1).

use flate2::{Compress, Compression, FlushCompress};

use super::{Agreement, Context, TAIL, WhenIdle, WindowBits};

/// The smallest window that flate2 compresses with, as its logarithm.
const WINDOW_BITS_MIN: u8 = 9;

/// What a compressor takes beside what depends on its window: hash heads, and symbols not yet written.
const TABLES_BYTES: usize = 256 * 1024;

/// An empty message (RFC 7692 §7.2.3.6). A compressor that has nothing to flush says nothing.
const EMPTY: [u8; 1] = [0];

/// What there is room for at least before a message is compressed: most come to less.
const ROOM_BYTES: usize = 256;

/// Compresses the messages of one WebSocket.
///
/// Its state, [`Deflator::bytes`], is made for the first message that is compressed. It can be freed
/// at any time: what is compressed later does not refer to what was before, and nobody else notices.
#[derive(Debug)]
pub struct Deflator {
    state: Option<Box<Compress>>,
    context: Context,
    when_idle: WhenIdle,
    window: WindowBits,
    level: u8,
    threshold: usize,
}

impl Deflator {
    /// A compressor of what this side sends under `agreement`, at `level` 1 (fast) to 9 (small).
    /// Messages of less than `threshold` bytes are left as they are.
    ///
    /// With a window of 8 bits nothing is compressed: no window is that small in flate2.
    pub fn new(agreement: &Agreement, level: u8, threshold: usize, when_idle: WhenIdle) -> Self {
        Self {
            state: None,
            context: agreement.client_context,
            when_idle,
            window: agreement.client_window,
            level: level.clamp(1, 9),
            threshold,
        }
    }

    /// Whether a message of `len` bytes is compressed at all, or tried to be.
    pub fn takes(&self, len: usize) -> bool {
        len >= self.threshold && self.window.get() >= WINDOW_BITS_MIN
    }

    /// The payload that stands for `message`; `None` if it goes out as it is.
    ///
    /// What is returned must be sent, and in this order: with [`Context::TakenOver`] later messages refer
    /// to it. If one is not sent, [`Self::forget`] what was before.
    pub fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        self.compress_to(message, &mut payload)?;
        payload.shrink_to_fit();
        Some(payload)
    }

    /// As [`compress`](Self::compress), but appends the payload to `out`; returns its length.
    pub fn compress_to(&mut self, message: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if !self.takes(message.len()) {
            return None;
        }
        let start = out.len();
        if message.is_empty() {
            out.extend_from_slice(&EMPTY);
            return Some(EMPTY.len());
        }
        let state = self.state.get_or_insert_with(|| {
            let level = Compression::new(self.level.into());
            Box::new(Compress::new_with_window_bits(
                level,
                false,
                self.window.get(),
            ))
        });
        append(state, message, out);
        let len = out.len() - start;
        match self.context {
            Context::TakenOver => Some(len),
            Context::PerMessage => {
                state.reset();
                // Nothing will refer to it, so it may as well go out as it is.
                if len < message.len() {
                    Some(len)
                } else {
                    out.truncate(start);
                    None
                }
            }
        }
    }

    /// There is nothing to compress just now: frees the state if that is wanted.
    pub fn rest(&mut self) {
        if self.when_idle == WhenIdle::Free {
            self.forget();
        }
    }

    /// Frees the state. Later messages will not refer to those so far.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// What the state of a compressor with this window takes, in bytes: about 258 KiB with the smallest
    /// and 384 KiB with the largest.
    pub const fn bytes(window: WindowBits) -> usize {
        TABLES_BYTES + (4 << window.get())
    }

    /// What the state takes, in bytes: [`Deflator::bytes`] while it exists.
    pub fn charged(&self) -> usize {
        self.state.as_ref().map_or(0, |_| Self::bytes(self.window))
    }
}

/// Appends the compressed message to `out`, without the tail.
fn append(state: &mut Compress, message: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = message;
    out.reserve(ROOM_BYTES.max(message.len() / 4));
    loop {
        let before = state.total_in();
        state
            .compress_vec(rest, out, FlushCompress::Sync)
            .expect("a compressor fails only if it was set up wrongly");
        let taken = usize::try_from(state.total_in() - before).expect("no more than a message");
        rest = &rest[taken..];
        // A flush has come to its end when there was room for more.
        if rest.is_empty() && out.len() < out.capacity() {
            break;
        }
        out.reserve(ROOM_BYTES.max(rest.len() / 2));
    }
    let end = out.len() - TAIL.len();
    assert!(
        end >= start && out.ends_with(&TAIL),
        "a flush ends with an empty stored block"
    );
    out.truncate(end);
}
