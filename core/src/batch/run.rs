//! Messages that come one behind the other, and how many of them there is room for.

use crate::message::Kind;

/// A message's kind and payload, and how many bytes have arrived behind it.
pub(crate) type Next<'i> = (Kind, &'i [u8], usize);

/// What a queue may still take. The message that uses it up is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) items: u32,
    pub(crate) bytes: usize,
}

/// Messages that were queued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) items: u32,
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) fn is_left_after(self, pushed: Pushed) -> bool {
        pushed.items < self.items && pushed.bytes < self.bytes
    }

    pub(crate) fn after(self, pushed: Pushed) -> Self {
        Self {
            items: self.items.saturating_sub(pushed.items),
            bytes: self.bytes.saturating_sub(pushed.bytes),
        }
    }
}
