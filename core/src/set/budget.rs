//! The bytes that the connections of a set may hold, and who is read when they are used up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ConnectionSet;
use crate::connection::{Connection, Turn};
use crate::event::Reading;
use crate::ids::{ConnectionId, SocketId};
use crate::io::{AdmissionRequest, Output};
use crate::time::Instant;

/// How many bytes a set asks of the admission at a time.
const CHUNK: u64 = 1024 * 1024;
/// A set asks for more when it has less than this left.
const LOW: u64 = 256 * 1024;

/// The set's share of the bytes that all connections together may hold.
#[derive(Debug)]
pub(super) struct Budget {
    granted: u64,
    pub(super) charged: u64,
    has_asked: bool,
    pub(super) reading: Reading,
    /// Who is read although the others are not.
    pub(super) except: Option<Except>,
    /// The slot whose turn was last.
    last: Option<u32>,
    /// The slots of connections that can let go of something only if they are read.
    begun: BTreeSet<u32>,
    /// When reading was paused last.
    paused_at: Instant,
    /// How long it was paused before that, in all.
    unread: Duration,
}

/// The one socket that may be read, until its message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Except {
    pub(super) socket: SocketId,
    /// How many messages the connection had received when its turn began.
    received: u64,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            granted: 0,
            charged: 0,
            has_asked: false,
            reading: Reading::Resumed,
            except: None,
            last: None,
            begun: BTreeSet::new(),
            paused_at: Instant::ORIGIN,
            unread: Duration::ZERO,
        }
    }

    /// Whether this socket may be read, as far as the budget is concerned.
    pub(super) fn turn(&self, socket: SocketId) -> Turn {
        match (self.reading, self.except) {
            (Reading::Resumed, _) => Turn::Everybody,
            (Reading::Paused, Some(except)) if except.socket == socket => Turn::Alone,
            (Reading::Paused, _) => Turn::NotNow,
        }
    }

    /// For how long, in all, reading was paused until now.
    pub(super) fn unread_until(&self, now: Instant) -> Duration {
        match self.reading {
            Reading::Resumed => self.unread,
            Reading::Paused => self.unread + now.saturating_since(self.paused_at),
        }
    }

    fn set_reading(&mut self, now: Instant, reading: Reading) {
        self.unread = self.unread_until(now);
        self.paused_at = now;
        self.reading = reading;
    }

    /// Notes what a step did to a connection's charge, and to whether it has to be read.
    pub(super) fn note(&mut self, slot: u32, before: Share, after: Share) {
        self.charged = self.charged + after.charged - before.charged;
        match (before.has_begun, after.has_begun) {
            (false, true) => drop(self.begun.insert(slot)),
            (true, false) => drop(self.begun.remove(&slot)),
            (true, true) | (false, false) => {}
        }
    }

    /// Whose turn is next: everybody's comes.
    fn next_begun(&self) -> Option<u32> {
        let behind = self
            .last
            .and_then(|slot| self.begun.range(slot.saturating_add(1)..).next());
        behind.or_else(|| self.begun.first()).copied()
    }

    #[track_caller]
    pub(super) fn check_invariants(&self, charged: u64, begun: &BTreeSet<u32>) {
        assert_eq!(charged, self.charged, "bytes charged");
        assert_eq!(*begun, self.begun, "connections that have to be read");
    }
}

/// What the budget needs to know of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) charged: u64,
    pub(super) has_begun: bool,
}

impl Share {
    pub(super) fn of(connection: &Connection) -> Self {
        Self {
            charged: connection.charged() as u64,
            has_begun: connection.has_begun_to_receive(),
        }
    }
}

impl ConnectionSet {
    pub(super) fn budget_granted(&mut self, bytes: u64) {
        self.budget.granted += bytes;
        self.budget.has_asked = false;
        self.ask_for_bytes();
        self.settle_read_all();
    }

    pub(super) fn settle_budget(&mut self) {
        let Budget {
            granted, charged, ..
        } = self.budget;
        let spare = granted.saturating_sub(charged);
        let is_enough = (LOW..=CHUNK).contains(&spare);
        if is_enough && self.budget.reading == Reading::Resumed {
            return;
        }
        if spare > 2 * CHUNK || (charged == 0 && spare > CHUNK) {
            let given = spare - CHUNK;
            self.budget.granted -= given;
            self.out
                .push_back(Output::Admission(AdmissionRequest::GiveBytes(given)));
        }
        self.ask_for_bytes();
        self.settle_read_all();
    }

    fn ask_for_bytes(&mut self) {
        let budget = &mut self.budget;
        let is_low = budget.granted < budget.charged.saturating_add(LOW);
        if budget.charged > 0 && is_low && !budget.has_asked {
            budget.has_asked = true;
            let wanted = budget.charged.saturating_sub(budget.granted) + CHUNK;
            self.out
                .push_back(Output::Admission(AdmissionRequest::TakeBytes(wanted)));
        }
    }

    /// Stops reading while more is held than granted. One connection after the other that is in the middle
    /// of a message, and whose consumer waits, may go on to its end, or those that hold the bytes could never let go
    /// of them.
    fn settle_read_all(&mut self) {
        let is_over = self.budget.charged > self.budget.granted;
        let reading = if is_over {
            Reading::Paused
        } else {
            Reading::Resumed
        };
        let before = (self.budget.reading, self.budget.except.map(|it| it.socket));
        if reading != self.budget.reading {
            self.budget.set_reading(self.latest, reading);
        }
        let current = self.budget.except.take();
        self.budget.except = match reading {
            Reading::Resumed => None,
            Reading::Paused => current
                .filter(|except| self.is_unfinished(except))
                .or_else(|| self.let_next()),
        };
        let except = self.budget.except.map(|it| it.socket);
        if (reading, except) != before {
            self.out.push_back(Output::ReadAll { reading, except });
        }
    }

    /// Notes what a connection holds now.
    pub(super) fn note_share(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let share = slot.connection.as_deref().map(Share::of);
        let before = std::mem::replace(&mut slot.share, share.unwrap_or_default());
        self.budget.note(index, before, slot.share);
    }

    fn is_unfinished(&self, except: &Except) -> bool {
        let socket = except.socket;
        self.get(socket.connection).is_some_and(|connection| {
            connection.socket() == socket
                && connection.has_begun_to_receive()
                && connection.received() == except.received
        })
    }

    /// Gives the next connection its turn, and a time for it: all others wait.
    fn let_next(&mut self) -> Option<Except> {
        let index = self.budget.next_begun()?;
        self.budget.last = Some(index);
        let unread = self.budget.unread_until(self.latest);
        let connection = self.slots[index as usize].connection.as_mut()?;
        connection.read_alone(self.latest, unread);
        let except = Except {
            socket: connection.socket(),
            received: connection.received(),
        };
        // What is due already is about to be looked at.
        let deadline = connection.next_deadline();
        if deadline.is_some_and(|(at, _)| !at.is_due(self.latest)) {
            self.arm(except.socket.connection);
        }
        Some(except)
    }

    /// Sees to it that the connection's next deadline is not missed. Later ones are not moved: the timer finds
    /// out when it fires.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let Some((deadline, _)) = self.get(id).and_then(Connection::next_deadline) else {
            return;
        };
        self.arm_until(id.index, deadline);
    }

    pub(super) fn arm_until(&mut self, slot: u32, deadline: Instant) {
        let armed = self.timers.deadline(slot);
        if armed.is_none_or(|armed| deadline < armed) {
            self.timers.set(slot, deadline);
        }
    }
}
