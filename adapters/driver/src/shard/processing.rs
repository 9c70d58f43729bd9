//! Batches for processors: on their way there, with them, and kept from them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;

use ropewalk_core::settings::{Order, ProcessorSettings};
use ropewalk_core::{Batch, ConnectionId, Consumer, Input, Instant, Judged};

use super::Shard;
use crate::application::Process;
use crate::budget::Left;
use crate::jobs::{CALLS_A_TURN, Done, Job, make};
use crate::link::Processing;
use crate::mailbox::Command;
use crate::process::{Call, Pace};
use crate::runtime::Runtime;
use crate::scoped::Scoped;

/// A connection's processor, as its shard knows it.
pub(super) struct Processor {
    connection: ConnectionId,
    process: Process,
    /// Of its last call.
    pace: Pace,
    processing: Processing,
    /// How many batches are to be asked for after a pause.
    unasked: u16,
}

/// Who calls processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Tasks that other threads may run meanwhile: see [`jobs`](crate::jobs).
    Runners,
    /// The shard's own task, as there is no other thread.
    Shard,
}

impl Caller {
    /// # Panics
    /// Outside of the runtime, if that needs a context.
    pub(crate) fn on<R: Runtime>() -> Self {
        match R::has_one_thread() {
            true => Self::Shard,
            false => Self::Runners,
        }
    }
}

/// So many calls are made before the clock is read again.
const CALLS_A_LOOK: usize = 8;

/// Room for calls that an emptied queue keeps.
const CALLS_KEPT: usize = 256;

/// What there is of a connection's processing beside the jobs that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Calls in tasks of their own; among them are some that are over.
    calls: Vec<Scoped>,
    /// Batches that came while the processor was paused.
    held: VecDeque<Batch>,
}

impl<R: Runtime> Shard<R> {
    /// A connection begins that has a processor. As many batches are asked for as that could ever take at once; each that it returns asks
    /// for another.
    pub(super) fn begin_processing(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        process: Process,
        settings: &ProcessorSettings,
    ) {
        if self.processors.len() <= connection.index() {
            self.processors.resize_with(connection.index() + 1, || None);
        }
        self.processors[connection.index()] = Some(Processor {
            connection,
            process,
            pace: Pace::AtOnce,
            processing: Processing::Runs,
            unasked: 0,
        });
        let places = match settings.order {
            Order::Strict => 1,
            Order::PerKey | Order::None => settings.workers.max,
        };
        self.ask(now, connection, places);
    }

    /// The connection has ended, and no call of its processor is to begin any more.
    pub(super) fn end_processing(&mut self, connection: ConnectionId) {
        if self.processor(connection).is_some() {
            self.processors[connection.index()] = None;
            self.jobs.change();
            self.known += 1;
        }
    }

    /// Hands a batch to whoever it is for.
    pub(super) fn deliver(&mut self, batch: Batch) {
        let connection = batch.connection();
        let (caller, known) = (self.caller, self.known);
        let Some(processor) = self.processor(connection) else {
            if let Some(member) = self.member(connection)
                && member.link.consumer == Consumer::Pull
            {
                member.link.deliver(batch);
            }
            return;
        };
        match (processor.processing, processor.pace, caller) {
            (Processing::Paused, _, _) => {
                if let Some(member) = self.member(connection) {
                    let pending = member.pending.get_or_insert_default();
                    pending.held.push_back(batch);
                }
            }
            (Processing::Runs, Pace::AtOnce, Caller::Shard) => self.calls.push_back(batch),
            (Processing::Runs, pace, _) => {
                let job = Job {
                    process: processor.process.clone(),
                    batch,
                    known,
                };
                match pace {
                    Pace::AtOnce => self.jobs_due.push_back(job),
                    Pace::Waiting => {
                        let jobs = Arc::clone(&self.jobs);
                        self.start(connection, Call::fresh(jobs, job));
                    }
                }
            }
        }
    }

    /// Has runners make the calls that have become due for them. To be called once for many.
    pub(super) fn call_runners(&mut self) {
        if !self.jobs_due.is_empty() {
            self.jobs.push(&mut self.jobs_due);
        }
    }

    /// Makes calls that have become due for the shard itself, up to [`CALLS_A_TURN`]. The clock is read once for a few, as most are quick.
    pub(super) fn make_calls(&mut self, cx: &mut Context<'_>) {
        for number in 0..CALLS_A_TURN {
            if number > 0
                && number.is_multiple_of(CALLS_A_LOOK)
                && self.budget.left(self.common.clock.now()) == Left::Nothing
            {
                break;
            }
            let Some(batch) = self.calls.pop_front() else {
                break;
            };
            let knows_all = self.jobs.is_latest(self.known);
            match self.processor(batch.connection()) {
                Some(processor) if knows_all && processor.processing == Processing::Runs => {
                    let made = make(&processor.process, batch, cx);
                    let waits = matches!(made, Done::Waits(_));
                    self.calls_made.push_back(made);
                    if waits {
                        // It may have used up what the runtime grants a task at once.
                        self.budget.exhaust();
                        break;
                    }
                }
                Some(_) => self.calls_made.push_back(Done::Held(batch)),
                None => {}
            }
        }
        if self.calls.is_empty() && self.calls.capacity() > CALLS_KEPT {
            self.calls = VecDeque::new();
        }
    }

    /// Takes note of what has become of the calls that the shard has made, or will when it has obeyed what these left in the mailbox;
    /// returns the time.
    pub(super) fn conclude_calls(&mut self) -> Instant {
        let mut now = self.advance();
        if !self.mail.is_empty() {
            let made = self.calls_made.drain(..);
            self.mail.extend(made.map(Command::Done));
        }
        while let Some(done) = self.calls_made.pop_front() {
            let is_quick = done.is_quick();
            self.conclude(now, done);
            self.perform(now);
            if !is_quick {
                now = self.advance();
            }
        }
        now
    }

    /// Takes note of what has become of a job.
    pub(super) fn conclude(&mut self, now: Instant, done: Done) {
        match done {
            Done::Judged(judged) => self.take_back(now, judged),
            Done::Returned(judged, pace) => {
                self.note_pace(judged.batch().connection(), pace);
                self.take_back(now, judged);
            }
            Done::Waits(judging) => {
                let connection = judging.connection();
                self.note_pace(connection, Pace::Waiting);
                let jobs = Arc::clone(&self.jobs);
                self.start(connection, Call::begun(jobs, *judging));
            }
            // Unless its connection has ended.
            Done::Held(batch) => {
                if self.member(batch.connection()).is_some() {
                    self.deliver(batch);
                }
            }
        }
    }

    pub(super) fn pause_processing(&mut self, connection: Option<ConnectionId>) {
        self.known += 1;
        if let Some(processor) = connection.and_then(|it| self.processor(it)) {
            processor.processing = Processing::Paused;
        }
    }

    /// Gives a processor what was kept from it, and what comes.
    pub(super) fn resume_processing(&mut self, now: Instant, connection: ConnectionId) {
        let Some(processor) = self.processor(connection) else {
            return;
        };
        processor.processing = Processing::Runs;
        let unasked = std::mem::take(&mut processor.unasked);
        let member = self.member(connection);
        if let Some(pending) = member.and_then(|member| member.pending.as_mut()) {
            for batch in std::mem::take(&mut pending.held) {
                self.deliver(batch);
            }
        }
        self.ask(now, connection, unasked);
    }

    /// A batch comes back with its verdicts, which leaves a place for another.
    fn take_back(&mut self, now: Instant, judged: Judged) {
        let input = match self.processor(judged.batch().connection()) {
            Some(processor) if processor.processing == Processing::Paused => {
                processor.unasked = processor.unasked.saturating_add(1);
                Input::Judged(judged)
            }
            Some(_) | None => Input::JudgedAndAsk(judged),
        };
        self.set.handle(now, input);
    }

    fn ask(&mut self, now: Instant, connection: ConnectionId, places: u16) {
        for _ in 0..places {
            self.perform(now);
            self.set.handle(now, Input::Ask { connection });
        }
    }

    fn note_pace(&mut self, connection: ConnectionId, pace: Pace) {
        if let Some(processor) = self.processor(connection) {
            processor.pace = pace;
        }
    }

    /// Lets a call run in a task of its own.
    fn start(&mut self, connection: ConnectionId, call: Call) {
        let scoped = Scoped::new();
        R::spawn(scoped.leashed(call));
        // If the connection has ended, so does the task, with what the application left in it.
        if let Some(member) = self.member(connection) {
            let calls = &mut member.pending.get_or_insert_default().calls;
            calls.retain(|it| !it.is_over());
            calls.push(scoped);
        }
    }

    /// The processor of a connection, if it has one and has not ended.
    fn processor(&mut self, connection: ConnectionId) -> Option<&mut Processor> {
        let processor = self.processors.get_mut(connection.index())?.as_mut();
        processor.filter(|it| it.connection == connection)
    }
}
