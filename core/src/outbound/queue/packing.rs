//! What stands packed at the end of the queue.

use bytes::Bytes;

use super::{Outbound, Queued};
use crate::message::{Kind, Message, MessageId};
use crate::outbound::{Before, Packed, Report};
use crate::settings::QueueBounds;
use crate::time::Instant;

impl Outbound {
    /// Puts messages behind all others that are to stay packed, if there is room for all of them.
    ///
    /// # Errors
    /// The messages.
    pub(crate) fn insert_packed(
        &mut self,
        now: Instant,
        packed: Packed,
        bounds: &QueueBounds,
    ) -> Result<(), Packed> {
        if packed.is_empty() {
            return Ok(());
        }
        let items = self.len() + self.unacknowledged() + packed.len();
        let awaiting = self.awaiting().map_or(0, |awaiting| awaiting.bytes);
        let bytes = self.bytes + awaiting + packed.bytes();
        if items > bounds.items_max || bytes > bounds.bytes_max {
            return Err(packed);
        }
        let first = MessageId(self.accepted + 1);
        self.accepted += packed.len() as u64;
        self.bytes += packed.bytes();
        self.rare().packs.push(now, first, packed);
        Ok(())
    }

    /// Puts a message behind those that are packed, if there are any and it can be packed too. Otherwise there are none any
    /// more.
    ///
    /// # Errors
    /// The message.
    #[inline]
    pub(super) fn insert_behind_packs(
        &mut self,
        now: Instant,
        id: MessageId,
        message: Message,
        report: Report,
        key: Option<&Bytes>,
    ) -> Result<(), Message> {
        if self.packed() == 0 {
            return Err(message);
        }
        let mut packed = Packed::default();
        let packing = match (report, key) {
            (Report::Quiet, None) => packed.push(message),
            (Report::Quiet, Some(_)) | (Report::Outcome, _) => Err(message),
        };
        match packing {
            Ok(()) => {
                self.bytes += packed.bytes();
                self.rare().packs.push(now, id, packed);
                Ok(())
            }
            Err(message) => {
                self.unpack();
                Err(message)
            }
        }
    }

    /// Makes messages like all others of those that are packed.
    pub(crate) fn unpack(&mut self) {
        let Some(rare) = self.rare.as_mut().filter(|rare| rare.packs.len() > 0) else {
            return;
        };
        let packs = std::mem::take(&mut rare.packs);
        if rare.is_empty() {
            self.rare = None;
        }
        self.queue.reserve(packs.len());
        for (id, accepted_at, message) in packs.into_messages() {
            self.queue.push_back(Queued {
                message,
                id,
                accepted_at,
                report: Report::Quiet,
                before: Before::Nothing,
            });
        }
    }

    /// The payloads from this place on of messages that are packed.
    #[inline]
    pub(crate) fn packed_from(&self, index: usize) -> impl Iterator<Item = (Kind, &[u8])> {
        let skipped = index.saturating_sub(self.queue.len());
        let rare = self.rare.as_deref().into_iter();
        rare.flat_map(move |rare| rare.packs.payloads(skipped))
    }

    /// The payloads from this place on, packed or not.
    #[inline]
    pub(crate) fn payloads_from(&self, index: usize) -> impl Iterator<Item = (Kind, &[u8])> {
        let queued = self.queue.range(index.min(self.queue.len())..);
        queued
            .map(|queued| (queued.message.kind(), queued.message.as_bytes()))
            .chain(self.packed_from(index))
    }

    /// How many messages are not packed.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes out the first `count` messages that are packed, if nothing stands before them; returns how many there were, and
    /// their bytes.
    pub(crate) fn packed_left(&mut self, count: usize) -> (usize, usize) {
        let Some(rare) = self.rare.as_mut().filter(|_| self.queue.is_empty()) else {
            return (0, 0);
        };
        let (items, bytes) = rare.packs.leave(count);
        if rare.is_empty() {
            self.rare = None;
        }
        self.bytes -= bytes;
        (items, bytes)
    }
}
