//! Compression of messages to send (RFC 7692 §7.2.1).

use flate2::{Compress, Compression, FlushCompress};

use super::{Agreement, Context, TAIL, WhenIdle, WindowBits};

/// The smallest window that flate2 compresses with, as its logarithm.
const WINDOW_BITS_MIN: u8 = 9;

/// What a compressor takes beside what depends on its window: hash heads, and symbols not yet written.
const TABLES_BYTES: usize = 256 * 1024;

/// An empty message (RFC 7692 §7.2.3.6). A compressor that has nothing to flush says nothing.
const EMPTY: [u8; 1] = [0];

/// Room that is always left for output, so that a flush comes to its end.
const ROOM_MIN: usize = 64;

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

fn compress(state: &mut Compress, mut message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() / 2 + ROOM_MIN);
    loop {
        if payload.capacity() - payload.len() < ROOM_MIN {
            payload.reserve(payload.capacity().max(ROOM_MIN));
        }
        let taken_before = state.total_in();
        state
            .compress_vec(message, &mut payload, FlushCompress::Sync)
            .expect("a compressor fails only if it was set up wrongly");
        let taken =
            usize::try_from(state.total_in() - taken_before).expect("no more than a buffer holds");
        message = &message[taken..];
        // A flush has come to its end when there was room for more.
        if message.is_empty() && payload.len() < payload.capacity() {
            break;
        }
    }
    assert!(
        payload.ends_with(&TAIL),
        "a flush ends with an empty stored block"
    );
    payload.truncate(payload.len() - TAIL.len());
    payload.shrink_to_fit();
    payload
}
