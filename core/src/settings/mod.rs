//! What can be configured of a connection.
//!
//! [`Settings`] are plain data with a default for everything. [`Config`] is settings, and the
//! application's [hooks](crate::hooks), that were found to be sound together; everything else in this
//! crate takes a `Config`, so no zero, inverted range or overflow is met later. With the feature
//! `serde`, settings are read from and written to any serde format, with durations as `"500ms"`, sizes
//! as `"64KiB"` or plain bytes, and `"off"` for what is optional; unknown keys are refused.

mod backoff;
mod batching;
mod check;
mod classification;
mod config;
mod deflate;
mod limits;
mod outbound;
mod processor;
#[cfg(feature = "serde")]
mod text;
mod timeouts;
mod units;

use std::time::Duration;

pub use backoff::{BackoffSettings, FirstDial, JitterKind, Profile};
pub use batching::{BatchPolicy, IdleFlush, InvalidFate, InvalidPolicy, RetryPolicy};
pub(crate) use check::not_beyond;
pub use check::{ConfigError, ConfigProblem, Quantity};
pub use classification::ClassificationSettings;
pub use config::Config;
pub use deflate::Deflate;
pub use limits::{Limits, QueueBounds};
pub use outbound::{DropPolicy, OutboundSettings, Overflow};
pub use processor::{Order, ProcessorSettings, WorkerBounds};
pub use timeouts::{Keepalive, Timeouts};
pub use units::{UnitError, format_bytes, format_duration, parse_bytes, parse_duration};

/// Everything about a connection that is plain data. The field names are the keys of a serialised
/// configuration, but for [`invalid`](Self::invalid), whose key is `decode`.
///
/// [`Config::new`] checks them; they mean nothing before.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct Settings {
    /// Whether a connection that ended is dialled again. Default: [`Reconnect::Always`].
    pub reconnect: Reconnect,
    /// The longest time without a *data* message before the socket is given up and dialled again, from
    /// the moment that the connection is ready. Pings and pongs do not count. Default: `None`, off.
    /// Catches feeds that keep answering pings and send nothing; too short a time drops a quiet feed.
    #[cfg_attr(feature = "serde", serde(with = "text::duration_or_off"))]
    pub stale_after: Option<Duration>,
    /// When to ask a silent peer for a sign of life. Default: every 20 s, 20 s for the answer. `None`
    /// is off: a peer that vanished without a word is then noticed only when something is written.
    #[cfg_attr(feature = "serde", serde(with = "text::or_off"))]
    pub keepalive: Option<Keepalive>,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// The deadlines of each stage.
    pub timeouts: Timeouts,
    /// What a server may make this process hold.
    pub limits: Limits,
    /// Whether and how messages are compressed. Default: `None`, off: nothing is offered, and a server that
    /// compresses all the same is disconnected.
    #[cfg_attr(feature = "serde", serde(with = "text::or_off"))]
    pub deflate: Option<Deflate>,
    /// How much received data may wait for its consumer. When it is full, this socket, and no other, is
    /// not read until there is room.
    pub inbound: QueueBounds,
    /// How much may wait to be sent, and what happens beyond.
    pub outbound: OutboundSettings,
    /// How received messages are gathered.
    pub batch: BatchPolicy,
    /// How many calls of a processor run at once, and in which order it gets its messages.
    pub processor: ProcessorSettings,
    /// What happens to a message that its processor wants to see again.
    pub retry: RetryPolicy,
    /// What happens to messages that do not decode.
    #[cfg_attr(feature = "serde", serde(rename = "decode"))]
    pub invalid: InvalidPolicy,
    /// Exceptions to the table that says what follows from each way a connection can end.
    pub classification: ClassificationSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reconnect: Reconnect::default(),
            stale_after: None,
            keepalive: Some(Keepalive::default()),
            backoff: BackoffSettings::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            deflate: None,
            inbound: QueueBounds::default(),
            outbound: OutboundSettings::default(),
            batch: BatchPolicy::default(),
            processor: ProcessorSettings::default(),
            retry: RetryPolicy::default(),
            invalid: InvalidPolicy::default(),
            classification: ClassificationSettings::default(),
        }
    }
}

/// Whether a connection that ended is dialled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Reconnect {
    /// Yes, by backoff and classification. The default.
    #[default]
    Always,
    /// No: one session, and the connection is done.
    Never,
}

#[cfg(test)]
mod tests;
