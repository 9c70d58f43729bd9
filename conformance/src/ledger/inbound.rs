//! Messages from the server: received, then exactly one end each, in order.

mod calls;
mod owed;
mod standing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::settings::{InvalidFate, Order, RetryPolicy};
use ropewalk_core::{
    Batch, Config, Consumer, Counters, DeadLetter, Fate, Instant, Judged, Kind, MessageRef,
    Redrive, Shutdown, Stage, Urgency, Verdict,
};

pub(crate) use self::calls::Places;
use self::owed::Owed;
use self::standing::{Haste, Held, Place, Standing};
use crate::wire::Unit;

/// The inbound account of one connection.
#[derive(Debug)]
pub(super) struct Incoming {
    consumer: Consumer,
    config: Arc<Config>,
    asks: u32,
    /// Calls that were begun, and those that have not ended.
    calls: u64,
    running: u16,
    /// When the last of the running calls ended; `None` while one runs.
    idle_since: Option<Instant>,
    standing: Standing,
    owed: Owed,
    /// The socket that messages still come over.
    live: Option<u32>,
    received: u64,
    redriven: u64,
    /// Messages that do not decode, not yet counted.
    unsound: BTreeSet<u64>,
    /// The server's own numbers of messages, not yet counted.
    numbered: Vec<(u64, u64)>,
    next_number: u64,
    /// Jumps that were told and not yet found.
    gaps: VecDeque<(u64, u64)>,
    delivered: u64,
    filtered: u64,
    rejected: u64,
    dropped: u64,
    /// Until when, at the latest, what was received is still wanted.
    wanted_until: Option<Instant>,
    inbox: Inbox,
    /// This number was read while the queue was full.
    too_much: Option<u64>,
    /// This number could have been in a batch and is not.
    left_behind: Option<u64>,
    begun_now: Begun,
    workers: u16,
    marks: BTreeSet<&'static str>,
}

/// Whether anybody will take what is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inbox {
    Open,
    /// Nobody: it is dropped at once, which makes room for more.
    Abandoned,
}

/// Calls that were begun in this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    None,
    Some,
    /// One after a long rest.
    Anew,
}

impl Incoming {
    pub(super) fn new(consumer: Consumer, config: &Arc<Config>) -> Self {
        let settings = config.settings();
        let workers = settings.processor.workers;
        let (order, lanes) = match consumer {
            Consumer::Pull => (Order::Strict, 1),
            Consumer::Process => (settings.processor.order, workers.max),
        };
        Self {
            consumer,
            config: Arc::clone(config),
            asks: 0,
            calls: 0,
            running: 0,
            idle_since: Some(Instant::ORIGIN),
            standing: Standing::new(order, lanes, settings.batch),
            owed: Owed::default(),
            live: None,
            received: 0,
            redriven: 0,
            unsound: BTreeSet::new(),
            numbered: Vec::new(),
            next_number: config.hooks().resume.as_ref().map_or(0, |it| it.start),
            gaps: VecDeque::new(),
            delivered: 0,
            filtered: 0,
            rejected: 0,
            dropped: 0,
            wanted_until: None,
            inbox: Inbox::Open,
            too_much: None,
            left_behind: None,
            begun_now: Begun::None,
            workers: workers.min,
            marks: BTreeSet::new(),
        }
    }

    pub(super) fn take_marks(&mut self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.marks)
    }

    /// The socket is gone: what came over it waits for nothing more.
    pub(super) fn lost(&mut self) {
        self.live = None;
    }

    /// The connection is to end.
    pub(super) fn ending(&mut self, now: Instant, how: Shutdown) {
        let until = match how {
            Shutdown::Abort => now,
            Shutdown::Graceful { deadline } => deadline,
            Shutdown::Unread { .. } => {
                self.inbox = Inbox::Abandoned;
                now
            }
        };
        self.wanted_until = Some(self.wanted_until.map_or(until, |before| before.min(until)));
    }

    fn hash(&self, message: MessageRef<'_>) -> u64 {
        let hook = self.config.hooks().per_key.as_ref();
        hook.map_or(0, |per_key| per_key.hash(message))
    }
}

// Coming in.
impl Incoming {
    /// These messages arrived. Those that the core was deaf to are found out when it has counted.
    pub(super) fn arrived(&mut self, now: Instant, generation: u32, units: &[Unit]) {
        self.live = Some(generation);
        for unit in units {
            let Some((kind, payload)) = unit.message() else {
                continue;
            };
            self.received += 1;
            let bounds = self.config.settings().inbound;
            let (items, bytes) = self.standing.waiting();
            let is_full = items >= bounds.items_max || bytes >= bounds.bytes_max;
            if is_full && self.inbox == Inbox::Open {
                self.too_much.get_or_insert(self.received);
            }
            let message = MessageRef::new(kind, payload, self.received, now);
            let hooks = self.config.hooks();
            let resume = hooks.resume.as_ref();
            if let Some(number) = resume.and_then(|resume| resume.sequence_of(message)) {
                self.numbered.push((self.received, number));
            }
            let decode = hooks.decode.as_ref();
            if decode.is_some_and(|decode| decode.decode(message).is_err()) {
                self.unsound.insert(self.received);
                continue;
            }
            let urgency = hooks.urgent.as_ref().map(|urgent| urgent.urgency(message));
            self.standing.push(Held {
                is_urgent: urgency == Some(Urgency::AtOnce),
                ..self.held(message, generation, None)
            });
        }
    }

    pub(super) fn redriven(&mut self, now: Instant, redrive: &Redrive) {
        self.redriven += 1;
        let is_text = redrive.kind == Kind::Text && std::str::from_utf8(&redrive.payload).is_ok();
        let kind = if is_text { Kind::Text } else { Kind::Binary };
        let message = MessageRef::new(kind, &redrive.payload, redrive.seq, now);
        let held = self.held(message, redrive.generation, Some(redrive.letter));
        self.standing.push(held);
    }

    fn held(&self, message: MessageRef<'_>, generation: u32, letter: Option<u64>) -> Held {
        Held {
            seq: message.seq(),
            letter,
            generation,
            kind: message.kind(),
            payload: message.as_bytes().to_vec(),
            at: message.received_at(),
            key: self.hash(message),
            is_urgent: false,
            attempts: 0,
            first_failed_at: None,
            place: Place::Waiting,
        }
    }
}

// Going out.
impl Incoming {
    pub(super) fn asked(&mut self) {
        match self.consumer {
            Consumer::Pull => self.asks = 1,
            Consumer::Process => self.asks += 1,
        }
    }

    pub(super) fn delivered(&mut self, now: Instant, batch: &Batch) -> Result<(), String> {
        self.asks = self.asks.checked_sub(1).ok_or("a batch for nobody")?;
        if batch.is_empty() {
            return Err("an empty batch".into());
        }
        let out = self.standing.hand_out(now, self.live, batch)?;
        self.left_behind = self.left_behind.or(out.left_behind);
        self.mark_batch(batch, out.haste);
        match self.consumer {
            Consumer::Pull => {
                self.delivered += batch.len() as u64;
                for message in batch {
                    self.standing.take(message.seq(), batch.letter());
                }
                if let Some(letter) = batch.letter() {
                    self.owed.delivered(letter);
                }
            }
            Consumer::Process => {
                let is_rested = self.is_rested(now);
                self.running += 1;
                self.idle_since = None;
                self.begun_now = if is_rested { Begun::Anew } else { Begun::Some };
            }
        }
        Ok(())
    }

    fn mark_batch(&mut self, batch: &Batch, haste: Haste) {
        let happened = [
            (batch.len() > 1, "batch of several"),
            (haste == Haste::Urgent, "batch hurried"),
            (haste == Haste::Lingered, "batch lingered"),
            (batch.attempt() > 1, "tried again"),
            (batch.letter().is_some(), "letter redriven"),
            (
                batch.letter().is_some() && batch.attempt() > 1,
                "letter tried again",
            ),
            (self.running > 0, "calls at once"),
        ];
        let happened = happened.into_iter().filter(|(is_so, _)| *is_so);
        self.marks.extend(happened.map(|(_, mark)| mark));
    }

    pub(super) fn judged(&mut self, now: Instant, judged: &Judged) {
        let batch = judged.batch();
        let letter = batch.letter();
        // What was dropped meanwhile ends no second time.
        let Some(running) = self.running.checked_sub(1) else {
            self.marks.insert("verdict after the end");
            return;
        };
        self.running = running;
        if running == 0 {
            self.idle_since = Some(now);
        }
        self.calls += 1;
        let policy = self.config.settings().retry;
        let is_again = |verdict: &Verdict| match verdict {
            Verdict::Retry { after } if batch.attempt() <= policy.attempts_max => {
                Some(after.unwrap_or_else(|| delay(&policy, batch.attempt())))
            }
            Verdict::Ack | Verdict::Retry { .. } | Verdict::Reject(_) => None,
        };
        let delays = judged.refusals().iter().filter_map(|(_, it)| is_again(it));
        let not_before = now + delays.max().unwrap_or_default();
        let mut refusals = judged.refusals().iter().peekable();
        for (index, message) in batch.iter().enumerate() {
            let refusal = refusals.next_if(|(at, _)| *at == index);
            let verdict = refusal.map_or(&Verdict::Ack, |(_, verdict)| verdict);
            if is_again(verdict).is_some() {
                let call = self.calls;
                let place = Place::Again { call, not_before };
                self.standing.put_back(message.seq(), letter, now, place);
            } else if let Some(held) = self.standing.take(message.seq(), letter) {
                self.end(now, held, verdict);
            }
        }
    }

    fn end(&mut self, now: Instant, held: Held, verdict: &Verdict) {
        let mark = match (verdict, held.letter) {
            (Verdict::Ack, None) => "message acknowledged",
            (Verdict::Ack, Some(_)) => "letter acknowledged",
            (Verdict::Reject(_), None) => "message rejected",
            (Verdict::Retry { .. }, None) => "message exhausted",
            (Verdict::Reject(_) | Verdict::Retry { .. }, Some(_)) => "letter failed again",
        };
        self.marks.insert(mark);
        match verdict {
            Verdict::Ack => {
                self.delivered += 1;
                if let Some(letter) = held.letter {
                    self.owed.delivered(letter);
                }
            }
            Verdict::Reject(_) | Verdict::Retry { .. } => {
                self.rejected += 1;
                self.owed.failed(now, held, verdict);
            }
        }
    }
}

// What is told.
impl Incoming {
    pub(super) fn letter(&mut self, letter: &DeadLetter) -> Result<(), String> {
        match letter.stage {
            Stage::Business => self.owed.told(letter),
            Stage::Protocol => {
                self.marks.insert("message filtered into a letter");
                let is_known = self.unsound.contains(&letter.seq);
                let fate = self.config.settings().invalid.dead_letter;
                if !is_known || fate == InvalidFate::Count {
                    return Err(format!(
                        "a letter of message {}, which is sound",
                        letter.seq
                    ));
                }
                self.owed.told_filtered(letter.seq)
            }
            Stage::Network => Err(format!("{letter:?} is one of an outbound message")),
        }
    }

    pub(super) fn told_fate(&mut self, letter: u64, fate: &Fate) -> Result<(), String> {
        self.owed.told_fate(letter, fate)
    }

    pub(super) fn told_gap(&mut self, expected: u64, received: u64) {
        self.gaps.push_back((expected, received));
    }

    /// In an open session nothing that arrived is overlooked.
    pub(super) fn nothing_overlooked(&self, received: u64) -> Result<(), String> {
        if received == self.received {
            return Ok(());
        }
        Err(format!(
            "received {received} of {} messages (S2)",
            self.received
        ))
    }

    /// Everything that followed from a step is done: compares with the core.
    pub(super) fn compare(&mut self, now: Instant, counters: &Counters) -> Result<(), String> {
        self.count_received(counters.received)?;
        self.count_dropped(now, counters.dropped)?;
        let theirs = [
            ("received", self.received, counters.received),
            ("redriven", self.redriven, counters.redriven),
            ("delivered", self.delivered, counters.delivered),
            ("filtered", self.filtered, counters.filtered),
            ("rejected", self.rejected, counters.rejected),
            ("dropped", self.dropped, counters.dropped),
            (
                "in flight",
                self.standing.len() as u64,
                counters.in_flight_in,
            ),
        ];
        let wrong: Vec<_> = theirs
            .iter()
            .filter(|(_, ours, theirs)| ours != theirs)
            .collect();
        if !wrong.is_empty() {
            return Err(format!("ours, and the core's count: {wrong:?} (S2)"));
        }
        self.owed.all_told()
    }

    /// The core was deaf to what arrived behind this number.
    fn count_received(&mut self, received: u64) -> Result<(), String> {
        if received > self.received {
            return Err(format!(
                "received {received} of {} messages that arrived (S2)",
                self.received
            ));
        }
        self.received = received;
        self.standing.forget_after(received);
        drop(self.unsound.split_off(&(received + 1)));
        let unsound = std::mem::take(&mut self.unsound);
        if !unsound.is_empty() {
            self.marks.insert("message filtered");
        }
        self.filtered += unsound.len() as u64;
        self.compare_gaps(received)?;
        let letters = match self.config.settings().invalid.dead_letter {
            InvalidFate::DeadLetter => self.filtered,
            InvalidFate::Count => 0,
        };
        if self.owed.filtered_letters() != letters {
            return Err(format!(
                "{} letters of {letters} filtered messages (S3)",
                self.owed.filtered_letters()
            ));
        }
        if let Some(seq) = self.too_much.take().filter(|seq| *seq <= received) {
            return Err(format!("message {seq} was read into a full queue (S6)"));
        }
        if let Some(seq) = self.left_behind.take().filter(|seq| *seq <= received) {
            return Err(format!("message {seq} was left out of its batch"));
        }
        Ok(())
    }

    /// Every jump in the server's numbers is told, and nothing else.
    fn compare_gaps(&mut self, received: u64) -> Result<(), String> {
        let numbered = std::mem::take(&mut self.numbered);
        for (_, number) in numbered.into_iter().filter(|(seq, _)| *seq <= received) {
            let expected = std::mem::replace(&mut self.next_number, number + 1);
            let gap = (expected, number);
            if number == expected {
                continue;
            }
            self.marks.insert("gap");
            if self.gaps.pop_front() != Some(gap) {
                return Err(format!("the gap {gap:?} is not told"));
            }
        }
        match self.gaps.front() {
            Some(gap) => Err(format!("the gap {gap:?} is told, and is none")),
            None => Ok(()),
        }
    }

    /// Only the end of the connection drops messages, and it drops all of them.
    fn count_dropped(&mut self, now: Instant, dropped: u64) -> Result<(), String> {
        if dropped == self.dropped {
            return Ok(());
        }
        if self.wanted_until.is_none_or(|until| now < until) {
            return Err(format!("drops {dropped} messages that are wanted (S2)"));
        }
        self.marks.insert("dropped at the end");
        self.dropped += self.standing.clear();
        self.running = 0;
        self.asks = 0;
        Ok(())
    }
}

/// The wait before a message's next try.
fn delay(policy: &RetryPolicy, attempt: u32) -> Duration {
    let mut delay = policy.initial;
    for _ in 1..attempt {
        delay = delay.mul_f64(policy.factor).min(policy.max);
    }
    delay.min(policy.max)
}
