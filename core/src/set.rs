//! Many connections as one state machine.
//!
//! `budget` is about the bytes that they may hold together, `reading` about what sockets bring.

mod budget;
mod reading;

use std::collections::{BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use crate::arenas::Arenas;
use crate::connection::{Connection, Kept, Sharing, Step, Turn, Unit};
use crate::event::{Counters, Reading, State};
use crate::ids::{ConnectionId, SocketId};
use crate::io::{CallRequest, Consumer, Input, Output, Shutdown};
use crate::message::{Message, MessageId};
use crate::outbound::{KEPT_BYTES, Packed, Report, SendError, SendErrorCause};
use crate::seed::{Jitter, Secrets, Seed};
use crate::settings::Config;
use crate::target::Target;
use crate::time::Instant;
use crate::timers::TimerHeap;

use budget::{Budget, Share};
use reading::Reads;

/// Many connections, driven together: no I/O, no clock, no entropy of its own.
///
/// The contract: change something (a command, [`handle`](Self::handle), [`handle_input`](Self::handle_input), an advance of
/// [`transmit`](Self::transmit)), then drain [`poll_output`](Self::poll_output) to [`Output::Idle`], then change something again. `now`
/// may repeat; one that goes back counts as the latest so far.
///
/// The work of a call depends on the connections that it concerns, never on how many there are. Two sets
/// with one seed and the same inputs give the same outputs.
#[derive(Debug)]
pub struct ConnectionSet {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
    timers: TimerHeap,
    due: Vec<u32>,
    out: VecDeque<Output>,
    arenas: Arenas,
    reads: Reads,
    secrets: Secrets,
    jitter: Jitter,
    latest: Instant,
    scratch: Vec<u8>,
    plan: Vec<Unit>,
    budget: Budget,
    calls: Sharing,
    kept: Kept,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
    /// What the budget knows of the connection.
    share: Share,
}

/// Whether a change of a connection leaves it to others to do what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    NotYet,
    Already,
}

impl ConnectionSet {
    /// An empty set. All its randomness comes from `seed`.
    pub fn new(seed: Seed) -> Self {
        let (secrets, jitter) = seed.split();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
            timers: TimerHeap::new(),
            due: Vec::new(),
            out: VecDeque::new(),
            arenas: Arenas::default(),
            reads: Reads::default(),
            secrets,
            jitter,
            latest: Instant::ORIGIN,
            scratch: Vec::new(),
            plan: Vec::new(),
            budget: Budget::new(),
            calls: Sharing::Alone,
            kept: Kept::default(),
        }
    }

    /// A set whose connections ask for each call of their processors ([`Output::Call`]), so that many sets can share a number of
    /// calls. Without this only a connection's own settings limit them.
    #[must_use]
    pub fn sharing_calls(mut self) -> Self {
        debug_assert!(self.is_empty(), "calls that run already were not asked for");
        self.calls = Sharing::Shared;
        self
    }

    /// From now on, `calls` of those that have ended are kept for the next ones, which need not be asked for; at first none is. Those
    /// beyond are given back ([`Output::Call`]): all of them with 0, which is due when another set waits for a call. Only if the set
    /// [shares its calls](Self::sharing_calls).
    pub fn keep_calls(&mut self, calls: u32) {
        let Self { kept, out, .. } = self;
        let beyond = kept.limit(calls);
        out.extend(beyond.map(|connection| Output::Call(CallRequest::End { connection })));
    }

    /// Adds a connection, which begins to dial at once.
    pub fn insert(
        &mut self,
        now: Instant,
        target: impl Into<Arc<Target>>,
        config: Arc<Config>,
        consumer: Consumer,
    ) -> ConnectionId {
        let now = self.clamp(now);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("there are fewer than 2^32 connections")
        });
        let slot = &mut self.slots[index as usize];
        let id = ConnectionId {
            index,
            generation: slot.generation,
        };
        let jitter = Jitter::from_state(self.jitter.next_u64());
        let unread = self.budget.unread_until(now);
        let turn = Turn::Everybody;
        let (out, arenas, kept) = (&mut self.out, &mut self.arenas, &mut self.kept);
        let mut step = Step::new(now, &mut self.secrets, out, arenas, kept, turn, unread);
        let connection = Connection::new(&mut step, id, target.into(), config, consumer, jitter);
        slot.connection = Some(Box::new(connection));
        self.len += 1;
        id
    }

    /// Queues a message; it leaves after all that were accepted before, once the connection is ready.
    ///
    /// # Errors
    /// [`SendError`] gives the message back: the queue is full, or the connection has ended.
    pub fn send(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: Message,
        report: Report,
    ) -> Result<MessageId, SendError> {
        if self.get(id).is_none() {
            let cause = SendErrorCause::Closed;
            return Err(SendError { message, cause });
        }
        self.step(now, id, |connection, step| {
            connection.send(step, message, report)
        })
        .expect("the connection was found above")
    }

    /// Queues messages in their order, as one change: what follows from a message is done once for all of them. Each
    /// comes with a value of the caller's own, and `told` gets that back with what [`send`](Self::send) would have said. The
    /// outcome of a message may be among the outputs already.
    pub fn send_all<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        messages: impl IntoIterator<Item = (Message, Report, T)>,
        mut told: impl FnMut(T, Result<MessageId, SendError>),
    ) {
        if self.get(id).is_some() {
            self.step(now, id, |connection, step| {
                for (message, report, own) in messages {
                    told(own, connection.send(step, message, report));
                }
            });
        } else {
            let cause = SendErrorCause::Closed;
            for (message, _, own) in messages {
                told(own, Err(SendError { message, cause }));
            }
        }
    }

    /// Queues messages in their order, as one change. No outcome is told; `refused` gets what [`send`](Self::send) would have given
    /// back.
    pub fn send_packed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packed: Packed,
        mut refused: impl FnMut(SendError),
    ) {
        if self.get(id).is_some() {
            self.step(now, id, |connection, step| {
                connection.send_packed(step, packed, refused);
            });
        } else {
            let cause = SendErrorCause::Closed;
            for message in packed.messages() {
                refused(SendError { message, cause });
            }
        }
    }

    /// Ends a connection; [`Output::Removed`] tells when it is over.
    pub fn remove(&mut self, now: Instant, id: ConnectionId, how: Shutdown) {
        self.step(now, id, |connection, step| connection.remove(step, how));
    }

    /// Closes the connection's session and dials no more until it is resumed. Queued messages stay.
    pub fn pause(&mut self, now: Instant, id: ConnectionId) {
        self.step(now, id, Connection::pause);
    }

    /// Ends a pause.
    pub fn resume(&mut self, now: Instant, id: ConnectionId) {
        self.step(now, id, Connection::resume);
    }

    /// Ends the wait before the next attempt, if the connection is waiting.
    pub fn retry_now(&mut self, now: Instant, id: ConnectionId) {
        self.step(now, id, Connection::retry_now);
    }

    /// Takes note of something that happened outside.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::BytesGranted(bytes) => self.budget_granted(bytes),
            Input::Provided {
                connection,
                generation,
                result,
            } => {
                self.step(now, connection, |connection, step| {
                    connection.provided(step, generation, result);
                });
            }
            Input::Resolved {
                connection,
                generation,
                result,
            } => {
                self.step(now, connection, |connection, step| {
                    connection.resolved(step, generation, result);
                });
            }
            Input::Admitted { connection, stage } => {
                self.step(now, connection, |connection, step| {
                    connection.admitted(step, stage);
                });
            }
            Input::CallGranted { connection } => {
                let taken = self.consumer_step(now, connection, Connection::call_granted);
                if taken.is_none() {
                    self.out
                        .push_back(Output::Call(CallRequest::End { connection }));
                }
            }
            Input::Connected { socket } => self.socket_step(now, socket, Connection::connected),
            Input::TransportFailed { socket, error } => {
                self.socket_step(now, socket, |connection, step| {
                    connection.transport_failed(step, error);
                });
            }
            Input::Eof { socket } => self.socket_step(now, socket, Connection::socket_ended),
            Input::Redrive(redrive) => {
                self.step(now, redrive.connection, |connection, step| {
                    connection.redrive(step, &redrive);
                });
            }
            Input::Ask { connection } => {
                self.consumer_step(now, connection, |connection, _| connection.ask());
            }
            Input::Judged(judged) => {
                let id = judged.batch().connection();
                self.consumer_step(now, id, |connection, step| connection.judged(step, &judged));
                self.arenas.take_back(judged.batch);
            }
            Input::JudgedAndAsk(judged) => {
                let id = judged.batch().connection();
                self.consumer_step(now, id, |connection, step| {
                    connection.judged(step, &judged);
                    connection.ask();
                });
                self.arenas.take_back(judged.batch);
            }
        }
    }

    /// What a socket is to write next, about 256 KiB at most; `None` if there is nothing.
    pub fn transmit(&mut self, now: Instant, socket: SocketId) -> Option<Transmit<'_>> {
        let now = self.clamp(now);
        self.scratch.clear();
        self.plan.clear();
        let slot = self.slots.get_mut(socket.connection.index())?;
        let connection = slot.connection.as_mut()?;
        if slot.generation != socket.connection.generation
            || !connection.has_socket(socket.generation)
        {
            return None;
        }
        connection.offer_to_socket(&mut self.secrets, &mut self.scratch, &mut self.plan);
        let is_nothing = self.scratch.is_empty();
        if is_nothing {
            connection.has_nothing_to_offer();
        }
        self.note_share(socket.connection.index);
        if is_nothing {
            return None;
        }
        Some(Transmit {
            set: self,
            now,
            socket,
        })
    }

    /// The next thing to do. Ends with [`Output::Idle`]; drain to there after every change.
    #[inline]
    pub fn poll_output(&mut self, now: Instant) -> Output {
        self.clamp(now);
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        if self.out.capacity() * size_of::<Output>() > KEPT_BYTES * 16 {
            self.out = VecDeque::new();
        }
        let next_timeout = self.timers.peek().map(|(at, _)| at);
        Output::Idle { next_timeout }
    }
}

// Looking.
impl ConnectionSet {
    /// Where a connection is in its life; `None` once it is removed.
    pub fn state(&self, id: ConnectionId) -> Option<State> {
        Some(self.get(id)?.state())
    }

    /// A connection's counters; `None` once it is removed.
    pub fn counters(&self, id: ConnectionId) -> Option<Counters> {
        Some(self.get(id)?.counters(self.latest))
    }

    /// What a connection dials; `None` once it is removed.
    pub fn target(&self, id: ConnectionId) -> Option<&Target> {
        Some(self.get(id)?.target())
    }

    /// The connections, in the order of their slots.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.connection.as_ref()?;
            Some(ConnectionId {
                index: u32::try_from(index).ok()?,
                generation: slot.generation,
            })
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that the connections hold in queues and unfinished messages, overhead included.
    pub fn charged_bytes(&self) -> u64 {
        self.budget.charged
    }

    /// Checks what must hold between two calls, over all connections. For tests: it costs as much as
    /// there are connections.
    ///
    /// # Panics
    /// If something does not hold, which is a mistake in this crate.
    pub fn check_invariants(&self) {
        self.timers.check_invariants();
        let mut charged = 0;
        let mut begun = BTreeSet::new();
        let mut len = 0;
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(connection) = &slot.connection else {
                continue;
            };
            len += 1;
            let share = Share::of(connection);
            assert_eq!(share, slot.share, "connection {index}");
            charged += share.charged;
            let slot = u32::try_from(index).expect("slots are numbered in 32 bits");
            if share.has_begun {
                begun.insert(slot);
            }
            let counters = connection.counters(self.latest);
            assert!(counters.are_conserved(), "connection {index}: {counters:?}");
            if let Some((deadline, kind)) = connection.next_deadline() {
                let armed = self.timers.deadline(slot);
                assert!(
                    armed.is_some_and(|armed| armed <= deadline),
                    "connection {index}: {kind:?} at {deadline} is not armed"
                );
            }
        }
        self.budget.check_invariants(charged, &begun);
        assert_eq!(len, self.len, "connections counted");
    }
}

impl ConnectionSet {
    fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(id.index())?;
        if slot.generation != id.generation {
            return None;
        }
        slot.connection.as_deref()
    }

    #[inline]
    fn clamp(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    fn handle_timeout(&mut self, now: Instant) {
        let now = self.clamp(now);
        self.arenas.age();
        let mut due = std::mem::take(&mut self.due);
        while let Some((_, slot)) = self.timers.pop_due(now) {
            due.push(slot);
        }
        for slot in due.drain(..) {
            let generation = self.slots[slot as usize].generation;
            let id = ConnectionId {
                index: slot,
                generation,
            };
            // Not at once: a grant of more bytes is mostly under way.
            let is_short = self.budget.reading == Reading::Paused;
            self.step(now, id, |connection, step| {
                if is_short {
                    connection.relieve();
                }
                connection.fire_due(step);
            });
        }
        self.due = due;
        debug_assert!(
            self.timers.peek().is_none_or(|(at, _)| !at.is_due(now)),
            "what was due is due again: time would not pass"
        );
    }

    /// Like `step`, for inputs that name a socket: one that is no longer the connection's is counted.
    fn socket_step(
        &mut self,
        now: Instant,
        socket: SocketId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>),
    ) {
        self.socket_step_and_settle(now, socket, |connection, step| {
            change(connection, step);
            Settled::NotYet
        });
    }

    /// Like `socket_step`, for what a socket brings: mostly nothing follows from that but that a consumer gets it.
    fn read_step(
        &mut self,
        now: Instant,
        socket: SocketId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>),
    ) {
        self.socket_step_and_settle(now, socket, |connection, step| {
            // While not everybody is read, each step may change whose turn it is.
            let was_at_rest = connection.is_at_rest() && step.turn == Turn::Everybody;
            change(connection, step);
            if was_at_rest && connection.settle_at_rest(step) {
                Settled::Already
            } else {
                Settled::NotYet
            }
        });
    }

    fn socket_step_and_settle(
        &mut self,
        now: Instant,
        socket: SocketId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>) -> Settled,
    ) {
        self.step_and_settle(now, socket.connection, |connection, step| {
            if connection.has_socket(socket.generation) {
                ((), change(connection, step))
            } else {
                connection.count_stale_input();
                ((), Settled::NotYet)
            }
        });
    }

    /// Like `step`, for what a connection's consumer does: mostly nothing follows from that but what the consumer gets next.
    fn consumer_step<R>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>) -> R,
    ) -> Option<R> {
        if !self.get(id)?.is_undisturbed() {
            return self.step(now, id, change);
        }
        let now = self.clamp(now);
        let connection = self.slots[id.index()].connection.as_mut()?;
        let turn = self.budget.turn(connection.socket());
        let unread = self.budget.unread_until(now);
        let (out, arenas, kept) = (&mut self.out, &mut self.arenas, &mut self.kept);
        let mut step = Step::new(now, &mut self.secrets, out, arenas, kept, turn, unread);
        step.calls = self.calls;
        let had_nothing = connection.has_nothing_to_hand_out();
        let result = change(connection, &mut step);
        if had_nothing && connection.has_nothing_to_hand_out() {
            connection.settle_idle_consumer(&mut step);
            return Some(result);
        }
        connection.settle_consumer(&mut step);
        let deadline = connection.inbound_deadline();
        self.note_share(id.index);
        if let Some((deadline, _)) = deadline
            && deadline != Instant::FAR_FUTURE
        {
            self.arm_until(id.index, deadline);
        }
        self.settle_budget();
        Some(result)
    }

    /// Changes one connection, and does what follows from the change.
    fn step<R>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>) -> R,
    ) -> Option<R> {
        self.step_and_settle(now, id, |connection, step| {
            (change(connection, step), Settled::NotYet)
        })
    }

    /// As `step`, unless the change says that it has done what follows.
    fn step_and_settle<R>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        change: impl FnOnce(&mut Connection, &mut Step<'_>) -> (R, Settled),
    ) -> Option<R> {
        let now = self.clamp(now);
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation != id.generation {
            return None;
        }
        let connection = slot.connection.as_mut()?;
        let turn = self.budget.turn(connection.socket());
        let unread = self.budget.unread_until(now);
        let (out, arenas, kept) = (&mut self.out, &mut self.arenas, &mut self.kept);
        let mut step = Step::new(now, &mut self.secrets, out, arenas, kept, turn, unread);
        step.calls = self.calls;
        let state = connection.state();
        let (result, settled) = change(connection, &mut step);
        match settled {
            Settled::NotYet => {}
            Settled::Already => {
                debug_assert_eq!(Share::of(connection), slot.share, "{id:?} was not at rest");
                return Some(result);
            }
        }
        connection.settle(&mut step);
        if connection.is_finished(now) {
            connection.retire(&mut step);
            slot.connection = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.index);
            self.len -= 1;
            self.timers.clear(id.index);
        } else {
            let is_same = connection.state() == state;
            match connection.next_deadline() {
                Some((deadline, _)) if is_same => self.arm_until(id.index, deadline),
                Some((deadline, _)) => self.timers.set(id.index, deadline),
                None if is_same => {}
                // What another state had to wait for is not worth waking up for.
                None => self.timers.clear(id.index),
            }
        }
        self.note_share(id.index);
        self.settle_budget();
        Some(result)
    }
}

/// Bytes that a socket is to write. Dropping it means that nothing was written.
#[derive(Debug)]
pub struct Transmit<'a> {
    set: &'a mut ConnectionSet,
    now: Instant,
    socket: SocketId,
}

impl Transmit<'_> {
    /// The bytes, in the order in which they are to be written.
    pub fn slices(&self) -> [IoSlice<'_>; 1] {
        [IoSlice::new(&self.set.scratch)]
    }

    /// How many bytes there are; never 0.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.set.scratch.len()
    }

    /// The socket accepted the first `written` bytes. The next call of
    /// [`ConnectionSet::transmit`] goes on behind them.
    ///
    /// # Panics
    /// If `written` is more than [`len`](Self::len).
    pub fn advance(self, written: usize) {
        let Self { set, now, socket } = self;
        let scratch = std::mem::take(&mut set.scratch);
        let plan = std::mem::take(&mut set.plan);
        set.step(now, socket.connection, |connection, step| {
            connection.socket_wrote(step, &scratch, &plan, written);
        });
        set.scratch = scratch;
        set.plan = plan;
    }
}
