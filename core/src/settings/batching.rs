//! What happens to received messages on their way to the application.

use std::time::Duration;

#[cfg(feature = "serde")]
use super::text;

/// When a batch of received messages is closed and handed over: at whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct BatchPolicy {
    /// The most messages. Default: 1,024. At most the `inbound` queue's `items_max`, or the batch could
    /// not fill.
    pub count_max: usize,
    /// The most bytes of payload; a larger message is a batch of its own, and so is one of 32 KiB or more that several reads
    /// brought. What one read brought may be a batch although there would be room for more: it is at least 85 KiB then, and with [`IdleFlush::Linger`]
    /// a quarter of this or of `count_max`. Default: 256 KiB. At most the `inbound` queue's `bytes_max`.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub bytes_max: usize,
    /// The longest time since the batch's first message. Default: 5 ms, which it can add to a message's
    /// latency. Zero hands over what one read brought.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub linger: Duration,
    /// What happens when the consumer is already waiting. Default: [`IdleFlush::AtOnce`].
    pub idle: IdleFlush,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self {
            count_max: 1_024,
            bytes_max: 256 << 10,
            linger: Duration::from_millis(5),
            idle: IdleFlush::default(),
        }
    }
}

/// What happens to an unfinished batch when its consumer is waiting for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum IdleFlush {
    /// It is handed over: a lone message is never held while somebody waits for it. The default.
    #[default]
    AtOnce,
    /// It still waits until it is full or `linger` is over: fewer and larger batches for a consumer whose cost is by the
    /// batch.
    Linger,
}

/// The waits of a message that its processor wants to see again: `initial × factorⁿ`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct RetryPolicy {
    /// The wait before the first retry, unless the verdict names one. Default: 100 ms.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub initial: Duration,
    /// What the wait is multiplied by for each further retry, from 1 to 1,000. Default: 2.
    pub factor: f64,
    /// The longest wait. Default: 10 s. A waiting message counts against the inbound queue. At least
    /// `initial`.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub max: Duration,
    /// How many retries a message gets, after its first try, before it is a dead letter. Default: 3.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(10),
            attempts_max: 3,
        }
    }
}

/// What happens to received messages that the application's decoder refuses. They are never delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct InvalidPolicy {
    /// More than this many within [`invalid_window`](Self::invalid_window) mean that the two sides
    /// disagree: the socket is closed and the next dial negotiates anew ([`Renegotiate`](crate::Renegotiate)). Default: 100.
    pub invalid_max: u32,
    /// The window in which they are counted, from the first of them on. Default: 1 min.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub invalid_window: Duration,
    /// What becomes of each. Default: [`InvalidFate::Count`]. In a serialised configuration this is
    /// `true` or `false`.
    #[cfg_attr(feature = "serde", serde(with = "fate"))]
    pub dead_letter: InvalidFate,
    /// How many bytes of a message [`EventKind::Filtered`](crate::EventKind::Filtered) shows, at most 4 KiB. Default: 0, since
    /// events are often logged and messages may hold what is secret.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub sample_bytes: usize,
}

impl Default for InvalidPolicy {
    fn default() -> Self {
        Self {
            invalid_max: 100,
            invalid_window: Duration::from_secs(60),
            dead_letter: InvalidFate::default(),
            sample_bytes: 0,
        }
    }
}

/// What becomes of a message that does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InvalidFate {
    /// It is counted and gone. The default.
    #[default]
    Count,
    /// It is counted, and kept as a dead letter with its payload.
    DeadLetter,
}

/// `dead_letter = true` in a serialised configuration.
#[cfg(feature = "serde")]
mod fate {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::InvalidFate;

    pub(super) fn serialize<S: Serializer>(
        fate: &InvalidFate,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(matches!(fate, InvalidFate::DeadLetter))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<InvalidFate, D::Error> {
        bool::deserialize(deserializer).map(|dead_letter| match dead_letter {
            true => InvalidFate::DeadLetter,
            false => InvalidFate::Count,
        })
    }
}
