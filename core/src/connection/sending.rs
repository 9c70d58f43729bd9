//! Messages that the application sends: what a full queue does, and what is worth nothing later.

use std::fmt;

use bytes::Bytes;

use crate::event::{EventKind, Outcome};
use crate::io::Output;
use crate::letter::{DeadLetter, Direction, Stage};
use crate::message::{Lane, Message, MessageId, Offline, Resend};
use crate::outbound::{Before, Packed, Queued, Report, SendError, SendErrorCause};
use crate::settings::{DropPolicy, Overflow, format_duration};
use crate::time::Instant;

use super::receive::REPORT_INTERVAL;
use super::session::Session;
use super::{Connection, Step, Turn};

/// Outbound messages that were neither sent nor kept.
#[derive(Debug, Default)]
pub(super) struct Discarded {
    pub(super) expired: u64,
    pub(super) dropped: u64,
    reported_at: Option<Instant>,
}

// Accepting.
impl Connection {
    pub(crate) fn send(
        &mut self,
        step: &mut Step<'_>,
        message: Message,
        report: Report,
    ) -> Result<MessageId, SendError> {
        if self.ending.is_some() || self.life.state().is_terminal() {
            let cause = SendErrorCause::Closed;
            return Err(SendError { message, cause });
        }
        if message.when_offline() == Offline::Refuse && !self.may_send_messages() {
            let cause = SendErrorCause::Offline;
            return Err(SendError { message, cause });
        }
        let when_full = self.settings().outbound.when_full;
        let key = match &self.config.hooks().coalesce {
            Some(coalesce) if when_full == Overflow::Coalesce => coalesce.key(&message),
            Some(_) | None => None,
        };
        match self.make_room(step, message.len(), key.as_ref()) {
            Room::Made => {}
            Room::None => {
                let cause = SendErrorCause::Full;
                return Err(SendError { message, cause });
            }
            Room::NotForThis => {
                let id = self.outbound.number();
                step.freed_items += 1;
                step.freed_bytes += message.len();
                self.count_dropped(step, DropPolicy::Newest);
                self.tell_outcome(step, id, report, Outcome::Dropped(DropPolicy::Newest));
                return Ok(id);
            }
        }
        let id = self.outbound.number();
        let committed = match message.in_lane() {
            // It overtakes nothing.
            Lane::Normal => 0,
            Lane::Priority => self.messages_committed(),
        };
        let index = self
            .outbound
            .insert(step.now, (id, message), report, key, committed);
        self.prepared_no_further_than(index);
        Ok(id)
    }

    /// As [`send`](Self::send), for messages whose outcomes nobody asks for. They stay packed unless one of them might give way,
    /// or await a reply.
    pub(crate) fn send_packed(
        &mut self,
        step: &mut Step<'_>,
        packed: Packed,
        mut refused: impl FnMut(SendError),
    ) {
        let outbound = self.config.settings().outbound;
        let stays = match outbound.when_full {
            Overflow::Wait | Overflow::Reject => self.config.hooks().acknowledge.is_none(),
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Coalesce => false,
        };
        let is_over = self.ending.is_some() || self.life.state().is_terminal();
        let unpacked = if stays && !is_over {
            self.outbound
                .insert_packed(step.now, packed, &outbound.bounds())
                .err()
        } else {
            Some(packed)
        };
        for message in unpacked.iter().flat_map(Packed::messages) {
            if let Err(error) = self.send(step, message, Report::Quiet) {
                refused(error);
            }
        }
    }

    /// Makes room for a message of `bytes`, as the policy has it.
    fn make_room(&mut self, step: &mut Step<'_>, bytes: usize, key: Option<&Bytes>) -> Room {
        let outbound = self.config.settings().outbound;
        let bounds = outbound.bounds();
        if let Overflow::Wait | Overflow::Reject = outbound.when_full {
            return if self.outbound.admits(&bounds, bytes) {
                Room::Made
            } else {
                Room::None
            };
        }
        let committed = self.messages_committed();
        let is_admitted = match outbound.when_full {
            Overflow::Wait | Overflow::Reject | Overflow::DropNewest => {
                self.outbound.admits(&bounds, bytes)
            }
            // Nothing gives way for a message for which that is not enough.
            Overflow::DropOldest | Overflow::Coalesce => {
                self.outbound.can_admit(&bounds, bytes, committed)
            }
        };
        if !is_admitted {
            return Room::NotForThis;
        }
        if let Some(key) = key
            && let Some(index) = self.outbound.with_key(key, committed)
        {
            self.drop_message(step, index, DropPolicy::Coalesced);
        }
        while !self.outbound.admits(&bounds, bytes)
            && let Some(index) = self.outbound.oldest(committed)
        {
            self.drop_message(step, index, DropPolicy::Oldest);
        }
        Room::Made
    }
}

/// What became of the attempt to make room.
enum Room {
    Made,
    None,
    NotForThis,
}

// Discarding.
impl Connection {
    fn drop_message(&mut self, step: &mut Step<'_>, index: usize, policy: DropPolicy) {
        self.prepared_no_further_than(index);
        if self
            .message_left_from(step, index, Outcome::Dropped(policy))
            .is_some()
        {
            self.count_dropped(step, policy);
        }
    }

    fn count_dropped(&mut self, step: &mut Step<'_>, policy: DropPolicy) {
        let discarded = &mut self.history.get_or_insert_default().discarded;
        discarded.dropped += 1;
        let total = discarded.dropped;
        let is_reported = discarded
            .reported_at
            .is_none_or(|at| step.now.saturating_since(at) >= REPORT_INTERVAL);
        if is_reported {
            discarded.reported_at = Some(step.now);
            self.emit(step, EventKind::Dropped { policy, total });
        }
    }

    /// Messages that waited longer than they may become dead letters.
    pub(super) fn expire_messages(&mut self, step: &mut Step<'_>) {
        let committed = self.messages_committed();
        while let Some(index) = self.outbound.next_expired(step.now, committed) {
            self.prepared_no_further_than(index);
            let Some(queued) = self.never_sent(step, index, Outcome::Expired) else {
                continue;
            };
            self.history.get_or_insert_default().discarded.expired += 1;
            let ttl = queued.message.time_to_live().unwrap_or_default();
            let reason = format_args!("it waited for longer than {}", format_duration(ttl));
            self.outbound_letter(step, queued, reason);
        }
    }

    /// No socket is ready any more: what is not to wait for another is not sent.
    pub(super) fn refuse_to_wait(&mut self, step: &mut Step<'_>) {
        while let Some(index) = self.outbound.first_refusing() {
            if self.never_sent(step, index, Outcome::NotSent).is_some() {
                self.tally.not_sent += 1;
            }
        }
    }

    /// The message at this place of the queue goes to no further socket. It is returned, and has this outcome, if none
    /// has begun it; one that a lost socket had begun is interrupted, and one that it had taken whole is written.
    pub(super) fn never_sent(
        &mut self,
        step: &mut Step<'_>,
        index: usize,
        outcome: Outcome,
    ) -> Option<Queued> {
        match self.outbound.get(index)?.before {
            Before::Nothing => self.message_left_from(step, index, outcome),
            Before::Part => {
                self.tally.interrupted += 1;
                self.message_left_from(step, index, Outcome::Interrupted);
                None
            }
            Before::Whole => {
                self.tally.written += 1;
                self.message_left_from(step, index, Outcome::Written);
                None
            }
        }
    }

    /// A message that was not sent is left to people and programs to decide about.
    pub(super) fn outbound_letter(
        &mut self,
        step: &mut Step<'_>,
        queued: Queued,
        reason: impl fmt::Display,
    ) {
        let letter = DeadLetter {
            connection: self.id,
            endpoint: self.endpoint_shown(),
            generation: self.generation,
            seq: queued.id.as_u64(),
            direction: Direction::Outbound,
            stage: Stage::Network,
            reason: reason.to_string().into(),
            attempts: self.tally.sessions,
            received_at: queued.accepted_at,
            first_failed_at: step.now,
            kind: queued.message.kind(),
            payload: queued.message.into_bytes(),
        };
        self.emit_letter(step, letter);
    }

    fn tell_outcome(
        &self,
        step: &mut Step<'_>,
        message: MessageId,
        report: Report,
        outcome: Outcome,
    ) {
        if report == Report::Outcome {
            step.out.push_back(Output::Outcome {
                connection: self.id,
                message,
                outcome,
            });
        }
    }

    /// The message at this place of the queue has this outcome.
    #[inline]
    pub(super) fn message_left_from(
        &mut self,
        step: &mut Step<'_>,
        index: usize,
        outcome: Outcome,
    ) -> Option<Queued> {
        let queued = self.outbound.remove(index)?;
        step.freed_items += 1;
        step.freed_bytes += queued.message.len();
        self.tell_outcome(step, queued.id, queued.report, outcome);
        Some(queued)
    }

    /// What was compressed ahead from this place of the queue on is out of order.
    fn prepared_no_further_than(&mut self, index: usize) {
        if let Some(session) = &mut self.session
            && let Some(compression) = &mut session.compression
        {
            compression.cut_from(index);
        }
    }
}

// Replies.
impl Connection {
    /// The first message of the queue is written: that is its outcome, unless it awaits a reply.
    pub(super) fn first_written(&mut self, step: &mut Step<'_>) {
        let Some(first) = self.outbound.get(0) else {
            return self.packed_written(step, 1);
        };
        self.tally.written_bytes += first.message.len() as u64;
        let hook = self.config.hooks().acknowledge.as_ref();
        let Some(key) = hook.and_then(|hook| hook.request(&first.message)) else {
            self.tally.written += 1;
            self.message_left(step, Outcome::Written);
            return;
        };
        let deadline = step.now + self.settings().timeouts.acknowledge;
        if let Some(forgotten) = self.outbound.await_reply(key, deadline) {
            self.leave_written(step, &forgotten, Outcome::Written);
        }
    }

    /// The first `count` messages of the queue, which are packed, are written.
    pub(super) fn packed_written(&mut self, step: &mut Step<'_>, count: usize) {
        let (items, bytes) = self.outbound.packed_left(count);
        self.tally.written += items as u64;
        self.tally.written_bytes += bytes as u64;
        step.freed_items += items;
        step.freed_bytes += bytes;
    }

    /// Perhaps the reply that a message awaits.
    pub(super) fn reply_arrived(&mut self, step: &mut Step<'_>, key: &Bytes, reply: Message) {
        if let Some(queued) = self.outbound.take_awaiting(key) {
            self.history.get_or_insert_default().acknowledged += 1;
            let outcome = Outcome::Acknowledged(Box::new(reply));
            self.leave_written(step, &queued, outcome);
        }
    }

    /// Replies that did not come in time are no longer awaited.
    pub(super) fn miss_replies(&mut self, step: &mut Step<'_>) {
        // While nothing is read, that no reply is seen is of our own making.
        let is_read = self.session.as_ref().is_some_and(Session::is_read);
        if !is_read || step.turn == Turn::NotNow {
            let deadline = step.now + self.settings().timeouts.acknowledge;
            return self.outbound.postpone_replies(step.now, deadline);
        }
        while let Some(queued) = self.outbound.next_missed(step.now) {
            self.leave_written(step, &queued, Outcome::Written);
        }
    }

    /// The socket is lost, and with it the replies: what may be sent twice is, ahead of everything else.
    pub(super) fn lose_replies(&mut self, step: &mut Step<'_>) -> usize {
        let (again, lost): (Vec<_>, Vec<_>) = self
            .outbound
            .take_all_awaiting()
            .into_iter()
            .partition(|queued| queued.message.resend() == Resend::IfInterrupted);
        for queued in &lost {
            self.leave_written(step, queued, Outcome::Written);
        }
        let count = again.len();
        self.outbound.put_back(again);
        count
    }

    fn leave_written(&mut self, step: &mut Step<'_>, queued: &Queued, outcome: Outcome) {
        self.tally.written += 1;
        step.freed_items += 1;
        step.freed_bytes += queued.message.len();
        self.tell_outcome(step, queued.id, queued.report, outcome);
    }
}
