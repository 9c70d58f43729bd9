//! Deadlines, and signs of life.

use std::time::Duration;

#[cfg(feature = "serde")]
use super::text::{self, DurationText};

/// How long each stage of a connection may take.
///
/// The deadlines of one attempt, [`resolve`](Self::resolve), [`connect`](Self::connect), [`tls`](Self::tls)
/// and [`upgrade`](Self::upgrade), may not exceed [`attempt`](Self::attempt). In a serialised configuration
/// those that are not given shrink with a shorter `attempt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(from = "Given")
)]
pub struct Timeouts {
    /// For the host name's addresses. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub resolve: Duration,
    /// For a transport to one address. Default: 5 s. Too short a time never reaches a far server; a
    /// long one delays the next address.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub connect: Duration,
    /// For the whole TLS handshake (`wss` only). Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub tls: Duration,
    /// For the server's whole answer to the upgrade request, however slowly its bytes arrive.
    /// Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub upgrade: Duration,
    /// For an attempt as a whole, from the first look-up to the answered upgrade. Default: 10 s. Other
    /// connections to the same address wait for as long (RFC 6455 §4.1).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub attempt: Duration,
    /// For the application's request provider. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub provider: Duration,
    /// For the ready script, replies included. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub ready: Duration,
    /// For the peer's part of the close handshake (RFC 6455 §7.1.1); then the socket is aborted.
    /// Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub close: Duration,
    /// How long a close frame waits, after a violation by the server, for the replies to the good
    /// messages before it. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub flush_before_close: Duration,
    /// How long bytes may wait with none of them accepted by the transport. Default: 30 s. Too short a
    /// time ends the socket of a peer that is only slow.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub write_progress: Duration,
    /// For the reply to a written message that awaits one ([`Acknowledge`](crate::Acknowledge)). Default: 10 s. Until then the
    /// message counts against the `outbound` queue. Stands still while this side does not read.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub acknowledge: Duration,
    /// For one data message, from the first byte of its first frame to its last byte, however its frames are
    /// cut and whatever control frames come between them (RFC 6455 §5.4). Default: `None`, off. Stands still
    /// while this side does not read. A server that takes longer loses its socket, and the connection is dialled
    /// again. Without it a server may hold up to [`message_bytes_max`](super::Limits::message_bytes_max) here for
    /// as long as it answers pings; too short a time ends the socket of a server that is only slow.
    #[cfg_attr(feature = "serde", serde(with = "text::duration_or_off"))]
    pub message: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            upgrade: Duration::from_secs(5),
            attempt: Duration::from_secs(10),
            provider: Duration::from_secs(10),
            ready: Duration::from_secs(10),
            close: Duration::from_secs(5),
            flush_before_close: Duration::from_secs(1),
            write_progress: Duration::from_secs(30),
            acknowledge: Duration::from_secs(10),
            message: None,
        }
    }
}

/// When a silent peer is asked for a sign of life, and how long it has. Any received byte is one.
///
/// Both times stand still while this side does not read because its consumer is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct Keepalive {
    /// A ping (RFC 6455 §5.5.2) is sent after this long without a received byte, or up to a 32nd of it earlier: then it leaves
    /// together with those of other connections, so that many of them do not wake the process one by one. Default: 20 s. Each
    /// ping is a packet either way; many proxies drop connections that are silent for 30 to 60 s.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub interval: Duration,
    /// After this much longer without a received byte the socket is given up, and the connection dialled
    /// again. Default: 20 s. Too short a time drops a healthy connection over a bad network.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
        }
    }
}

/// The keys that a configuration gave.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename = "Timeouts")]
struct Given {
    resolve: Option<DurationText>,
    connect: Option<DurationText>,
    tls: Option<DurationText>,
    upgrade: Option<DurationText>,
    attempt: Option<DurationText>,
    provider: Option<DurationText>,
    ready: Option<DurationText>,
    close: Option<DurationText>,
    flush_before_close: Option<DurationText>,
    write_progress: Option<DurationText>,
    acknowledge: Option<DurationText>,
    #[serde(default, with = "text::duration_or_off")]
    message: Option<Duration>,
}

#[cfg(feature = "serde")]
impl From<Given> for Timeouts {
    fn from(given: Given) -> Self {
        let default = Self::default();
        let or = |given: Option<DurationText>, default| given.map_or(default, |text| text.0);
        let attempt = or(given.attempt, default.attempt);
        Self {
            resolve: or(given.resolve, default.resolve.min(attempt)),
            connect: or(given.connect, default.connect.min(attempt)),
            tls: or(given.tls, default.tls.min(attempt)),
            upgrade: or(given.upgrade, default.upgrade.min(attempt)),
            attempt,
            provider: or(given.provider, default.provider),
            ready: or(given.ready, default.ready),
            close: or(given.close, default.close),
            flush_before_close: or(given.flush_before_close, default.flush_before_close),
            write_progress: or(given.write_progress, default.write_progress),
            acknowledge: or(given.acknowledge, default.acknowledge),
            message: given.message,
        }
    }
}
