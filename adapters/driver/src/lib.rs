//! Ropewalk's shard loop and handles, on any asynchronous runtime.
//!
//! Applications use one of the adapters, `ropewalk-tokio`, `ropewalk-smol` or `ropewalk-async-std`, which
//! re-export everything here with their runtime filled in. This crate is for those who write another
//! adapter: implement [`Runtime`], [`Socket`] and [`Timer`], on Linux `Watch` too, and the rest is here.
//!
//! # The parts
//!
//! - A [`Fleet`] is a scope: it owns connections and the tasks that serve them, and ends them with itself.
//! - [`Connect`] says what a connection is to be; [`Fleet::open`] makes it one and returns its
//!   [`ConnectionHandle`] at once.
//! - Messages come in [`Batch`]es, pulled with [`ConnectionHandle::next_batch`] or given to a processor
//!   ([`Connect::process`]), and leave through a [`Sender`].
//! - [`Events`] tell what happens, [`Letters`] what could not be delivered, a [`Report`] what became of it all.
//! - [`connect`] opens one plain WebSocket that is never dialled again.
//!
//! # How it works
//!
//! Connections are spread over shards, one task each, and stay where they are. A shard owns its
//! connections' state machines and sockets without a lock. What a wake-up costs does not depend on how many
//! sockets there are: on Linux they are registered with an epoll instance of the shard's, which the runtime
//! watches, and elsewhere each wakes the shard with a waker of its own. Nothing polls on an interval. A
//! shard works for about 200 µs or 128 KiB at a time, whichever comes first, and then lets others run.
//! Processors are called by a few tasks beside each shard, and a call that waits for something goes on in one of its own, as request
//! providers do; decoders and other hooks run in the shard.

#![forbid(unsafe_code)]

mod alarm;
mod application;
mod batches;
mod bell;
mod budget;
mod clock;
mod connect;
mod events;
mod fleet;
mod gate;
mod handle;
mod jobs;
mod letters;
mod link;
mod mailbox;
#[cfg(feature = "tls")]
mod native_tls;
mod oneshot;
#[cfg(feature = "platform-verifier")]
mod platform_tls;
#[cfg(target_os = "linux")]
mod poller;
#[cfg(not(target_os = "linux"))]
#[path = "no_poller.rs"]
mod poller;
mod posting;
mod process;
mod ready;
mod report;
mod room;
mod runtime;
mod scope;
mod scoped;
mod sender;
mod shard;
mod slots;
mod snapshot;
mod store;
mod sync;
mod tray;
mod turns;
mod waiters;
mod watched;
mod websocket;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod woken;

pub use connect::{Connect, InvalidConnect};
pub use events::{Events, FleetEvent};
pub use fleet::{Fleet, FleetBuilder, FleetError};
pub use handle::ConnectionHandle;
pub use letters::{Letter, LetterBounds, Letters};
#[cfg(feature = "tls")]
pub use native_tls::{NativeRootsError, native_roots, native_tls};
#[cfg(feature = "platform-verifier")]
pub use platform_tls::{PlatformTlsError, platform_tls};
pub use posting::PostAllError;
pub use report::{NamedReport, Report};
#[cfg(target_os = "linux")]
pub use runtime::Watch;
pub use runtime::{Runtime, Socket, Timer};
pub use sender::{Closed, Permit, Receipt, Sender};
pub use snapshot::Snapshot;
pub use store::{
    Change, Filter, HistoryEntry, LetterCounts, LetterId, LetterRecord, LetterState, LetterStore,
    LettersError, MemoryBounds, MemoryStore, QueuePolicy, StoreError, StoreQueue, StoredLetter,
    WhenFull,
};
pub use websocket::{ConnectError, WebSocket, WebSocketError, connect};

pub use ropewalk_core;
pub use ropewalk_core::settings::{Deflate, Order, ProcessorSettings, WorkerBounds};
pub use ropewalk_core::{
    Acknowledge, AdmissionLimits, AttemptRequest, Batch, Bytes, Class, CloseCode, CloseFrame,
    CloseReason, Coalesce, ConnectionId, ConnectionReport, Counters, DeadLetter, Direction,
    Disagreement, Event, EventKind, Expect, Fate, GaveUpCause, Hooks, Instant, Invalid,
    InvalidCounts, InvalidKind, Judged, Kind, Lane, Message, MessageRef, Messages, NotText,
    Offering, Offline, Outcome, PerKey, ProtocolError, Reading, ReadyStep, Renegotiation, Reply,
    Resend, SendError, SendErrorCause, Settings, Stage, State, Target, TargetError, Template,
    Terms, TlsConfig, TlsError, TlsErrorKind, UpgradeError, Urgency, Verdict,
};
