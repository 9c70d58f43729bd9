//! What goes into a connection set and what comes out of it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::batch::{Batch, Judged};
use crate::event::{Counters, Event, Outcome, State};
use crate::ids::{ConnectionId, SocketId};
use crate::letter::{DeadLetter, Fate, Redrive};
use crate::message::MessageId;
use crate::reason::{CloseReason, TransportError};
use crate::target::AttemptRequest;
use crate::time::Instant;

/// Something that happened outside and that the set must hear of.
///
/// Inputs never fail: a peer that misbehaves becomes an event and a close frame, and an input that names a
/// socket or a connection which no longer exists is ignored.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The answer to [`Output::Provide`].
    Provided {
        /// Whose attempt it is for.
        connection: ConnectionId,
        /// The attempt that was asked about.
        generation: u32,
        /// What to change for this attempt, or why there can be none.
        result: Result<AttemptRequest, Box<str>>,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// Whose attempt it is for.
        connection: ConnectionId,
        /// The attempt that was asked about.
        generation: u32,
        /// The addresses in the order of preference, or the resolver's words.
        result: Result<Vec<SocketAddr>, Box<str>>,
    },
    /// Admission lets the connection go on (see [`AdmissionRequest`]).
    Admitted {
        /// Whose turn it is.
        connection: ConnectionId,
        /// What it may do now.
        stage: crate::admission::Stage,
    },
    /// Admission granted more bytes to this set.
    BytesGranted(u64),
    /// [`Output::Connect`] succeeded.
    Connected {
        /// The socket that is now connected.
        socket: SocketId,
    },
    /// The socket failed, while connecting or later. The driver has dropped it.
    TransportFailed {
        /// The socket that is gone.
        socket: SocketId,
        /// What the system said.
        error: TransportError,
    },
    /// The peer ended its half of the stream.
    Eof {
        /// The socket that ended.
        socket: SocketId,
    },
    /// The answer to [`CallRequest::Ask`].
    CallGranted {
        /// Whose call may begin.
        connection: ConnectionId,
    },
    /// The consumer waits for a batch. In the pull style this also says that it is done with all before; a processor asks once for
    /// each call that may run beside those that do.
    Ask {
        /// Whose messages it wants.
        connection: ConnectionId,
    },
    /// The processor returned a batch with its verdicts.
    Judged(Judged),
    /// [`Judged`](Self::Judged) and then [`Ask`](Self::Ask) for the same connection, as one change.
    JudgedAndAsk(Judged),
    /// A dead letter goes back to its connection's consumer, behind all that waits there; if messages keep only
    /// the order of their keys, behind all of its key. Its fate is told by [`Output::Redriven`]; there is none if
    /// the connection ends first, and its message counts as dropped then.
    Redrive(Box<Redrive>),
    /// Time has passed; send it at the latest at the deadline that [`Output::Idle`] named.
    Timeout,
}

/// Something that the driver must do.
///
/// Exhaustive on purpose: a new output must stop a driver from compiling.
#[derive(Debug)]
pub enum Output {
    /// Ask the application's request provider; answer with [`Input::Provided`].
    Provide {
        /// Whose attempt it is for.
        connection: ConnectionId,
        /// The attempt; goes back with the answer.
        generation: u32,
        /// Failures in a row before this attempt.
        failures: u32,
    },
    /// Pass this on to the [`Admission`](crate::admission::Admission) that the shards share.
    Admission(AdmissionRequest),
    /// Pass this on to the [`Calls`](crate::admission::Calls) that the shards share. Only if the set
    /// [shares its calls](crate::ConnectionSet::sharing_calls).
    Call(CallRequest),
    /// Resolve a host name; answer with [`Input::Resolved`]. A literal address is not asked for.
    Resolve {
        /// Whose attempt it is for.
        connection: ConnectionId,
        /// The attempt; goes back with the answer.
        generation: u32,
        /// The name.
        host: Box<str>,
        /// The port to put into the answer.
        port: u16,
    },
    /// Open a socket; answer with [`Input::Connected`] or [`Input::TransportFailed`].
    Connect {
        /// The name of the new socket.
        socket: SocketId,
        /// Where to.
        peer: Peer,
    },
    /// The socket has bytes to write: call [`ConnectionSet::transmit`](crate::ConnectionSet::transmit) until it returns `None`
    /// or the socket accepts no more; in that case again when it does. Not repeated until then.
    Transmit {
        /// The socket.
        socket: SocketId,
    },
    /// End our half of the stream.
    ShutdownWrite {
        /// The socket.
        socket: SocketId,
    },
    /// Drop the socket at once, whatever its state, connecting included. No input about it will be listened to.
    Abort {
        /// The socket.
        socket: SocketId,
    },
    /// Stop or resume reading this socket. New sockets are read.
    Read {
        /// The socket.
        socket: SocketId,
        /// Which of the two.
        reading: crate::event::Reading,
    },
    /// Stop or resume reading all sockets but those of handshakes, because the bytes of all connections together are
    /// used up. [`ConnectionSet::wants_read`](crate::ConnectionSet::wants_read) says it of each socket.
    ReadAll {
        /// Which of the two.
        reading: crate::event::Reading,
        /// While stopped: the one socket that may go on, so that a message under way can be finished.
        except: Option<SocketId>,
    },
    /// Hand the batch to the connection's consumer, which asked for it.
    Deliver(Batch),
    /// What became of an outbound message whose sender wanted to know.
    Outcome {
        /// Whose message.
        connection: ConnectionId,
        /// Which message.
        message: MessageId,
        /// What became of it.
        outcome: Outcome,
    },
    /// Messages left the outbound queue: there is room for this much more.
    Room {
        /// Whose queue.
        connection: ConnectionId,
        /// Messages.
        items: usize,
        /// Payload bytes.
        bytes: usize,
    },
    /// Keep this where a person or a program can decide about it.
    DeadLetter(Box<DeadLetter>),
    /// A redriven letter was delivered, or failed again. It is no new dead letter.
    Redriven {
        /// Whose letter.
        connection: ConnectionId,
        /// Which letter: [`Redrive::letter`].
        letter: u64,
        /// What became of it.
        fate: Fate,
    },
    /// A fact for the application.
    Event(Box<Event>),
    /// The connection has ended and its id is no longer valid.
    Removed(Box<ConnectionReport>),
    /// There is nothing else to do until an input comes, or this deadline, if there is one.
    Idle {
        /// When to send [`Input::Timeout`]. It lies in the past if an input for one connection came after the
        /// deadline of another: then send it at once.
        next_timeout: Option<Instant>,
    },
}

/// Where a socket leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// To this address.
    Address(SocketAddr),
    /// Wherever the application's own transport leads; this endpoint is what it was given, without secrets.
    Transport(Box<str>),
}

/// What a connection wants of the admission that all shards share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRequest {
    /// A connection to this host exists from now on.
    Join(Arc<str>),
    /// It is gone.
    Leave(Arc<str>),
    /// Ask for a slot; answered by [`Input::Admitted`] with [`Stage::Resolve`](crate::admission::Stage).
    Request {
        /// Who asks.
        connection: ConnectionId,
        /// For which host.
        host: Arc<str>,
        /// What kind of dial it is.
        dial: crate::admission::Dial,
    },
    /// The address is known; answered by [`Input::Admitted`] with [`Stage::Connect`](crate::admission::Stage).
    Narrow {
        /// Who asks.
        connection: ConnectionId,
        /// The address that is dialled next.
        address: SocketAddr,
    },
    /// The connection no longer counts as connecting, or no longer wants to.
    Release {
        /// Who lets go.
        connection: ConnectionId,
    },
    /// Ask for bytes; answered by [`Input::BytesGranted`], perhaps later.
    TakeBytes(u64),
    /// Return bytes.
    GiveBytes(u64),
}

/// What a connection wants of the processor calls that all connections share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallRequest {
    /// Ask for one call; answered by [`Input::CallGranted`]. Asked again when much more waits.
    Ask {
        /// Who asks.
        connection: ConnectionId,
        /// How many messages wait.
        waiting: u32,
    },
    /// A call that was granted has ended, or was not needed.
    End {
        /// Whose call.
        connection: ConnectionId,
    },
    /// The connection has ended: it wants no call any more.
    Withdraw {
        /// Who asked.
        connection: ConnectionId,
    },
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Send what is queued, close the WebSocket, let the consumer finish; whatever is left at the deadline is dropped and reported.
    Graceful {
        /// When patience ends.
        deadline: Instant,
    },
    /// As graceful, but the consumer is gone: what it has not taken is dropped and counted.
    Unread {
        /// When patience ends.
        deadline: Instant,
    },
    /// At once.
    Abort,
}

/// Who takes a connection's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// Somebody who asks for batches; a message is delivered when it is handed over.
    Pull,
    /// A processor that returns each batch with verdicts; a message is delivered when it is acknowledged.
    Process,
}

/// What became of a connection and its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Which connection.
    pub connection: ConnectionId,
    /// The endpoint it used last, without secrets.
    pub endpoint: Box<str>,
    /// The state it was in when its end began.
    pub state: State,
    /// Why its last attempt or session ended, if one did.
    pub reason: Option<CloseReason>,
    /// Every message, accounted for.
    pub counters: Counters,
}
