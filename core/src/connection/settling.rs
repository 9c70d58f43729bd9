//! What follows from a change: from any, or from the frequent ones, from which little does.

use crate::event::{EventKind, Reading, State};
use crate::inbound::Place;
use crate::io::{CallRequest, Consumer, Output};
use crate::letter::Fate;
use crate::workers::Scaled;

use super::ending::Inbox;
use super::session::Session;
use super::{Connection, Step};

impl Connection {
    /// Tells the driver what this step has made necessary. Called once after each step.
    pub(crate) fn settle(&mut self, step: &mut Step<'_>) {
        self.settle_inbox(step);
        self.settle_close_notify();
        self.settle_close(step);
        self.settle_delivery(step);
        while self.receive_held(step) {
            self.settle_inbox(step);
            self.settle_close(step);
            self.settle_delivery(step);
        }
        self.inbound.shrink_growing();
        self.settle_workers(step);
        self.settle_reading(step);
        self.settle_transmit(step);
        if step.freed_items > 0 {
            step.out.push_back(Output::Room {
                connection: self.id,
                items: std::mem::take(&mut step.freed_items),
                bytes: std::mem::take(&mut step.freed_bytes),
            });
        }
    }

    /// Whether nothing can follow from what the consumer does but what [`settle_consumer`](Self::settle_consumer) sees to: the
    /// socket is open and read, so that nothing waits until there is room, and no end waits until all is judged.
    pub(crate) fn is_undisturbed(&self) -> bool {
        let is_ending = |session: &Session| session.close.is_some() || session.has_ended;
        self.life.state() == State::Open
            && self.reading == Reading::Resumed
            && self.ending.is_none()
            && !self.session.as_ref().is_none_or(is_ending)
    }

    /// Whether no message waits, whole or in part: then a consumer that asks for more, or is done with what it had, changes
    /// neither what is held nor what is due.
    pub(crate) fn has_nothing_to_hand_out(&self) -> bool {
        self.inbound.waiting() == 0
            && self.inbound.place() == Place::Unasked
            && !self.session.as_ref().is_some_and(Session::has_part)
    }

    /// What is left to do after the consumer changed something while there was [nothing to hand
    /// out](Self::has_nothing_to_hand_out), before and after.
    pub(crate) fn settle_idle_consumer(&mut self, step: &mut Step<'_>) {
        self.settle_workers(step);
    }

    /// Whether nothing waits, is owed or is half done: then nothing can follow from what is read but what
    /// [`settle_at_rest`](Self::settle_at_rest) sees to, unless it is more than messages that are handed out at once.
    pub(crate) fn is_at_rest(&self) -> bool {
        let owes_nothing = |session: &Session| session.charged() == 0 && !session.is_life_awaited;
        self.is_undisturbed()
            && self.has_nothing_to_hand_out()
            && self.outbound.is_timeless()
            && self.tls.is_none()
            && self.session.as_ref().is_some_and(owes_nothing)
    }

    /// Does what follows from what was read since the connection was [at rest](Self::is_at_rest). Whether it is again, with no more
    /// held and nothing due earlier than before: else [`settle`](Self::settle) is to do the rest.
    pub(crate) fn settle_at_rest(&mut self, step: &mut Step<'_>) -> bool {
        if !self.is_undisturbed() {
            return false;
        }
        self.settle_delivery(step);
        if !self.is_at_rest() {
            return false;
        }
        debug_assert_eq!(step.freed_items, 0, "no reply was awaited");
        self.settle_workers(step);
        true
    }

    /// As [`settle`](Self::settle), after the consumer changed something and while the connection
    /// [is undisturbed](Self::is_undisturbed).
    pub(crate) fn settle_consumer(&mut self, step: &mut Step<'_>) {
        self.settle_delivery(step);
        self.settle_workers(step);
        self.settle_reading(step);
    }

    /// Drops what nobody will take any more.
    fn settle_inbox(&mut self, step: &mut Step<'_>) {
        let ending = self.ending.as_ref();
        if ending.is_some_and(|ending| ending.inbox == Inbox::Abandoned) {
            self.drop_inbox(step);
        }
    }

    /// Drops what no consumer took, and what one took and has not returned.
    pub(super) fn drop_inbox(&mut self, step: &mut Step<'_>) {
        let running = self.inbound.outstanding_batches();
        if self.consumer == Consumer::Process {
            self.end_calls(step, running);
        }
        match self.inbound.place() {
            Place::Asked(_) => {
                let connection = self.id;
                let request = CallRequest::Withdraw { connection };
                step.out.push_back(Output::Call(request));
            }
            Place::Unasked | Place::Granted => {}
        }
        self.tally.dropped += self.inbound.clear(self.consumer);
    }

    fn settle_delivery(&mut self, step: &mut Step<'_>) {
        let policy = self.config.settings().batch;
        while let Some(source) = self.inbound.due(step.now, &policy)
            && self.has_call(step)
        {
            let batch = self.inbound.hand_out(step.now, source, self.id);
            let batch = batch.expect("one was due");
            step.arenas.lend(&batch);
            if self.consumer == Consumer::Pull {
                self.delivered += batch.len() as u64;
            }
            let handed_over = batch.letter().filter(|_| self.consumer == Consumer::Pull);
            step.out.push_back(Output::Deliver(batch));
            if let Some(letter) = handed_over {
                self.tell_fate(step, letter, Fate::Delivered);
            }
        }
        if self.inbound.place() == Place::Granted {
            self.inbound.set_place(Place::Unasked);
            self.end_calls(step, 1);
        }
    }

    fn settle_workers(&mut self, step: &mut Step<'_>) {
        if let Some(Scaled { from, to }) = self.inbound.poll_scaled(step.now) {
            self.emit(step, EventKind::Scaled { from, to });
        }
    }
}
