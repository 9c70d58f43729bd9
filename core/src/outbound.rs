//! Messages on their way out: a bounded queue, and the truth about what the kernel took.

use std::collections::VecDeque;

use crate::message::{Message, MessageId};
use crate::settings::QueueBounds;
use crate::time::Instant;

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

/// What a queued message costs beside its payload.
pub(crate) const QUEUED_OVERHEAD: usize = size_of::<Queued>();

/// Queues give their memory back when they become empty and are larger than this.
pub(crate) const KEPT_BYTES: usize = 4096;

#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    pub(crate) id: MessageId,
    pub(crate) accepted_at: Instant,
    pub(crate) report: Report,
}

/// The messages that the connection took charge of and that are not yet written.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Queued>,
    bytes: usize,
    accepted: u64,
}

impl Outbound {
    pub(crate) fn accept(
        &mut self,
        bounds: &QueueBounds,
        now: Instant,
        message: Message,
        report: Report,
    ) -> Result<MessageId, SendError> {
        let room = Room {
            items: self.queue.len(),
            bytes: self.bytes,
        };
        if !room.admits(bounds, message.len()) {
            return Err(SendError {
                message,
                cause: SendErrorCause::Full,
            });
        }
        self.accepted += 1;
        let id = MessageId(self.accepted);
        self.bytes += message.len();
        self.queue.push_back(Queued {
            message,
            id,
            accepted_at: now,
            report,
        });
        Ok(id)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Queued> {
        self.queue.get(index)
    }

    /// Takes a message out: its fate is sealed.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Queued> {
        let queued = self.queue.remove(index)?;
        self.bytes -= queued.message.len();
        if self.queue.is_empty() && self.queue.capacity() * size_of::<Queued>() > KEPT_BYTES {
            self.queue = VecDeque::new();
        }
        Some(queued)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(crate) fn charged(&self) -> usize {
        self.bytes + self.queue.len() * QUEUED_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: QueueBounds = QueueBounds {
        items_max: 2,
        bytes_max: 10,
    };

    fn accept(outbound: &mut Outbound, len: usize) -> Result<MessageId, SendErrorCause> {
        outbound
            .accept(
                &BOUNDS,
                Instant::ORIGIN,
                Message::binary(vec![0; len]),
                Report::Quiet,
            )
            .map_err(|error| error.cause)
    }

    #[test]
    fn a_full_queue_gives_the_message_back() {
        let mut outbound = Outbound::default();
        assert_eq!(accept(&mut outbound, 5), Ok(MessageId(1)));
        assert_eq!(accept(&mut outbound, 5), Ok(MessageId(2)));
        let message = Message::text("kept");
        let refused = outbound.accept(&BOUNDS, Instant::ORIGIN, message.clone(), Report::Quiet);
        assert_eq!(refused.unwrap_err().message, message);
        outbound.remove(0);
        assert_eq!(accept(&mut outbound, 6), Err(SendErrorCause::Full));
        assert_eq!(accept(&mut outbound, 5), Ok(MessageId(3)));
    }

    #[test]
    fn one_message_larger_than_the_bound_is_admitted_alone() {
        let mut outbound = Outbound::default();
        assert_eq!(accept(&mut outbound, 11), Ok(MessageId(1)));
        assert_eq!(accept(&mut outbound, 0), Err(SendErrorCause::Full));
    }

    #[test]
    fn an_emptied_queue_frees_what_a_burst_took() {
        let bounds = QueueBounds {
            items_max: 10_000,
            bytes_max: 1 << 30,
        };
        let mut outbound = Outbound::default();
        for _ in 0..1_000 {
            let message = Message::text("x");
            outbound
                .accept(&bounds, Instant::ORIGIN, message, Report::Quiet)
                .unwrap();
        }
        while outbound.remove(0).is_some() {}
        assert_eq!(outbound.queue.capacity(), 0);
        assert_eq!(outbound.charged(), 0);
    }
}
