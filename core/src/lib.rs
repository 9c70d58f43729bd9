//! The sans-IO core of Ropewalk.
//!
//! A [`ConnectionSet`] keeps many WebSocket **client** connections alive: it dials, upgrades, reconnects
//! with backoff, pings, batches what arrives, queues what is to leave, and accounts for every message. It does
//! no I/O, reads no clock and asks for no entropy. Whoever drives it passes in what happened
//! ([`Input`], received bytes, and the time of each) and does what comes out ([`Output`]).
//!
//! # The run loop
//!
//! ```
//! use std::sync::Arc;
//! use ropewalk_core::{Config, ConnectionSet, Consumer, Instant, Output, Seed, Target};
//!
//! # fn main() -> Result<(), ropewalk_core::TargetError> {
//! let mut set = ConnectionSet::new(Seed::for_tests(1));
//! let now = Instant::ORIGIN;
//! let target = Target::parse("ws://127.0.0.1:9001/feed")?;
//! let id = set.insert(now, target, Arc::new(Config::default()), Consumer::Pull);
//!
//! // Drain to idle after every change; then wait for the next input or for the deadline.
//! let next_timeout = loop {
//!     match set.poll_output(now) {
//!         Output::Idle { next_timeout } => break next_timeout,
//!         output => println!("to do: {output:?}"),
//!     }
//! };
//! assert!(next_timeout.is_none(), "its turn to dial comes from the admission");
//! # let _ = id; Ok(())
//! # }
//! ```
//!
//! A dial asks the [`admission::Admission`] that all sets of a process share for its turn, resolves the
//! host, and opens a socket; bytes then go in by [`ConnectionSet::read_buffer`] and [`ConnectionSet::handle_read`], and out by
//! [`ConnectionSet::transmit`]. The crate `ropewalk-driver` does all this on any async runtime; use the core
//! directly to embed it in an event loop of your own, or to test against it in virtual time.
//!
//! # What is promised
//!
//! - Two runs with one [`Seed`] and the same inputs give the same outputs.
//! - Every accepted message has exactly one outcome and every received one is accounted for:
//!   [`Counters::are_conserved`] holds after every call.
//! - Nothing that a peer sends makes a call fail, panic, or allocate by a length that was only declared.
//! - An idle connection costs at most 512 bytes here and wakes up for its keepalive only.

#![forbid(unsafe_code)]

pub mod admission;
mod arenas;
pub mod backoff;
pub mod classify;
pub mod hooks;
pub mod settings;
pub mod target;
pub mod tls;
pub mod websocket;

mod batch;
mod connection;
mod event;
mod ids;
mod inbound;
mod io;
mod letter;
mod message;
mod outbound;
mod reason;
mod renegotiate;
mod seed;
mod set;
mod time;
mod timers;
mod workers;

pub use admission::{Admission, AdmissionLimits};
pub use backoff::{Backoff, Ended};
pub use batch::{Batch, Judged, MessageRef, Messages, NotText, Verdict};
pub use bytes::Bytes;
pub use classify::Class;
pub use event::{Counters, Event, EventKind, GaveUpCause, Outcome, Reading, State};
pub use hooks::{
    Acknowledge, Coalesce, Decode, Expect, Hooks, PerKey, Provider, ReadyStep, Reply, Resume,
    Template, Urgency, Urgent,
};
pub use ids::{ConnectionId, SocketId};
pub use io::{
    AdmissionRequest, CallRequest, ConnectionReport, Consumer, Input, Output, Peer, Shutdown,
};
pub use letter::{DeadLetter, Direction, Fate, Redrive, Stage};
pub use message::{Kind, Lane, Message, MessageId, Offline, Resend};
pub use outbound::{Packed, Report, Room, SendError, SendErrorCause};
pub use reason::{CloseReason, TimerKind, TransportError, TransportErrorKind};
pub use renegotiate::{
    Disagreement, Invalid, InvalidCounts, InvalidKind, Offering, Renegotiate, Renegotiation, Terms,
};
pub use seed::{Jitter, Secrets, Seed};
pub use set::{ConnectionSet, Transmit};
pub use settings::{Config, ConfigError, Settings};
pub use target::{AttemptRequest, Endpoint, Scheme, Target, TargetError};
pub use time::Instant;
pub use timers::TimerHeap;
pub use tls::{TlsConfig, TlsError, TlsErrorKind};
pub use websocket::{CloseCode, CloseFrame, ProtocolError, UpgradeError};
