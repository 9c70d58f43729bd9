//! How much may wait to be sent, and what happens beyond.

use std::time::Duration;

use super::QueueBounds;
#[cfg(feature = "serde")]
use super::text;

/// How much may wait to be sent: whichever bound is met first holds. One message that is larger than the
/// queue is admitted when it is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct OutboundSettings {
    /// The most messages. Default: 1,024.
    pub items_max: usize,
    /// The most bytes of payload. Default: 1 MiB; at most 2 GiB. Held only while messages wait.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub bytes_max: usize,
    /// What becomes of a message that finds the queue full. Default: [`Overflow::Wait`].
    pub when_full: Overflow,
    /// How long a message may wait for others to leave in the same write, since it was accepted. Default: zero, it leaves at
    /// once, with all that is queued. It delays the messages of a quiet connection by up to this time, in exchange for fewer
    /// writes and packets. What does not wait: a message of the priority lane, with all behind it; half a queue, or 64 KiB; a
    /// connection that ends; pings, pongs and close frames.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub linger: Duration,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        let QueueBounds {
            items_max,
            bytes_max,
        } = QueueBounds::default();
        Self {
            items_max,
            bytes_max,
            when_full: Overflow::default(),
            linger: Duration::ZERO,
        }
    }
}

impl OutboundSettings {
    /// The bounds alone.
    pub fn bounds(&self) -> QueueBounds {
        QueueBounds {
            items_max: self.items_max,
            bytes_max: self.bytes_max,
        }
    }
}

/// What becomes of a message that finds the outbound queue full. A message that is dropped is counted, its sender is
/// told so, and it does not become a dead letter: dropping was the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Overflow {
    /// Its sender waits for room, the longest first. The default.
    #[default]
    Wait,
    /// Its sender gets it back at once.
    Reject,
    /// The messages that have waited longest give way, those of the priority lane last. For feeds of which the newest
    /// matters. What a socket has begun cannot give way; where the others would not be enough, only the new message
    /// is dropped.
    DropOldest,
    /// It is dropped. For telemetry of which the beginning of a jam matters.
    DropNewest,
    /// A waiting message of the same key ([`Hooks::coalesce`](crate::Hooks::coalesce)) gives way, whether the queue is full or not,
    /// and the new one stands at the end; a full queue without one acts as with [`DropOldest`](Self::DropOldest). For states that
    /// replace one another, such as positions or prices.
    Coalesce,
}

/// Which message a full queue dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropPolicy {
    /// The one that had waited longest.
    Oldest,
    /// The one that came.
    Newest,
    /// The one that a newer one of the same key replaces.
    Coalesced,
}

impl DropPolicy {
    /// The word that records and traces use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Newest => "newest",
            Self::Coalesced => "coalesced",
        }
    }
}
