//! One connection: everything that happens to it, from the first dial to the last report.
//!
//! The parts: [`state`] (which moves there are), [`attempt`] (from a slot to an established WebSocket),
//! [`session`] (one WebSocket), [`receive`] and [`transmit`] (its two directions), [`compression`] (what is
//! done to messages before they are transmitted), [`tls`] (between these and the socket), [`closing`] (the
//! closing handshake), [`renegotiation`] (what dials offer after a server was not understood), [`calls`] (when a processor's next call may begin), [`arriving`] (the time of a message), [`settling`] (what follows from a change), [`ending`] (how sessions and connections end) and [`deadlines`] (what is due when).

mod arriving;
mod attempt;
mod calls;
mod closing;
mod compression;
mod deadlines;
mod ending;
mod reading;
mod receive;
mod renegotiation;
mod sending;
mod session;
mod settling;
mod state;
mod tls;
mod transmit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Dial;
use crate::arenas::{Arenas, READ_BYTES};
use crate::backoff::Backoff;
use crate::batch::{Judged, MessageRef, Verdict};
use crate::classify::Strikes;
use crate::event::{Counters, Event, EventKind, Reading, State};
use crate::ids::{ConnectionId, SocketId};
use crate::inbound::Inbound;
use crate::io::{AdmissionRequest, ConnectionReport, Consumer, Output, Shutdown};
use crate::letter::{DeadLetter, Direction, Fate, Redrive, Stage};
use crate::message::Kind;
use crate::outbound::Outbound;
use crate::reason::CloseReason;
use crate::seed::{Jitter, Secrets};
use crate::settings::{Config, RetryPolicy, Settings};
use crate::target::{Endpoint, Target};
use crate::time::Instant;

use attempt::Attempt;
pub(crate) use calls::Kept;
use ending::{Ending, Inbox};
use receive::InvalidWindow;
use renegotiation::{Agreed, Negotiation};
use sending::Discarded;
use session::Session;
use state::{Intent, Lifecycle, Moved};
use tls::Tls;
pub(crate) use transmit::Unit;

/// What a step may use beside the connection itself.
pub(crate) struct Step<'a> {
    pub(crate) now: Instant,
    pub(crate) secrets: &'a mut Secrets,
    pub(crate) out: &'a mut VecDeque<Output>,
    pub(crate) arenas: &'a mut Arenas,
    /// Whether the set lets the connection's socket be read.
    pub(crate) turn: Turn,
    /// Whether calls of processors are asked for.
    pub(crate) calls: Sharing,
    pub(crate) kept: &'a mut Kept,
    /// For how long, in all, the set did not let its sockets be read.
    pub(crate) unread: Duration,
    /// What left the outbound queue in this step.
    pub(crate) freed_items: usize,
    pub(crate) freed_bytes: usize,
}

/// Whose sockets may be read, as far as the bytes go that all connections may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Everybody,
    /// This connection's and no other's.
    Alone,
    /// Another's, or nobody's.
    NotNow,
}

/// Whether the calls of processors are counted together with those of other sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    #[default]
    Alone,
    Shared,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        now: Instant,
        secrets: &'a mut Secrets,
        out: &'a mut VecDeque<Output>,
        arenas: &'a mut Arenas,
        kept: &'a mut Kept,
        turn: Turn,
        unread: Duration,
    ) -> Self {
        Self {
            now,
            secrets,
            out,
            arenas,
            turn,
            calls: Sharing::Alone,
            kept,
            unread,
            freed_items: 0,
            freed_bytes: 0,
        }
    }
}

/// A WebSocket client connection with its reconnect loop, its queues and its counters.
///
/// What lives and dies with a socket is in `attempt` and `session`; everything else survives sockets.
///
/// The order is that of use. With many connections, a read finds its connection outside the processor's caches, and what it needs lies
/// side by side, from the end of `outbound` to the beginning of `session`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Connection {
    tally: Tally,
    outbound: Outbound,
    config: Arc<Config>,
    generation: u32,
    life: Lifecycle,
    consumer: Consumer,
    reading: Reading,
    /// Of the socket that there is; goes with it.
    tls: Option<Box<Tls>>,
    ending: Option<Box<Ending>>,
    attempt: Option<Box<Attempt>>,
    id: ConnectionId,
    received: u64,
    received_bytes: u64,
    delivered: u64,
    inbound: Inbound,
    session: Option<Session>,
    target: Arc<Target>,
    history: Option<Box<History>>,
    backoff: Backoff,
    jitter: Jitter,
    next_sequence: u64,
    endpoint: u16,
    is_pause_told: bool,
    is_transmit_announced: bool,
    was_ever_ready: bool,
}

/// What a connection remembers of its troubles; one that never had any remembers nothing.
#[derive(Debug, Default)]
struct History {
    last_reason: Option<CloseReason>,
    /// In `Backoff`: when the next attempt is due.
    redial_at: Instant,
    stale_inputs: u64,
    strikes: Strikes,
    /// How often fresh credentials were asked for in a row.
    reauths: u8,
    /// When the present row of failures began.
    failing_since: Instant,
    invalid: InvalidWindow,
    negotiation: Option<Box<Negotiation>>,
    /// Of the session that there is: only if messages can be invalid, and there is something else to offer.
    agreed: Option<Box<Agreed>>,
    discarded: Discarded,
    acknowledged: u64,
    resent: u64,
    /// Dead letters that went back to the consumer.
    redriven: u64,
    /// When the application was last told that its slowness stops the reading.
    pause_told_at: Option<Instant>,
}

/// The counters as they are kept; [`Counters`] derives the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    written: u64,
    interrupted: u64,
    not_sent: u64,
    filtered: u64,
    rejected: u64,
    dropped: u64,
    written_bytes: u64,
    uptime_nanos: u64,
    dials: u32,
    sessions: u32,
    round_trip_last_micros: u32,
    round_trip_smoothed_micros: u32,
}

/// An open idle connection fits here, with everything that it needs to stay open; it has no buffers beside.
const _: () = assert!(size_of::<Connection>() <= 512);

/// What a read needs is as much as four lines of a cache hold.
#[cfg(target_pointer_width = "64")]
const _: () = {
    let begin = std::mem::offset_of!(Connection, outbound) + Outbound::RARE_AT;
    let end = std::mem::offset_of!(Connection, session) + Session::READ_BYTES;
    assert!(end - begin <= 4 * 64);
};

// Commands.
impl Connection {
    pub(crate) fn new(
        step: &mut Step<'_>,
        id: ConnectionId,
        target: Arc<Target>,
        config: Arc<Config>,
        consumer: Consumer,
        jitter: Jitter,
    ) -> Self {
        let next_sequence = config.hooks().resume.as_ref().map_or(0, |r| r.start);
        let inbound = Inbound::new(consumer, &config.settings().processor);
        let mut connection = Self {
            id,
            config,
            target,
            life: Lifecycle::new(),
            consumer,
            reading: Reading::Resumed,
            is_pause_told: false,
            is_transmit_announced: false,
            was_ever_ready: false,
            endpoint: 0,
            generation: 0,
            backoff: Backoff::new(),
            jitter,
            history: None,
            attempt: None,
            session: None,
            tls: None,
            ending: None,
            outbound: Outbound::default(),
            inbound,
            next_sequence,
            received: 0,
            received_bytes: 0,
            delivered: 0,
            tally: Tally::default(),
        };
        for endpoint in connection.target.endpoints() {
            let host = Arc::clone(endpoint.host_key());
            step.out
                .push_back(Output::Admission(AdmissionRequest::Join(host)));
        }
        connection.start_dial(step, Dial::First);
        connection
    }

    pub(crate) fn ask(&mut self) {
        self.inbound.ask(self.consumer);
    }

    /// Takes a judged batch back: counts what was acknowledged, keeps what is to be tried again, and makes
    /// dead letters of the rest.
    pub(crate) fn judged(&mut self, step: &mut Step<'_>, judged: &Judged) {
        let batch = judged.batch();
        if self.consumer == Consumer::Pull || !self.inbound.finish(step.now, batch) {
            return;
        }
        self.end_calls(step, 1);
        self.delivered += (batch.len() - judged.refusals().len()) as u64;
        if judged.refusals().is_empty() {
            if let Some(letter) = batch.letter() {
                self.tell_fate(step, letter, Fate::Delivered);
            }
            return;
        }
        let policy = self.config.settings().retry;
        let mut again = Vec::new();
        let mut delay = Duration::ZERO;
        for (index, verdict) in judged.refusals() {
            let Some(message) = batch.get(*index) else {
                continue;
            };
            let reason: Box<str> = match verdict {
                Verdict::Ack => continue,
                Verdict::Retry { after } if batch.attempt() <= policy.attempts_max => {
                    again.push(*index);
                    delay =
                        delay.max(after.unwrap_or_else(|| retry_delay(&policy, batch.attempt())));
                    continue;
                }
                Verdict::Retry { .. } => {
                    format!("still asked for a retry at its try {}", batch.attempt()).into()
                }
                Verdict::Reject(reason) => reason.clone(),
            };
            self.tally.rejected += 1;
            if let Some(letter) = batch.letter() {
                let attempts = batch.attempt();
                self.tell_fate(step, letter, Fate::Failed { reason, attempts });
                continue;
            }
            let letter = DeadLetter {
                connection: self.id,
                endpoint: self.endpoint_shown(),
                generation: batch.generation(),
                seq: message.seq(),
                direction: Direction::Inbound,
                stage: Stage::Business,
                reason,
                attempts: batch.attempt(),
                received_at: message.received_at(),
                first_failed_at: batch.failed_before().unwrap_or(step.now),
                kind: message.kind(),
                payload: bytes::Bytes::copy_from_slice(message.as_bytes()),
            };
            self.emit_letter(step, letter);
        }
        if !again.is_empty() {
            self.inbound
                .retry(batch, &again, step.now + delay, step.now);
        }
    }

    /// A dead letter goes back to the consumer. What was received since then is in front of it, as far as messages
    /// keep their order.
    pub(crate) fn redrive(&mut self, step: &Step<'_>, redrive: &Redrive) {
        self.history.get_or_insert_default().redriven += 1;
        let kind = match redrive.kind {
            Kind::Text if std::str::from_utf8(&redrive.payload).is_ok() => Kind::Text,
            Kind::Text | Kind::Binary => Kind::Binary,
        };
        let message = MessageRef::new(kind, &redrive.payload, redrive.seq, step.now);
        let lane = self.inbound.lane_of(|| {
            let per_key = self.config.hooks().per_key.as_ref();
            per_key.map_or(0, |per_key| per_key.hash(message))
        });
        self.inbound
            .redrive(redrive.generation, redrive.letter, lane, message);
    }

    pub(crate) fn pause(&mut self, step: &mut Step<'_>) {
        if self.life.intent() != Intent::Run || self.life.state().is_terminal() {
            return;
        }
        self.life.want(Intent::Pause);
        self.stop(step, None);
    }

    pub(crate) fn resume(&mut self, step: &mut Step<'_>) {
        if self.life.intent() != Intent::Pause {
            return;
        }
        self.life.want(Intent::Run);
        self.forget_disagreements();
        // A close that is still under way ends first; what follows it is decided then.
        if self.life.state() == State::Paused {
            self.start_dial(step, Dial::Redial);
        }
    }

    pub(crate) fn retry_now(&mut self, step: &mut Step<'_>) {
        if self.life.state() == State::Backoff {
            self.start_dial(step, Dial::Redial);
        }
    }

    pub(crate) fn remove(&mut self, step: &mut Step<'_>, how: Shutdown) {
        let (deadline, inbox) = match how {
            Shutdown::Abort => (step.now, Inbox::Awaited),
            Shutdown::Graceful { deadline } => (deadline, Inbox::Awaited),
            Shutdown::Unread { deadline } => (deadline, Inbox::Abandoned),
        };
        let state = self.life.state();
        let ending = self.ending.get_or_insert_with(|| {
            Box::new(Ending {
                deadline,
                state,
                inbox,
            })
        });
        ending.deadline = ending.deadline.min(deadline);
        if inbox == Inbox::Abandoned {
            ending.inbox = inbox;
        }
        self.life.want(Intent::End);
        if !self.life.state().is_terminal() {
            self.stop(step, Some(deadline));
        }
    }
}

/// The wait before a message's next try: exponential, saturating.
fn retry_delay(policy: &RetryPolicy, attempt: u32) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = policy.initial.as_secs_f64() * policy.factor.powi(exponent);
    Duration::try_from_secs_f64(seconds).map_or(policy.max, |delay| delay.min(policy.max))
}

// What every part uses.
impl Connection {
    fn moved(&self, step: &mut Step<'_>, moved: Moved) {
        let Moved { from, to } = moved;
        self.emit(step, EventKind::State { from, to });
    }

    fn emit(&self, step: &mut Step<'_>, kind: EventKind) {
        step.out.push_back(Output::Event(Box::new(Event {
            at: step.now,
            connection: self.id,
            generation: self.generation,
            kind,
        })));
    }

    fn emit_letter(&self, step: &mut Step<'_>, letter: DeadLetter) {
        let kind = EventKind::Letter {
            seq: letter.seq,
            direction: letter.direction,
            stage: letter.stage,
        };
        step.out.push_back(Output::DeadLetter(Box::new(letter)));
        self.emit(step, kind);
    }

    fn tell_fate(&self, step: &mut Step<'_>, letter: u64, fate: Fate) {
        step.out.push_back(Output::Redriven {
            connection: self.id,
            letter,
            fate,
        });
    }

    fn settings(&self) -> &Settings {
        self.config.settings()
    }

    pub(crate) fn socket(&self) -> SocketId {
        SocketId {
            connection: self.id,
            generation: self.generation,
        }
    }

    fn current_endpoint(&self) -> &Endpoint {
        endpoint_of(&self.target, self.endpoint)
    }

    fn endpoint_shown(&self) -> Box<str> {
        let dialled = self.attempt.as_ref().map(|attempt| attempt.endpoint());
        dialled
            .unwrap_or_else(|| self.current_endpoint())
            .to_string()
            .into()
    }
}

fn endpoint_of(target: &Target, index: u16) -> &Endpoint {
    let endpoints = target.endpoints();
    &endpoints[usize::from(index) % endpoints.len()]
}

// Reading.
impl Connection {
    pub(crate) fn state(&self) -> State {
        self.life.state()
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn has_socket(&self, generation: u32) -> bool {
        self.generation == generation
            && matches!(
                self.life.state(),
                State::Connecting
                    | State::TlsHandshaking
                    | State::Upgrading
                    | State::Readying
                    | State::Open
                    | State::Closing
            )
            && self.attempt.as_ref().is_none_or(|a| a.has_socket())
    }

    pub(crate) fn count_stale_input(&mut self) {
        self.history.get_or_insert_default().stale_inputs += 1;
    }

    /// Whether the WebSocket is established.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    pub(crate) fn wants_read(&self) -> bool {
        self.reading == Reading::Resumed
    }

    /// How many bytes one read should bring at most. Much at once saves calls; what is not taken has to wait somewhere.
    pub(crate) fn read_bytes_max(&self) -> usize {
        const FEW: usize = 32 << 10;
        const BEGINNING: usize = 4 << 10;
        let many = match (&self.tls, &self.session) {
            (Some(_), _) => 64 << 10,
            (None, Some(session)) if session.decoder.expects_long() => return BEGINNING,
            (None, Some(session)) if session.brings_much => READ_BYTES,
            (None, _) => 128 << 10,
        };
        let has_plenty = self.inbound.charged() + 2 * many <= self.settings().inbound.bytes_max;
        if has_plenty { many } else { FEW }
    }

    /// Bytes that this connection holds for others' sake, with what holding them costs.
    pub(crate) fn charged(&self) -> usize {
        self.inbound.charged()
            + self.outbound.charged()
            + self.session.as_ref().map_or(0, Session::charged)
            + self.tls.as_ref().map_or(0, |tls| tls.charged())
    }

    /// Frees what can be freed without harm: all connections together have held more than they may for a while.
    pub(crate) fn relieve(&mut self) {
        if let Some(session) = &mut self.session
            && let Some(compression) = &mut session.compression
        {
            compression.forget();
        }
    }

    /// Whether something was received that can be let go of only if more is read: it may be read, and somebody
    /// waits for the whole.
    pub(crate) fn has_begun_to_receive(&self) -> bool {
        self.wants_read()
            && self.session.as_ref().is_some_and(|session| {
                let is_awaited = self.inbound.is_asked_for() || session.script.is_some();
                session.has_part() && is_awaited && !session.is_deaf()
            })
    }

    /// Whoever reads the socket keeps so many bytes that were not taken, until they are.
    pub(crate) fn left_with_driver(&mut self, bytes: usize) {
        if let Some(session) = &mut self.session {
            session.left_with_driver = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// How many messages were received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn counters(&self, now: Instant) -> Counters {
        let tally = &self.tally;
        let history = self.history.as_ref();
        let cut = self.messages_begun() as u64;
        let unacknowledged = self.outbound.unacknowledged() as u64;
        Counters {
            accepted: self.outbound.accepted(),
            waiting: self.outbound.len() as u64 - cut,
            in_flight_out: cut + unacknowledged,
            written: tally.written,
            acknowledged: history.map_or(0, |h| h.acknowledged),
            resent: history.map_or(0, |h| h.resent),
            interrupted: tally.interrupted,
            not_sent: tally.not_sent,
            expired: history.map_or(0, |h| h.discarded.expired),
            dropped_out: history.map_or(0, |h| h.discarded.dropped),
            received: self.received,
            redriven: history.map_or(0, |h| h.redriven),
            delivered: self.delivered,
            filtered: tally.filtered,
            rejected: tally.rejected,
            dropped: tally.dropped,
            in_flight_in: self.inbound.in_flight(self.consumer),
            received_bytes: self.received_bytes,
            written_bytes: tally.written_bytes,
            dials: u64::from(tally.dials),
            sessions: u64::from(tally.sessions),
            stale_inputs: history.map_or(0, |h| h.stale_inputs),
            workers: self.inbound.workers(now, self.consumer),
            uptime: Duration::from_nanos(tally.uptime_nanos),
            round_trip_last_micros: tally.round_trip_last_micros,
            round_trip_smoothed_micros: tally.round_trip_smoothed_micros,
        }
    }

    pub(crate) fn report(&self, now: Instant) -> ConnectionReport {
        ConnectionReport {
            connection: self.id,
            endpoint: self.endpoint_shown(),
            state: self
                .ending
                .as_ref()
                .map_or(self.life.state(), |ending| ending.state),
            reason: self.history.as_ref().and_then(|h| h.last_reason.clone()),
            counters: self.counters(now),
        }
    }
}
