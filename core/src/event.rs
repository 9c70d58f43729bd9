//! Facts for the application.

use std::fmt;
use std::time::Duration;

use crate::classify::Class;
use crate::ids::ConnectionId;
use crate::letter::{Direction, Fate, Stage};
use crate::message::Message;
use crate::reason::CloseReason;
use crate::renegotiate::{InvalidKind, Offering};
use crate::settings::DropPolicy;
use crate::time::Instant;
use crate::websocket::deflate::Agreement;

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// To which connection.
    pub connection: ConnectionId,
    /// To which of its sockets: dials are numbered from 1; 0 before the first.
    pub generation: u32,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The connection moved from one state to another.
    State {
        /// The state it left.
        from: State,
        /// The state it is in.
        to: State,
    },
    /// The ready script has succeeded; messages flow.
    Ready {
        /// The endpoint, without secrets.
        endpoint: Box<str>,
        /// The subprotocol that the server chose.
        subprotocol: Option<Box<str>>,
        /// What was agreed about compression; `None` if nothing is compressed on this socket (RFC 7692).
        compression: Option<Agreement>,
    },
    /// An attempt or a session ended.
    Closed {
        /// Why.
        reason: CloseReason,
        /// How long the session was ready; zero for an attempt that never was.
        uptime: Duration,
    },
    /// The next attempt is scheduled.
    Retrying {
        /// Failures in a row, this one included; 0 after a stable session.
        attempt: u32,
        /// How long until the attempt.
        delay: Duration,
        /// When the attempt is due; admission may hold it back further.
        at: Instant,
        /// How the end was classified.
        class: Class,
    },
    /// The server's messages were not understood: the next dial offers something else.
    Renegotiating {
        /// The subprotocols of the offer, the most wanted first; a request provider may replace them, if it was walked.
        subprotocols: Vec<Box<str>>,
        /// Whether permessage-deflate is offered.
        compression: Offering,
    },
    /// Sessions keep ending before they are stable; the delays keep growing.
    Flapping {
        /// Short sessions in a row.
        sessions: u32,
    },
    /// There will be no further attempt.
    GaveUp {
        /// Why the last attempt or session ended.
        reason: CloseReason,
        /// Which rule ended the retries.
        cause: GaveUpCause,
    },
    /// The numbers that the application's sequence function finds do not continue.
    Gap {
        /// The number that was wanted.
        expected: u64,
        /// The number that came.
        received: u64,
    },
    /// A message was refused by the application's decoder. Sent for the first of a window of one second, with
    /// the count of all so far.
    Filtered {
        /// The message's number.
        seq: u64,
        /// What kind of fault the decoder found.
        kind: InvalidKind,
        /// What the decoder said.
        reason: Box<str>,
        /// The first bytes of the message, as many as [`sample_bytes`](crate::settings::InvalidPolicy::sample_bytes) says at most,
        /// cut between two characters of a text; `None` if it says 0.
        sample: Option<Message>,
        /// All filtered messages of this connection so far.
        total: u64,
    },
    /// The outbound queue was full and a message was dropped. Sent for the first of a window of one second, with
    /// the count of all so far.
    Dropped {
        /// Which.
        policy: DropPolicy,
        /// All that this connection has dropped so far, rather than send them.
        total: u64,
    },
    /// A message became a dead letter.
    Letter {
        /// The message's number.
        seq: u64,
        /// Which way it was going.
        direction: Direction,
        /// On which level it failed.
        stage: Stage,
    },
    /// A dead letter was committed to the fleet's store: it outlives the process from here on. A driver
    /// tells this and what follows about letters; the core never does.
    LetterStored {
        /// The store's number for it.
        letter: u64,
        /// The message's number.
        seq: u64,
        /// Which way it was going.
        direction: Direction,
    },
    /// The store could not take letters; it is tried again while they can be kept in memory.
    LettersNotStored {
        /// What the store said.
        reason: Box<str>,
        /// How many letters wait for it.
        waiting: u64,
    },
    /// Letters were given up, because more wait for the store than may. Sent for the first of a window of one
    /// second, with the count of all so far.
    LettersDropped {
        /// All of the fleet so far.
        total: u64,
    },
    /// A letter that was redriven was delivered, or failed again.
    Redriven {
        /// The store's number for it.
        letter: u64,
        /// What became of it.
        fate: Fate,
    },
    /// The processor's calls may be more, or fewer, at once than was told last. A second passes between two of these.
    Scaled {
        /// How many it was.
        from: u16,
        /// How many it is.
        to: u16,
    },
    /// The inbound queue is full and its socket is no longer read, or is read again. A pause is told once a
    /// second at most, its end only if the pause was.
    Reading(Reading),
}

/// Whether a socket is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// Back-pressure: the server will find its sending slowed.
    Paused,
    /// It is read.
    Resumed,
}

/// Which rule ended the retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GaveUpCause {
    /// The reason is one that no retry mends.
    Terminal,
    /// Fresh credentials were refused too.
    Reauth,
    /// The same misbehaviour for the third time within ten minutes.
    Strikes,
    /// `attempts_max` or `elapsed_max` was reached.
    Exhausted,
    /// The first dial failed and the policy makes that final.
    FirstDial,
    /// The connection was asked for one session only.
    OneSession,
    /// The application's [`Renegotiate`](crate::Renegotiate) decided so.
    Disagreement,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not started.
    #[default]
    Idle,
    /// Its turn to dial has not come.
    WaitingForSlot,
    /// The request is being provided and the host resolved.
    Resolving,
    /// The transport is being connected.
    Connecting,
    /// The TLS handshake is under way (`wss` only).
    TlsHandshaking,
    /// The opening handshake is under way.
    Upgrading,
    /// The ready script is running.
    Readying,
    /// Messages flow.
    Open,
    /// A close is under way.
    Closing,
    /// Waiting before the next attempt.
    Backoff,
    /// Stopped by the application until it resumes.
    Paused,
    /// Ended by the application.
    Closed,
    /// Ended because no further attempt makes sense.
    GaveUp,
}

impl State {
    /// The word that records, tables and traces use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::WaitingForSlot => "waiting_for_slot",
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
            Self::TlsHandshaking => "tls_handshaking",
            Self::Upgrading => "upgrading",
            Self::Readying => "readying",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Backoff => "backoff",
            Self::Paused => "paused",
            Self::Closed => "closed",
            Self::GaveUp => "gave_up",
        }
    }

    /// Whether the connection has ended for good.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Closed | Self::GaveUp)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of an outbound message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel accepted its last byte. That is not proof of delivery. For a message that awaited a reply, that none
    /// came in time, or before the socket was lost.
    Written,
    /// The reply that it awaited, which was delivered like any other message, too.
    Acknowledged(Box<Message>),
    /// The socket was lost after the kernel had accepted some of its bytes, not all, and the message does not go out again:
    /// it may not, or its time was over, or there was no other socket.
    Interrupted,
    /// The connection ended for good before its first byte was written; or the socket was lost, and the message was
    /// [not to wait](crate::Offline::Refuse) for another.
    NotSent,
    /// Its [time to live](crate::Message::ttl) was over before its first byte was written.
    Expired,
    /// The queue was full, and the policy dropped it.
    Dropped(DropPolicy),
}

impl Outcome {
    /// The word that records use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Acknowledged(_) => "acknowledged",
            Self::Interrupted => "interrupted",
            Self::NotSent => "not_sent",
            Self::Expired => "expired",
            Self::Dropped(_) => "dropped",
        }
    }
}

/// The two conservation laws of a connection, as counts of messages.
///
/// `accepted = waiting + in_flight_out + written + interrupted + not_sent + expired + dropped_out` and
/// `received + redriven = delivered + filtered + rejected + dropped + in_flight_in`, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Outbound messages that the connection took charge of.
    pub accepted: u64,
    /// Accepted, and not a byte of them on the current socket.
    pub waiting: u64,
    /// Accepted, and some bytes but not all on the current socket: 0 or 1, or with TLS all those that are in a
    /// record that is cut. And all that are written and await a reply.
    pub in_flight_out: u64,
    /// Written whole.
    pub written: u64,
    /// Those of the written whose reply came.
    pub acknowledged: u64,
    /// How often a message was begun again on another socket, after one that was lost had begun it: the peer may have it twice.
    /// Only messages that are marked idempotent ever are.
    pub resent: u64,
    /// Cut off by the loss of a socket.
    pub interrupted: u64,
    /// Never begun when the connection ended, or when the socket was lost that they were not to outlive.
    pub not_sent: u64,
    /// Never begun when their time was over.
    pub expired: u64,
    /// Dropped because the outbound queue was full.
    pub dropped_out: u64,
    /// Data messages that arrived whole.
    pub received: u64,
    /// Dead letters that went back to the consumer: they were received, and rejected or filtered, before.
    pub redriven: u64,
    /// Handed over to a puller, or acknowledged by a processor.
    pub delivered: u64,
    /// Refused by the application's decoder.
    pub filtered: u64,
    /// Rejected by the processor, or out of retries: dead letters.
    pub rejected: u64,
    /// Left in the queue when the connection ended.
    pub dropped: u64,
    /// Received, and not yet any of these.
    pub in_flight_in: u64,
    /// Payload bytes of received data messages.
    pub received_bytes: u64,
    /// Payload bytes of written messages.
    pub written_bytes: u64,
    /// Sockets dialled.
    pub dials: u64,
    /// Sessions that became ready.
    pub sessions: u64,
    /// Inputs that named a socket which the connection had given up.
    pub stale_inputs: u64,
    /// Time spent ready, over all sessions that have ended.
    pub uptime: Duration,
    /// Calls of the processor that may run at once, as far as its latency has shown; 0 without a processor.
    pub workers: u16,
    /// The last ping's round trip, in microseconds; 0 before the first.
    pub round_trip_last_micros: u32,
    /// The smoothed round trip (RFC 6298's α = 1/8), in microseconds.
    pub round_trip_smoothed_micros: u32,
}

impl Counters {
    /// Whether both conservation laws hold.
    pub fn are_conserved(&self) -> bool {
        self.accepted
            == self.waiting
                + self.in_flight_out
                + self.written
                + self.interrupted
                + self.not_sent
                + self.expired
                + self.dropped_out
            && self.received + self.redriven
                == self.delivered + self.filtered + self.rejected + self.dropped + self.in_flight_in
    }
}
