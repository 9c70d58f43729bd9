//! Messages to the server: accepted, then exactly one end each, in order.

mod promised;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::settings::{DropPolicy, Overflow};
use ropewalk_core::{
    Config, Counters, DeadLetter, Instant, Lane, Message, MessageId, MessageRef, Offline, Outcome,
    Resend, SendErrorCause,
};

use self::promised::Promised;
use self::waiting::{Before, Queue, Waiting};
use super::socket::SocketBook;
use crate::wire::Unit;

/// The outbound account of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    config: Arc<Config>,
    script_sends: usize,
    is_open: bool,
    accepted: u64,
    queue: Queue,
    /// Of this message a part, not all, is on the socket.
    begun: Option<u64>,
    /// Written, and a reply is awaited.
    asked: Vec<Asked>,
    written: u64,
    acknowledged: u64,
    interrupted: u64,
    not_sent: u64,
    expired: u64,
    dropped: u64,
    promised: Promised,
    /// Messages that are owed a letter.
    letters: BTreeMap<u64, Message>,
    marks: BTreeSet<&'static str>,
}

/// A message that awaits a reply.
#[derive(Debug)]
struct Asked {
    waiting: Waiting,
    key: Vec<u8>,
    until: Instant,
    /// The first message of its key that arrived since.
    reply: Option<Unit>,
}

impl Outgoing {
    pub(super) fn new(config: &Arc<Config>, script_sends: usize) -> Self {
        Self {
            config: Arc::clone(config),
            script_sends,
            is_open: false,
            accepted: 0,
            queue: Queue::default(),
            begun: None,
            asked: Vec::new(),
            written: 0,
            acknowledged: 0,
            interrupted: 0,
            not_sent: 0,
            expired: 0,
            dropped: 0,
            promised: Promised::default(),
            letters: BTreeMap::new(),
            marks: BTreeSet::new(),
        }
    }

    pub(super) fn take_marks(&mut self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.marks)
    }
}

// Accepting.
impl Outgoing {
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        number: MessageId,
        message: &Message,
    ) -> Result<(), String> {
        self.accepted += 1;
        if number.as_u64() != self.accepted {
            return Err(format!("message {} is called {number:?}", self.accepted));
        }
        if message.when_offline() == Offline::Refuse && !self.is_open {
            return Err("accepts what is not to wait, and has no socket".into());
        }
        let hook = self.config.hooks().coalesce.as_ref();
        let key = hook.and_then(|hook| hook.key(message));
        let waiting = Waiting {
            number: self.accepted,
            message: message.clone(),
            key: key.map(|key| key.to_vec()),
            deadline: message.time_to_live().map(|ttl| now + ttl),
            before: Before::Nothing,
        };
        self.make_room(waiting)
    }

    /// The application got its message back.
    pub(super) fn refused(
        &mut self,
        message: &Message,
        cause: SendErrorCause,
    ) -> Result<(), String> {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "causes are non-exhaustive; the others say nothing about the queue"
        )]
        match cause {
            SendErrorCause::Full => {
                self.marks.insert("refused full");
                let may_refuse = matches!(self.when_full(), Overflow::Wait | Overflow::Reject);
                if !may_refuse || self.fits(message.len(), self.queue.len(), self.queue.bytes()) {
                    return Err("refuses a message for which there is room (S1)".into());
                }
            }
            SendErrorCause::Offline => {
                self.marks.insert("refused offline");
                if message.when_offline() == Offline::Wait {
                    return Err("refuses a message that may wait (S1)".into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a full queue has to do, worked out a second time.
    fn make_room(&mut self, waiting: Waiting) -> Result<(), String> {
        let bytes = waiting.message.len();
        let fits_now = self.fits(bytes, self.queue.len(), self.queue.bytes());
        // What a socket has begun gives way to nothing.
        let (begun, begun_bytes) = self.queue.begun_before();
        let could_fit = self.fits(bytes, begun, begun_bytes);
        match self.when_full() {
            Overflow::Wait | Overflow::Reject if fits_now => {}
            Overflow::Wait | Overflow::Reject => {
                return Err(format!(
                    "accepts message {} beyond its bounds (S6)",
                    waiting.number
                ));
            }
            Overflow::DropNewest if fits_now => {}
            Overflow::DropOldest | Overflow::Coalesce if could_fit => {
                let is_coalesced = self.when_full() == Overflow::Coalesce;
                if let Some(key) = waiting.key.as_ref().filter(|_| is_coalesced)
                    && let Some(replaced) = self.queue.take_with_key(key)
                {
                    self.drop_message(replaced.number, DropPolicy::Coalesced);
                }
                while !self.fits(bytes, self.queue.len(), self.queue.bytes()) {
                    let oldest = self.queue.take_oldest();
                    let oldest = oldest.ok_or("a queue that could fit it does not")?;
                    self.drop_message(oldest.number, DropPolicy::Oldest);
                }
            }
            Overflow::DropNewest | Overflow::DropOldest | Overflow::Coalesce => {
                self.drop_message(waiting.number, DropPolicy::Newest);
                return Ok(());
            }
        }
        self.queue.push(waiting);
        Ok(())
    }

    fn drop_message(&mut self, number: u64, policy: DropPolicy) {
        self.marks.insert(match policy {
            DropPolicy::Oldest => "dropped oldest",
            DropPolicy::Newest => "dropped newest",
            DropPolicy::Coalesced => "dropped coalesced",
        });
        self.dropped += 1;
        self.promised.add(number, Outcome::Dropped(policy));
    }

    /// Whether there is room beside so many messages and those that await replies.
    fn fits(&self, bytes: usize, items_there: usize, bytes_there: usize) -> bool {
        let settings = self.config.settings().outbound;
        let items = items_there + self.asked.len();
        let asked = self.asked.iter().map(|asked| asked.waiting.message.len());
        let bytes_there = bytes_there + asked.sum::<usize>();
        items == 0 || (items < settings.items_max && bytes_there + bytes <= settings.bytes_max)
    }

    fn when_full(&self) -> Overflow {
        self.config.settings().outbound.when_full
    }
}

// On the socket.
impl Outgoing {
    /// A session is ready: the backlog may leave.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
    }

    /// These frames passed whole over the socket.
    pub(super) fn wrote(
        &mut self,
        now: Instant,
        units: Vec<Unit>,
        book: &mut SocketBook,
    ) -> Result<(), String> {
        for unit in units {
            if !matches!(unit, Unit::Text(_) | Unit::Binary(_)) {
                continue;
            }
            book.data_units += 1;
            if book.data_units > self.script_sends {
                self.wrote_message(now, &unit)?;
            }
        }
        if book.is_inside_data() && book.data_units >= self.script_sends {
            self.check_begin(now)?;
            self.begun = self.queue.begin_first();
        }
        Ok(())
    }

    fn wrote_message(&mut self, now: Instant, unit: &Unit) -> Result<(), String> {
        if !self.is_open {
            return Err("backlog leaves before the session is ready".into());
        }
        self.check_begin(now)?;
        self.begun = None;
        let head = self
            .queue
            .take_first()
            .ok_or("writes a message nobody sent")?;
        if head.unit() != *unit {
            return Err(format!("writes another message than {} (S5)", head.number));
        }
        if head.message.in_lane() == Lane::Priority && self.queue.has_normal_before(head.number) {
            self.marks.insert("overtook");
        }
        if head.before != Before::Nothing {
            self.marks.insert("sent again");
        }
        let hook = self.config.hooks().acknowledge.as_ref();
        let Some(key) = hook.and_then(|hook| hook.request(&head.message)) else {
            self.written += 1;
            self.promised.add(head.number, Outcome::Written);
            return Ok(());
        };
        let same = self.asked.iter().position(|asked| asked.key == key);
        if let Some(at) = same {
            self.marks.insert("reply taken over");
            self.written += 1;
            let number = self.asked.remove(at).waiting.number;
            self.promised.add(number, Outcome::Written);
        }
        self.asked.push(Asked {
            waiting: head,
            key: key.to_vec(),
            until: now + self.config.settings().timeouts.acknowledge,
            reply: None,
        });
        Ok(())
    }

    /// A message begins to leave in time, or not at all.
    fn check_begin(&self, now: Instant) -> Result<(), String> {
        match self.queue.first() {
            Some(first) if self.begun != Some(first.number) && first.is_over(now) => Err(format!(
                "writes message {}, whose time is over",
                first.number
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// These messages arrived.
    pub(super) fn arrived(&mut self, now: Instant, units: &[Unit]) {
        let Some(hook) = &self.config.hooks().acknowledge else {
            return;
        };
        for unit in units {
            let Some((kind, payload)) = unit.message() else {
                continue;
            };
            let Some(key) = hook.reply(MessageRef::new(kind, payload, 0, now)) else {
                continue;
            };
            if let Some(asked) = self.asked.iter_mut().find(|asked| asked.key == key) {
                asked.reply.get_or_insert_with(|| unit.clone());
            }
        }
    }

    /// The socket is gone.
    pub(super) fn lost(&mut self) {
        self.is_open = false;
        if self.begun.take().is_some() {
            let cut = self.queue.take_first();
            let mut cut = cut.expect("what is begun stands first");
            if cut.message.resend() == Resend::Never {
                self.interrupted += 1;
                self.promised.add(cut.number, Outcome::Interrupted);
            } else {
                cut.before = cut.before.max(Before::Part);
                self.queue.push_begun(cut);
            }
        }
        let mut asked = std::mem::take(&mut self.asked);
        asked.sort_by_key(|asked| asked.waiting.number);
        for asked in asked.into_iter().rev() {
            let mut waiting = asked.waiting;
            waiting.before = Before::Whole;
            if waiting.message.resend() == Resend::Never {
                self.leave(&waiting, Outcome::Written);
            } else {
                self.queue.push_begun(waiting);
            }
        }
        let refusing = |waiting: &Waiting| waiting.message.when_offline() == Offline::Refuse;
        for refused in self.queue.take_all(refusing) {
            self.marks.insert("refused to wait");
            self.leave(&refused, Outcome::NotSent);
        }
    }

    /// There will be no further socket.
    pub(super) fn ended(&mut self) {
        for left in self.queue.take_all(|_| true) {
            self.leave(&left, Outcome::NotSent);
            if left.before == Before::Nothing {
                self.letters.insert(left.number, left.message);
            }
        }
    }

    /// A message goes to no further socket: if none has begun it, then for this reason.
    fn leave(&mut self, waiting: &Waiting, reason: Outcome) {
        let outcome = match waiting.before {
            Before::Nothing => reason,
            Before::Part => Outcome::Interrupted,
            Before::Whole => Outcome::Written,
        };
        match outcome {
            Outcome::Written => self.written += 1,
            Outcome::Interrupted => self.interrupted += 1,
            Outcome::Expired => self.expired += 1,
            Outcome::NotSent | Outcome::Acknowledged(_) | Outcome::Dropped(_) => self.not_sent += 1,
        }
        self.promised.add(waiting.number, outcome);
    }
}

// What the application is told.
impl Outgoing {
    pub(super) fn outcome(
        &mut self,
        now: Instant,
        number: MessageId,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let number = number.as_u64();
        self.marks.insert(match outcome {
            Outcome::Written => "outcome written",
            Outcome::Acknowledged(_) => "outcome acknowledged",
            Outcome::Interrupted => "outcome interrupted",
            Outcome::NotSent => "outcome not_sent",
            Outcome::Expired => "outcome expired",
            Outcome::Dropped(_) => "outcome dropped",
        });
        if !self.promised.knows(number) {
            // Only the clock and the server's replies decide over what the queue still has.
            self.leave_by_itself(now, number, outcome);
        }
        self.promised.told(number, outcome)
    }

    fn leave_by_itself(&mut self, now: Instant, number: u64, outcome: &Outcome) {
        if let Some(at) = self.asked.iter().position(|a| a.waiting.number == number) {
            let asked = &self.asked[at];
            let reply = asked.reply.as_ref().and_then(Unit::message);
            let is_allowed = match outcome {
                Outcome::Acknowledged(told) => reply == Some((told.kind(), told.as_bytes())),
                Outcome::Written => reply.is_none() && asked.until <= now,
                Outcome::Interrupted
                | Outcome::NotSent
                | Outcome::Expired
                | Outcome::Dropped(_) => false,
            };
            if is_allowed {
                self.asked.remove(at);
                self.written += 1;
                self.acknowledged += u64::from(matches!(outcome, Outcome::Acknowledged(_)));
                self.promised.add(number, outcome.clone());
            }
            return;
        }
        let begun = self.begun;
        let is_it = |waiting: &Waiting| {
            waiting.number == number && begun != Some(number) && waiting.is_over(now)
        };
        for expired in self.queue.take_all(is_it) {
            self.leave(&expired, Outcome::Expired);
            if expired.before == Before::Nothing {
                self.letters.insert(expired.number, expired.message);
            }
        }
    }

    pub(super) fn letter(&mut self, letter: &DeadLetter) -> Result<(), String> {
        match self.letters.remove(&letter.seq) {
            Some(message)
                if letter.payload[..] == *message.as_bytes() && letter.kind == message.kind() =>
            {
                Ok(())
            }
            owed => Err(format!(
                "a letter of message {}, owed is {owed:?} (S3)",
                letter.seq
            )),
        }
    }

    /// Replies that arrived in an open session are told.
    pub(super) fn nothing_unheard(&self) -> Result<(), String> {
        let unheard = self.asked.iter().find(|asked| asked.reply.is_some());
        match unheard {
            Some(asked) => Err(format!(
                "the reply to message {} is overlooked",
                asked.waiting.number
            )),
            None => Ok(()),
        }
    }

    pub(super) fn compare(&self, now: Instant, counters: &Counters) -> Result<(), String> {
        let begun = u64::from(self.begun.is_some());
        let counts: [(&str, u64, u64); 9] = [
            ("accepted", self.accepted, counters.accepted),
            ("waiting", self.queue.len() as u64 - begun, counters.waiting),
            (
                "in flight",
                begun + self.asked.len() as u64,
                counters.in_flight_out,
            ),
            ("written", self.written, counters.written),
            ("acknowledged", self.acknowledged, counters.acknowledged),
            ("interrupted", self.interrupted, counters.interrupted),
            ("not sent", self.not_sent, counters.not_sent),
            ("expired", self.expired, counters.expired),
            ("dropped", self.dropped, counters.dropped_out),
        ];
        let wrong: Vec<_> = counts
            .iter()
            .filter(|(_, ours, theirs)| ours != theirs)
            .collect();
        if !wrong.is_empty() {
            return Err(format!("ours, and the core's count: {wrong:?} (S1)"));
        }
        if let Some(late) = self.queue.first_over(now, self.begun) {
            return Err(format!("message {late} is here, and its time is over"));
        }
        if let Some(number) = self.letters.keys().next() {
            return Err(format!("message {number} left no letter (S3)"));
        }
        self.promised.all_told()
    }
}
