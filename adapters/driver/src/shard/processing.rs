//! Batches for processors: on their way there, with them, and kept from them.

use std::collections::VecDeque;
use std::sync::Arc;

use ropewalk_core::settings::{Order, ProcessorSettings};
use ropewalk_core::{Batch, ConnectionId, Consumer, Input, Instant, Judged};

use super::Shard;
use crate::application::Process;
use crate::jobs::{Done, Job};
use crate::link::Processing;
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
        let known = self.known;
        let Some(processor) = self.processor(connection) else {
            if let Some(member) = self.member(connection)
                && member.link.consumer == Consumer::Pull
            {
                member.link.deliver(batch);
            }
            return;
        };
        let job = Job {
            process: processor.process.clone(),
            batch,
            known,
        };
        match (processor.processing, processor.pace) {
            (Processing::Paused, _) => {
                if let Some(member) = self.member(connection) {
                    let pending = member.pending.get_or_insert_default();
                    pending.held.push_back(job.batch);
                }
            }
            (Processing::Runs, Pace::AtOnce) => self.due.push_back(job),
            (Processing::Runs, Pace::Waiting) => {
                let jobs = Arc::clone(&self.jobs);
                self.start(connection, Call::fresh(jobs, job));
            }
        }
    }

    /// Has the calls made that have become due. To be called once for many.
    pub(super) fn call_processors(&mut self) {
        if !self.due.is_empty() {
            self.jobs.push(&mut self.due);
        }
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
