//! An independent account of what the core does, kept from its inputs and outputs alone.
//!
//! It shares no code and no state with the core. After every step it compares its account with the core's counters,
//! and with the rules that hold always: conservation of messages in both directions, order, the validity of every
//! byte that is written, at most one socket a connection, no dial before its time or after the end.

mod inbound;
mod outbound;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use ropewalk_core::{
    Config, ConnectionId, ConnectionSet, Consumer, Direction, Event, EventKind, GaveUpCause,
    Instant, Judged, Message, MessageId, Output, Peer, ReadyStep, Redrive, SendError,
    SendErrorCause, Shutdown, SocketId, State,
};

use self::inbound::Incoming;
pub(crate) use self::inbound::Places;
use self::outbound::Outgoing;
use self::socket::SocketBook;
use crate::trace::reason;

/// The account of a whole set.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<ConnectionId, Account>,
    /// Who is connecting where.
    connecting: BTreeMap<SocketAddr, SocketId>,
    marks: BTreeSet<String>,
    violation: Option<String>,
    steps_at_this_time: u64,
}

/// The account of one connection.
#[derive(Debug)]
struct Account {
    state: State,
    phase: Phase,
    socket: Option<SocketBook>,
    generation: u32,
    dials: u64,
    out: Outgoing,
    incoming: Incoming,
    /// The earliest time of the next dial.
    not_before: Option<Instant>,
}

/// How far a connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Living,
    /// The application wants it gone.
    Ending,
    Removed,
}

impl Ledger {
    pub(crate) fn opened(&mut self, id: ConnectionId, config: &Arc<Config>, consumer: Consumer) {
        let steps = &config.hooks().ready;
        let sends = steps
            .iter()
            .filter(|step| matches!(step, ReadyStep::Send(_)));
        let account = Account {
            state: State::Idle,
            phase: Phase::Living,
            socket: None,
            generation: 0,
            dials: 0,
            out: Outgoing::new(config, sends.count()),
            incoming: Incoming::new(consumer, config),
            not_before: None,
        };
        self.accounts.insert(id, account);
    }

    pub(crate) fn accepted(
        &mut self,
        now: Instant,
        id: ConnectionId,
        number: MessageId,
        message: &Message,
    ) {
        self.note(id, |account| account.out.accepted(now, number, message));
    }

    /// The core gave a message back. Of a connection that is gone, nothing else can be wanted.
    pub(crate) fn refused(&mut self, id: ConnectionId, refused: &SendError) {
        let mut result = Ok(());
        self.note_wish(id, |account| {
            let is_offline = refused.cause == SendErrorCause::Offline;
            result = if is_offline && account.state == State::Open {
                Err("refuses a message, and is open (S1)".to_owned())
            } else {
                account.out.refused(&refused.message, refused.cause)
            };
        });
        if let Err(problem) = result {
            self.complain(format!("{id}: {problem}"));
        }
    }

    pub(crate) fn paused(&mut self, id: ConnectionId) {
        self.note_wish(id, |account| account.not_before = None);
    }

    pub(crate) fn may_dial_early(&mut self, id: ConnectionId) {
        self.paused(id);
    }

    pub(crate) fn ending(&mut self, now: Instant, id: ConnectionId, how: Shutdown) {
        self.note_wish(id, |account| {
            account.phase = Phase::Ending;
            account.incoming.ending(now, how);
        });
    }

    pub(crate) fn asked(&mut self, id: ConnectionId) {
        self.note_wish(id, |account| account.incoming.asked());
    }

    pub(crate) fn judged(&mut self, now: Instant, id: ConnectionId, judged: &Judged) {
        self.note_wish(id, |account| account.incoming.judged(now, judged));
        let account = self.accounts.get(&id);
        if account.is_none_or(|account| account.phase == Phase::Removed) {
            self.marks.insert("verdict after the end".into());
        }
    }

    /// A dead letter goes back.
    pub(crate) fn redriven(&mut self, now: Instant, redrive: &Redrive) {
        self.note_wish(redrive.connection, |account| {
            account.incoming.redriven(now, redrive);
        });
    }

    pub(crate) fn connected(&mut self, socket: SocketId) {
        self.note_socket(socket, |_, book| book.connected());
    }

    /// The transport failed, and the driver dropped the socket.
    pub(crate) fn lost(&mut self, socket: SocketId) {
        self.connecting.retain(|_, known| *known != socket);
        self.note(socket.connection, |account| account.socket_gone(socket));
    }

    /// The network took these bytes of the core.
    pub(crate) fn written(&mut self, now: Instant, socket: SocketId, bytes: &[u8]) {
        self.note_socket(socket, |account, book| {
            let units = book.written(bytes)?;
            account.out.wrote(now, units, book)
        });
    }

    /// The core took these bytes of the network.
    pub(crate) fn read(&mut self, now: Instant, socket: SocketId, bytes: &[u8]) {
        self.note_socket(socket, |account, book| {
            let messages = book.read(bytes);
            account.out.arrived(now, &messages);
            account.incoming.arrived(now, socket.generation, &messages);
            Ok(())
        });
    }

    pub(crate) fn output(&mut self, now: Instant, output: &Output) {
        match output {
            Output::Provide { connection, .. } | Output::Resolve { connection, .. } => {
                self.note(*connection, |account| account.may_dial(now));
            }
            Output::Connect { socket, peer } => self.dialled(now, *socket, peer),
            Output::Abort { socket } => {
                self.connecting.retain(|_, known| known != socket);
                self.note(socket.connection, |account| account.socket_gone(*socket));
            }
            Output::Transmit { socket }
            | Output::ShutdownWrite { socket }
            | Output::Read { socket, .. } => {
                self.note_socket(*socket, |_, _| Ok(()));
            }
            Output::Deliver(batch) => {
                self.note(batch.connection(), |account| {
                    account.incoming.delivered(now, batch)
                });
            }
            Output::Outcome {
                connection,
                message,
                outcome,
            } => self.note(*connection, |account| {
                account.out.outcome(now, *message, outcome)
            }),
            Output::DeadLetter(letter) => {
                self.note(letter.connection, |account| match letter.direction {
                    Direction::Inbound => account.incoming.letter(letter),
                    Direction::Outbound => account.out.letter(letter),
                });
            }
            Output::Event(event) => self.event(event),
            Output::Removed(report) => {
                let counters = &report.counters;
                self.note(report.connection, |account| {
                    account.phase = Phase::Removed;
                    account.compare(now, counters)?;
                    match counters.in_flight_in {
                        0 => Ok(()),
                        _ => Err("ends with messages in flight (S2)".into()),
                    }
                });
            }
            Output::Idle { next_timeout } => {
                if next_timeout.is_some_and(|at| at <= now) {
                    self.complain(format!("a timeout in the past: {next_timeout:?}"));
                }
            }
            Output::Redriven {
                connection,
                letter,
                fate,
            } => self.note(*connection, |account| {
                account.incoming.told_fate(*letter, fate)
            }),
            Output::Admission(_)
            | Output::Call(_)
            | Output::ReadAll { .. }
            | Output::Room { .. } => {}
        }
    }

    /// Everything that followed from a step is done: compares with the core.
    pub(crate) fn settled(&mut self, now: Instant, set: &ConnectionSet, places: Places) {
        let mut problem = None;
        for (id, account) in &mut self.accounts {
            let mut marks = account.out.take_marks();
            marks.extend(account.incoming.take_marks());
            self.marks.extend(marks.into_iter().map(str::to_owned));
            let found = match (set.counters(*id), account.phase) {
                (None, Phase::Removed) => Ok(()),
                (None, Phase::Living | Phase::Ending) => Err("is gone without a report".into()),
                (Some(_), Phase::Removed) => Err("is there after its report".into()),
                (Some(counters), Phase::Living | Phase::Ending) => account
                    .compare_received(counters.received)
                    .and_then(|()| account.compare(now, &counters))
                    .and_then(|()| account.compare_state(set.state(*id)))
                    .and_then(|()| {
                        account
                            .incoming
                            .compare_calls(now, counters.workers, places)
                    }),
            };
            if let Err(found) = found {
                problem.get_or_insert(format!("{id}: {found}"));
            }
        }
        let calls: u32 = self.accounts.values().map(|it| it.incoming.running()).sum();
        match places {
            Places::Shared { running, max, .. } if running != calls || calls > max => {
                problem.get_or_insert(format!("{calls} calls, {running} known, of {max}"));
            }
            Places::Shared { waiting, .. } if waiting > set.len() => {
                problem.get_or_insert(format!("{waiting} wait for a call, of {}", set.len()));
            }
            Places::Own | Places::Shared { .. } => {}
        }
        if let Some(problem) = problem {
            self.complain(problem);
        }
    }

    /// Time goes on, or should.
    pub(crate) fn advance(&mut self, now: Instant, at: Instant, steps_max: u64) {
        self.steps_at_this_time = if at > now {
            0
        } else {
            self.steps_at_this_time + 1
        };
        if self.steps_at_this_time > steps_max {
            self.complain(format!("livelock: {steps_max} steps and time stands still"));
        }
    }

    pub(crate) fn complain(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn marks(&self) -> &BTreeSet<String> {
        &self.marks
    }

    fn dialled(&mut self, now: Instant, socket: SocketId, peer: &Peer) {
        self.note(socket.connection, |account| {
            account.may_dial(now)?;
            if let Some(book) = &account.socket {
                return Err(format!("dials {socket} while it has {} (S8)", book.id()));
            }
            if socket.generation <= account.generation {
                return Err(format!("dials {socket} after {} (S9)", account.generation));
            }
            account.generation = socket.generation;
            account.dials += 1;
            account.socket = Some(SocketBook::new(socket));
            Ok(())
        });
        if let Peer::Address(address) = peer
            && let Some(other) = self.connecting.insert(*address, socket)
        {
            self.complain(format!(
                "{socket} and {other} connect to {address} at once (S10)"
            ));
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "events are non-exhaustive; the others say nothing about the account"
    )]
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::State { from, to } => {
                self.marks.insert(format!("state {to}"));
                if matches!(to, State::Readying | State::Open) {
                    self.connecting
                        .retain(|_, socket| socket.connection != event.connection);
                }
                let (from, to) = (*from, *to);
                self.note(event.connection, |account| account.moved(from, to));
            }
            EventKind::Ready {
                compression: Some(agreed),
                ..
            } => {
                self.marks.insert(format!("agreed {agreed}"));
            }
            EventKind::Closed { reason: why, .. } => {
                let word = reason(why);
                let kind = word.split(':').next().unwrap_or_default().to_owned();
                self.marks.insert(format!("end {kind}"));
                self.marks.insert(format!("reason {word}"));
            }
            EventKind::Retrying { at, class, .. } => {
                self.marks.insert(format!("class {class:?}"));
                let at = *at;
                self.note(event.connection, |account| {
                    account.not_before = Some(at);
                    Ok(())
                });
            }
            EventKind::Gap { expected, received } => {
                let (expected, received) = (*expected, *received);
                self.note(event.connection, |account| {
                    account.incoming.told_gap(expected, received);
                    Ok(())
                });
            }
            EventKind::GaveUp { cause, .. } => {
                self.marks.insert(format!("gave up {cause:?}"));
                if *cause == GaveUpCause::Terminal {
                    self.marks.insert("class GiveUp".into());
                }
            }
            _ => {}
        }
    }

    /// What the application wants of a connection that has ended is ignored.
    fn note_wish(&mut self, id: ConnectionId, f: impl FnOnce(&mut Account)) {
        let account = self.accounts.get_mut(&id);
        if let Some(account) = account.filter(|account| account.phase != Phase::Removed) {
            f(account);
        }
    }

    fn note(&mut self, id: ConnectionId, f: impl FnOnce(&mut Account) -> Result<(), String>) {
        let Some(account) = self.accounts.get_mut(&id) else {
            self.complain(format!("{id}: an output for nobody"));
            return;
        };
        let was_removed = account.phase == Phase::Removed;
        let result = f(account);
        if was_removed {
            self.complain(format!("{id}: an output after its report (S12)"));
        }
        if let Err(problem) = result {
            self.complain(format!("{id}: {problem}"));
        }
    }

    fn note_socket(
        &mut self,
        socket: SocketId,
        f: impl FnOnce(&mut Account, &mut SocketBook) -> Result<(), String>,
    ) {
        self.note(socket.connection, |account| {
            let Some(mut book) = account.socket.take_if(|book| book.id() == socket) else {
                return Err(format!("{socket} is used and is not its socket"));
            };
            let result = f(account, &mut book);
            account.socket = Some(book);
            result
        });
    }
}

impl Account {
    fn may_dial(&self, now: Instant) -> Result<(), String> {
        if self.phase != Phase::Living {
            return Err("dials after its end was wanted (S12)".into());
        }
        match self.not_before {
            Some(at) if now < at => Err(format!("dials at {now}, before {at} (S16)")),
            Some(_) | None => Ok(()),
        }
    }

    fn socket_gone(&mut self, socket: SocketId) -> Result<(), String> {
        let book = self
            .socket
            .take_if(|book| book.id() == socket)
            .ok_or_else(|| format!("{socket} is dropped and is not its socket (S9)"))?;
        drop(book);
        self.out.lost();
        self.incoming.lost();
        Ok(())
    }

    fn moved(&mut self, from: State, to: State) -> Result<(), String> {
        if from != self.state {
            return Err(format!("moves from {from}, and was {}", self.state));
        }
        if !is_move(from, to) {
            return Err(format!("moves from {from} to {to}"));
        }
        self.state = to;
        if to.is_terminal() {
            self.out.ended();
        } else if to == State::Open {
            self.out.opened();
        }
        Ok(())
    }

    fn compare_state(&self, state: Option<State>) -> Result<(), String> {
        if state == Some(self.state) {
            Ok(())
        } else {
            Err(format!("is {state:?}, and its events say {}", self.state))
        }
    }

    /// In an open session nothing that arrived is overlooked.
    fn compare_received(&self, received: u64) -> Result<(), String> {
        match &self.socket {
            Some(book) if self.state != State::Open || !book.makes_sense() => Ok(()),
            Some(_) => {
                self.out.nothing_unheard()?;
                self.incoming.nothing_overlooked(received)
            }
            None => Ok(()),
        }
    }

    fn compare(&mut self, now: Instant, counters: &ropewalk_core::Counters) -> Result<(), String> {
        if !counters.are_conserved() {
            return Err(format!("messages are not conserved: {counters:?} (S1, S2)"));
        }
        if counters.dials != self.dials {
            return Err(format!(
                "counts {} dials, not {}",
                counters.dials, self.dials
            ));
        }
        self.out.compare(now, counters)?;
        self.incoming.compare(now, counters)
    }
}

/// The lifecycle, written down a second time.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "nothing moves to `Idle`, nor to a state that the lifecycle does not have yet"
)]
fn is_move(from: State, to: State) -> bool {
    use State::{
        Backoff, Closed, Closing, Connecting, GaveUp, Idle, Open, Paused, Readying, Resolving,
        TlsHandshaking, Upgrading, WaitingForSlot,
    };
    let is_attempt = matches!(from, Resolving | Connecting | TlsHandshaking | Upgrading);
    let is_session = matches!(from, Readying | Open | Closing);
    match to {
        WaitingForSlot => matches!(from, Idle | Backoff | Paused),
        Resolving => from == WaitingForSlot,
        Connecting => from == Resolving,
        TlsHandshaking => from == Connecting,
        Upgrading => matches!(from, Connecting | TlsHandshaking),
        Readying => from == Upgrading,
        Open => matches!(from, Upgrading | Readying),
        Closing => matches!(from, Readying | Open),
        Backoff | GaveUp => is_attempt || is_session,
        Paused => from != Paused && !from.is_terminal(),
        Closed => !from.is_terminal(),
        _ => false,
    }
}
