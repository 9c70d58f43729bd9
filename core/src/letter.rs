//! What could not be delivered or processed.

use bytes::Bytes;

use crate::ids::ConnectionId;
use crate::message::Kind;
use crate::time::Instant;

/// A message that could not be delivered or processed, with all that is needed to decide about it.
///
/// It is the record of an outcome that the counters hold already, not a further outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The endpoint in use when it failed, without secrets.
    pub endpoint: Box<str>,
    /// The socket it came over; for an outbound message, the last one that was tried.
    pub generation: u32,
    /// An inbound message's number ([`MessageRef::seq`](crate::MessageRef::seq)), an outbound one's
    /// [`MessageId`](crate::MessageId).
    pub seq: u64,
    /// Which way it was going.
    pub direction: Direction,
    /// On which level it failed.
    pub stage: Stage,
    /// Why, in words.
    pub reason: Box<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was received, or accepted for sending.
    pub received_at: Instant,
    /// When it failed for the first time.
    pub first_failed_at: Instant,
    /// Text or binary.
    pub kind: Kind,
    /// The payload, untouched.
    pub payload: Bytes,
}

/// A dead letter that goes back to its connection's consumer ([`Input::Redrive`](crate::Input::Redrive)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// Whose consumer is to have it.
    pub connection: ConnectionId,
    /// The caller's number for it, which comes back in [`Output::Redriven`](crate::Output::Redriven).
    pub letter: u64,
    /// The socket it once came over.
    pub generation: u32,
    /// The number that it had.
    pub seq: u64,
    /// Text or binary. A text that is not UTF-8 is handed on as binary.
    pub kind: Kind,
    /// The payload.
    pub payload: Bytes,
}

/// What became of a redriven letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A processor acknowledged it, or it was handed over to a puller.
    Delivered,
    /// It failed again, for this reason, after so many tries.
    Failed {
        /// Why.
        reason: Box<str>,
        /// How often it was tried this time.
        attempts: u32,
    },
}

/// Which way a message was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the server to the application.
    Inbound,
    /// From the application to the server.
    Outbound,
}

/// The level on which a message failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It could not be sent.
    Network,
    /// It could not be decoded.
    Protocol,
    /// Its processor rejected it.
    Business,
}

impl Stage {
    /// The word that records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Protocol => "protocol",
            Self::Business => "business",
        }
    }
}

impl Direction {
    /// The word that records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}
