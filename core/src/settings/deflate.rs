//! Compression of messages (RFC 7692).

use std::num::NonZeroU32;

#[cfg(feature = "serde")]
use super::text;
use crate::websocket::deflate::{
    Agreement, Context, Deflator, Inflator, Offer, WhenIdle, WindowBits,
};

/// What is offered and done about permessage-deflate (RFC 7692). A server that does not know the
/// extension, or does not want it, leaves the connection uncompressed.
///
/// While a socket lives, receiving compressed messages costs 48 KiB and sending them up to 384 KiB, which
/// count against the bytes of all connections together. Compression also tells lengths: what an
/// attacker can put beside a secret in one message, or in earlier ones if the context is taken over, lets
/// them guess the secret by how long the message becomes. Messages of the ready script, which may
/// carry credentials, are never compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct Deflate {
    /// Requires the server to compress each message by itself (RFC 7692 §7.1.1.1). Default: false.
    /// Messages get longer, and the 48 KiB can be freed between them.
    pub server_no_context_takeover: bool,
    /// Compresses each of our messages by itself (RFC 7692 §7.1.1.2). Default: false. Messages get
    /// longer, and none refers to an earlier one. The server may ask for it whatever is set.
    pub client_no_context_takeover: bool,
    /// The largest window that the server may use, as its base-2 logarithm, from 8 to 15; below 15 the server
    /// must agree (RFC 7692 §7.1.2.1). Default: 15. Saves memory at the server; here the window has
    /// 32 KiB in any case.
    pub server_max_window_bits: u8,
    /// The largest window that this side uses, as its base-2 logarithm, from 8 to 15 (RFC 7692 §7.1.2.2).
    /// Default: 15, which costs 384 KiB while messages are sent; 9 costs 258 KiB. With 8 nothing is
    /// compressed on the way out. The server may ask for less.
    pub client_max_window_bits: u8,
    /// Messages of fewer bytes leave as they are. Default: 64. Compressing them costs more than it saves.
    /// Zero compresses all.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub threshold: usize,
    /// How hard to try, from 1 (fast) to 9 (small). Default: 6. Costs time, not memory.
    pub level: u8,
    /// How many times longer a received message may become before it is refused, beyond its first 64 KiB,
    /// which are always accepted. Default: `None`, off: the `limits` bound its memory already, and no data
    /// become more than 1,032 times longer.
    #[cfg_attr(feature = "serde", serde(with = "text::or_off"))]
    pub ratio_max: Option<NonZeroU32>,
    /// Frees the compressor's state whenever nothing waits to be sent, and the decompressor's between
    /// messages that are compressed by themselves. Default: false. Saves the memory of connections that
    /// are mostly silent, and makes their messages longer and slower.
    pub free_when_idle: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: WindowBits::MAX.get(),
            client_max_window_bits: WindowBits::MAX.get(),
            threshold: 64,
            level: 6,
            ratio_max: None,
            free_when_idle: false,
        }
    }
}

impl Deflate {
    /// What the opening request says. The settings have been checked.
    pub(crate) fn offer(&self) -> Offer {
        let context = |is_per_message| match is_per_message {
            true => Context::PerMessage,
            false => Context::TakenOver,
        };
        let window = |bits| WindowBits::new(bits).expect("checked with the configuration");
        Offer {
            server_context: context(self.server_no_context_takeover),
            client_context: context(self.client_no_context_takeover),
            server_window: window(self.server_max_window_bits),
            client_window: window(self.client_max_window_bits),
        }
    }

    pub(crate) fn inflator(&self, agreement: &Agreement) -> Inflator {
        Inflator::new(agreement, self.ratio_max, self.when_idle())
    }

    pub(crate) fn deflator(&self, agreement: &Agreement) -> Deflator {
        Deflator::new(agreement, self.level, self.threshold, self.when_idle())
    }

    fn when_idle(&self) -> WhenIdle {
        match self.free_when_idle {
            true => WhenIdle::Free,
            false => WhenIdle::Keep,
        }
    }
}
