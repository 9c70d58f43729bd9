//! The memory of batches, used again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::{Batch, Contents};

/// For how many bytes of payloads there may be memory that comes back here.
const LENT_BYTES_MAX: usize = 1 << 20;
/// What is smaller is quickly taken anew.
const BYTES_MIN: usize = 16 << 10;

/// The latest batches that were handed out. Once nobody else holds one of them, the next takes its memory: what a busy
/// socket brings is then not paid for with new pages each time.
///
/// All connections of a set share this, so it holds at most [`LENT_BYTES_MAX`], however many connections there are, and
/// nothing once little comes.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    lent: VecDeque<Arc<Contents>>,
    lent_bytes: usize,
    is_used: bool,
}

impl Arenas {
    /// Memory for messages of about `len` bytes that lie in the next `ahead` bytes of a socket, at most for
    /// `bytes_max` bytes and `count_max` messages: one piece instead of many that double.
    pub(crate) fn contents(
        &mut self,
        (len, ahead): (usize, usize),
        bounds: (usize, usize),
    ) -> Contents {
        let (bytes, count) = Contents::room_for(len, ahead, bounds);
        let mut contents = match bytes {
            ..BYTES_MIN => Contents::default(),
            BYTES_MIN.. => self.take(bytes).unwrap_or_default(),
        };
        contents.begin(bytes, count);
        contents
    }

    /// Notes a batch that is handed out.
    pub(crate) fn lend(&mut self, batch: &Batch) {
        let contents = batch.contents();
        if contents.capacity() < BYTES_MIN {
            return;
        }
        self.is_used = true;
        self.lent_bytes += contents.capacity();
        self.lent.push_back(Arc::clone(contents));
        while self.lent_bytes > LENT_BYTES_MAX {
            self.remove(0);
        }
    }

    /// Some time has passed. What nobody has needed since the last time is given back.
    pub(crate) fn age(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            *self = Self::default();
        }
    }

    fn take(&mut self, bytes: usize) -> Option<Contents> {
        let is_free = |it: &Arc<Contents>| Arc::strong_count(it) == 1 && it.capacity() >= bytes;
        let at = self.lent.iter().position(is_free)?;
        let contents = Arc::try_unwrap(self.remove(at)?).ok()?;
        Some(contents.into_spare())
    }

    fn remove(&mut self, at: usize) -> Option<Arc<Contents>> {
        let contents = self.lent.remove(at)?;
        self.lent_bytes -= contents.capacity();
        Some(contents)
    }
}
