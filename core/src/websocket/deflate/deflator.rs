//! Compression of messages to send (RFC 7692 §7.2.1).

use flate2::{Compress, Compression, FlushCompress};

use super::{Agreement, Context, TAIL, WhenIdle, WindowBits};

/// The smallest window that flate2 compresses with, as its logarithm.
const WINDOW_BITS_MIN: u8 = 9;

/// What a compressor takes beside what depends on its window: hash heads, and symbols not yet written.
const TABLES_BYTES: usize = 256 * 1024;

/// An empty message (RFC 7692 §7.2.3.6). A compressor that has nothing to flush says nothing.
const EMPTY: [u8; 1] = [0];

/// What is compressed to less is copied once.
const SHORT_BYTES: usize = 1024;

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

    /// The payload that stands for `message`; `None` if it goes out as it is.
    ///
    /// What is returned must be sent, and in this order: with [`Context::TakenOver`] later messages refer
    /// to it. If one is not sent, [`Self::forget`] what was before.
    pub fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.len() < self.threshold || self.window.get() < WINDOW_BITS_MIN {
            return None;
        }
        if message.is_empty() {
            return Some(EMPTY.to_vec());
        }
        let state = self.state.get_or_insert_with(|| {
            let level = Compression::new(self.level.into());
            Box::new(Compress::new_with_window_bits(
                level,
                false,
                self.window.get(),
            ))
        });
        let payload = compress(state, message);
        match self.context {
            Context::TakenOver => Some(payload),
            Context::PerMessage => {
                state.reset();
                // Nothing will refer to it, so it may as well go out as it is.
                (payload.len() < message.len()).then_some(payload)
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

fn compress(state: &mut Compress, message: &[u8]) -> Vec<u8> {
    // Most messages become so short that they are best taken to their own memory once it is known how short.
    let mut short = [0; SHORT_BYTES];
    let (taken, written) = flush(state, message, &mut short);
    let mut rest = &message[taken..];
    // A flush has come to its end when there was room for more.
    if rest.is_empty() && written < SHORT_BYTES {
        return without_tail(&short[..written]).to_vec();
    }
    let mut payload = short[..written].to_vec();
    let mut room = 0;
    while !rest.is_empty() || room == 0 {
        let filled = payload.len();
        payload.resize(filled + filled.max(rest.len() / 2), 0);
        let (taken, written) = flush(state, rest, &mut payload[filled..]);
        rest = &rest[taken..];
        room = payload.len() - filled - written;
        payload.truncate(filled + written);
    }
    payload.truncate(without_tail(&payload).len());
    payload.shrink_to_fit();
    payload
}

fn without_tail(payload: &[u8]) -> &[u8] {
    payload
        .strip_suffix(&TAIL)
        .expect("a flush ends with an empty stored block")
}

/// Compresses as much as `room` has place for; returns how much was taken, and how much was written.
fn flush(state: &mut Compress, message: &[u8], room: &mut [u8]) -> (usize, usize) {
    let before = (state.total_in(), state.total_out());
    state
        .compress(message, room, FlushCompress::Sync)
        .expect("a compressor fails only if it was set up wrongly");
    let since = |now: u64, before| usize::try_from(now - before).expect("no more than a buffer");
    (
        since(state.total_in(), before.0),
        since(state.total_out(), before.1),
    )
}
