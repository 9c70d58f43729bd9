//! Messages on their way out: a bounded queue, and the truth about what the kernel took.

mod packed;
mod queue;

pub use packed::Packed;
pub(crate) use queue::{Before, Outbound, Queued};

use crate::message::Message;
use crate::settings::QueueBounds;

/// Whether a sender wants to hear what became of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// The counters are enough.
    #[default]
    Quiet,
    /// [`Output::Outcome`](crate::Output::Outcome) will tell.
    Outcome,
}

/// A message was not accepted; here it is again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct SendError {
    /// The message, untouched.
    pub message: Message,
    /// Why it was not accepted.
    pub cause: SendErrorCause,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendErrorCause {
    /// The queue holds as many messages or bytes as it may.
    #[error("the outbound queue is full")]
    Full,
    /// The message is not to wait ([`Offline::Refuse`](crate::Offline::Refuse)) and no socket is ready.
    #[error("no socket is ready, and the message is not to wait for one")]
    Offline,
    /// The connection has ended, is ending, or never was.
    #[error("the connection has ended")]
    Closed,
}

/// Room in a bounded queue: counts items and bytes, and admits one oversized item alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    /// Whether an item of `bytes` may come in: the bounds hold with it, or the queue is empty.
    pub fn admits(&self, bounds: &QueueBounds, bytes: usize) -> bool {
        self.items == 0
            || (self.items < bounds.items_max
                && self.bytes.saturating_add(bytes) <= bounds.bytes_max)
    }

    /// Counts an item that came in.
    pub fn take(&mut self, bytes: usize) {
        self.items += 1;
        self.bytes += bytes;
    }

    /// Counts items that went out.
    ///
    /// # Panics
    /// If more goes out than came in, which is a mistake in the caller's book-keeping.
    pub fn give(&mut self, items: usize, bytes: usize) {
        self.items = self.items.checked_sub(items).expect("no item leaves twice");
        self.bytes = self.bytes.checked_sub(bytes).expect("no byte leaves twice");
    }

    /// Items inside.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes inside.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Queues give their memory back when they become empty and are larger than this.
pub(crate) const KEPT_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
