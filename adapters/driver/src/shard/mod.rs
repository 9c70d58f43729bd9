//! The one loop: a task that owns a connection set and its sockets.
//!
//! The parts: `commands` (what the rest of the world asks), `outputs` (what the core asks), `streams`
//! (what sockets and dials bring), `processing` (what processors are called for).

mod commands;
mod member;
mod outcomes;
mod outputs;
mod processing;
mod redriving;
mod streams;

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ropewalk_core::{Batch, ConnectionId, ConnectionSet, Input, Instant, Seed, Shutdown, SocketId};

use crate::alarm::Alarm;
use crate::budget::{Budget, Left};
use crate::gate::Visit;
use crate::jobs::{Done, Job, Jobs};
use crate::link::Home;
use crate::mailbox::{Closed, Command, Mailbox};
use crate::poller::Poller;
use crate::ready::News;
use crate::runtime::Runtime;
use crate::scope::Common;
use crate::slots::Slots;
use crate::tray::move_behind;
use member::Member;
pub(crate) use processing::Caller;
use processing::Processor;
use streams::{Deferred, Then};

/// So many quick commands are obeyed before the clock is read again.
const QUICK_MAX: u32 = 16;

/// A connection set, its sockets, and the timer that wakes them. No lock is held around any of it.
pub(crate) struct Shard<R: Runtime> {
    number: u32,
    common: Arc<Common>,
    mailbox: Arc<Mailbox>,
    set: ConnectionSet,
    members: Vec<Option<Member>>,
    /// Of the connections that have one: apart from the rest of what there is of them, since most of what they bring needs no more.
    processors: Vec<Option<Processor>>,
    slots: Slots<R::Socket>,
    poller: Poller,
    /// Commands that were taken from the mailbox and wait for their turn.
    mail: VecDeque<Command>,
    /// Sockets with bytes to write.
    writes: Vec<SocketId>,
    caller: Caller,
    /// What the shard is to call processors for itself, and what has become of that.
    calls: VecDeque<Batch>,
    calls_made: VecDeque<Done>,
    /// What others are to call processors for, and what has become of that.
    jobs: Arc<Jobs>,
    jobs_due: VecDeque<Job>,
    jobs_done: VecDeque<Command>,
    /// How many of the changes of `jobs` this shard knows.
    known: u64,
    /// Sockets that were read, in their order.
    reads: VecDeque<Deferred>,
    budget: Budget,
    alarm: Alarm<R::Timer>,
    next_timeout: Option<Instant>,
    /// How many processor calls the set may keep.
    calls_kept: u32,
    /// When this shard has promised the admission to come back.
    return_at: Option<Instant>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Shard<R> {
    pub(crate) fn new(
        number: u32,
        caller: Caller,
        seed: Seed,
        common: Arc<Common>,
        home: &Home,
    ) -> Self {
        let mailbox = Arc::clone(&home.mailbox);
        Self {
            number,
            caller,
            calls: VecDeque::new(),
            calls_made: VecDeque::new(),
            jobs: Arc::clone(&home.jobs),
            jobs_due: VecDeque::new(),
            jobs_done: VecDeque::new(),
            known: 0,
            common,
            set: ConnectionSet::new(seed).sharing_calls(),
            members: Vec::new(),
            processors: Vec::new(),
            slots: Slots::new(Arc::clone(&mailbox)),
            poller: Poller::new(Arc::clone(&mailbox)),
            mailbox,
            mail: VecDeque::new(),
            writes: Vec::new(),
            reads: VecDeque::new(),
            budget: Budget::renewed(Instant::ORIGIN),
            alarm: Alarm::new(R::timer(), Arc::clone(&home.mailbox)),
            next_timeout: None,
            calls_kept: 0,
            return_at: None,
            runtime: PhantomData,
        }
    }

    /// Looks at the clock and does what is due, so that nothing is handled later than a deadline before
    /// it. The clock decides; the timer only wakes.
    fn advance(&mut self) -> Instant {
        let now = self.common.clock.now();
        self.do_due(now);
        now
    }

    fn do_due(&mut self, now: Instant) {
        if self.next_timeout.is_some_and(|at| at.is_due(now)) {
            self.set.handle(now, Input::Timeout);
            self.perform(now);
        }
        if self.return_at.take_if(|at| at.is_due(now)).is_some() {
            let visit = self.common.gate.come_back(now);
            self.note_return(&visit);
        }
    }

    /// Works until there is nothing to do, there are processors for the shard to call, or the budget is used up; returns the time. The
    /// clock is read once for each thing that is done, or for a few that are done quickly.
    ///
    /// Calls that were left from before have had their turn: now the sockets have theirs, as long as the budget lets them.
    fn work(&mut self, mut now: Instant) -> Instant {
        let had_calls = !self.calls.is_empty();
        self.do_due(now);
        let mut quick = 0u32;
        while let Some(command) = self.mail.pop_front() {
            quick = if command.is_quick() { quick + 1 } else { 0 };
            self.obey(now, command);
            self.perform(now);
            if !quick.is_multiple_of(QUICK_MAX) && !self.mail.is_empty() {
                continue;
            }
            now = self.advance();
            if self.budget.left_of_half(now) == Left::Nothing {
                break;
            }
        }
        self.call_runners();
        now = self.write_all(now);
        while let Some(index) = self.slots.next() {
            if self.turn(now, index) == Then::Turn && self.slots.has_ready() {
                continue;
            }
            now = self.advance();
            self.take_reads(now);
            self.call_runners();
            now = self.write_all(now);
            let has_new_calls = !had_calls && !self.calls.is_empty();
            if has_new_calls || self.budget.left(now) == Left::Nothing {
                break;
            }
        }
        // What was due or was written may have brought some more.
        self.call_runners();
        now
    }

    /// Takes what was left for the shard. What calls of processors have come to is taken first and obeyed last, so that what they left in
    /// the mailbox, such as messages to send, comes before it.
    fn take_mail(&mut self) -> Closed {
        self.jobs.take_done(&mut self.jobs_done);
        let closed = self.mailbox.take(&mut self.mail);
        move_behind(&mut self.mail, &mut self.jobs_done);
        closed
    }

    /// Does all there is to do but for calls of processors: ready when there are some for the shard to make.
    fn serve_all(&mut self, cx: &Context<'_>, mut now: Instant) -> Poll<()> {
        loop {
            if self.has_work(now) {
                now = self.work(now);
            } else if self.calls.is_empty() {
                let slots = &mut self.slots;
                let note = |index, change| slots.note(index, change);
                self.poller.look_again(note);
                if self.slots.has_ready() {
                    continue;
                }
                if self.poll_alarm().is_pending() {
                    return Poll::Pending;
                }
                now = self.common.clock.now();
            }
            if !self.calls.is_empty() {
                return Poll::Ready(());
            }
            if self.budget.left(now) == Left::Nothing {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn has_work(&self, now: Instant) -> bool {
        let is_due = |at: &Instant| at.is_due(now);
        !self.mail.is_empty()
            || self.slots.has_ready()
            || !self.writes.is_empty()
            || self.next_timeout.as_ref().is_some_and(is_due)
            || self.return_at.as_ref().is_some_and(is_due)
    }

    /// Waits for the next deadline of the set or the admission.
    fn poll_alarm(&mut self) -> Poll<()> {
        let next = [self.next_timeout, self.return_at]
            .into_iter()
            .flatten()
            .min();
        match next {
            Some(at) => self.alarm.poll(at, &self.common.clock),
            None => Poll::Pending,
        }
    }

    fn note_return(&mut self, visit: &Visit) {
        if let Some(at) = visit.return_at {
            self.return_at = Some(self.return_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn member(&mut self, id: ConnectionId) -> Option<&mut Member> {
        self.members
            .get_mut(id.index())?
            .as_mut()
            .filter(|member| member.id == id)
    }
}

impl<R: Runtime> Future for Shard<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shard = &mut *self;
        let mut now = shard.common.clock.now();
        shard.budget = Budget::renewed(now);
        // Before anything else is looked at: what came before is seen, and what comes from now on wakes this task again.
        match shard.slots.look(cx.waker()) {
            News::Some => match shard.take_mail() {
                Closed::Yes => return Poll::Ready(()),
                Closed::No => {}
            },
            News::None => {}
        }
        shard.poll_sockets();
        loop {
            ready!(R::unlimited(cx, |cx| shard.serve_all(cx, now)));
            shard.make_calls(cx);
            // Without a look for news: what calls have left is here before these are concluded, and whoever leaves something else wakes
            // this task again.
            if shard.take_mail() == Closed::Yes {
                return Poll::Ready(());
            }
            now = shard.conclude_calls();
            if shard.budget.left(now) == Left::Nothing {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<R: Runtime> Drop for Shard<R> {
    fn drop(&mut self) {
        let abandoned = self.mailbox.drain();
        self.jobs.close();
        // Nothing begins any more: there is perhaps no runtime that could run it.
        self.processors.clear();
        self.mailbox.ready.forget();
        // After a panic the set cannot be trusted to do its last accounts.
        if !std::thread::panicking() {
            let now = self.advance();
            let ids: Vec<_> = self.set.ids().collect();
            for id in ids {
                self.set.remove(now, id, Shutdown::Abort);
                self.perform(now);
            }
        }
        for member in self.members.drain(..).flatten() {
            member.link.end(None);
        }
        for command in self.mail.drain(..).chain(abandoned) {
            commands::abandon(command);
        }
        let now = self.common.clock.now();
        self.common.gate.shard_ended(self.number, now);
    }
}
