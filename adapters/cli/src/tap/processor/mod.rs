//! A command that judges messages: its children, and what becomes of what they say.

mod answer;
mod group;
mod pool;
mod verdicts;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::{Batch, Judged, Verdict};
use ropewalk_driver::Runtime;
use smol::future::{or, poll_once};

use super::counting::{Quota, Rest, Tally};
use super::done::Done;
use super::run::EventSink;
use crate::config::ProcessorPlan;
use crate::deadline::within;
use crate::output::{Closed, Lines};
use crate::records::{Clock, EventRecords, MessageRecords};
use crate::stop::{Stop, Why};

pub(crate) use group::Groups;
use pool::Pool;
use verdicts::{Tries, Verdicts};
use worker::{Failure, Portion};

/// The processor of one connection. Each call has a child of its own, and leaves it to the next.
pub(super) struct Processor {
    plan: ProcessorPlan,
    pool: Pool,
    records: MessageRecords,
    events: Option<EventSink>,
    clock: Clock,
    output: Output,
    /// Told when there is no time left to process anything.
    over: Done,
}

/// Where the messages of one connection go when they are done.
pub(super) struct Output {
    pub(super) lines: Lines,
    pub(super) quota: Arc<Quota>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: Stop,
}

/// Whether a call had its time.
enum Call {
    Finished,
    CutOff,
}

/// At a message's last try, so many children in a row may fail without one verdict before the command is taken to be
/// broken: until then the fault is sought in the messages.
const FRUITLESS_MAX: u32 = 5;

/// How long children have to end by themselves when nothing more comes.
const ENDING_MAX: Duration = Duration::from_secs(2);

impl Processor {
    pub(super) fn new(
        plan: ProcessorPlan,
        clock: Clock,
        output: Output,
        events: Option<EventSink>,
        groups: Groups,
        over: Done,
    ) -> Self {
        Self {
            pool: Pool::new(groups),
            records: MessageRecords::new(&plan.connection, clock.clone()),
            plan,
            events,
            clock,
            output,
            over,
        }
    }

    /// Finds a verdict on each message, and writes those that are acknowledged.
    pub(super) async fn call<R: Runtime>(&self, batch: Batch) -> Judged {
        if self.output.quota.is_spent() {
            // The run ends because it has what it wanted; what came after that was not asked for.
            return batch.ack();
        }
        let mut verdicts = Verdicts::new(&batch, self.plan.retries_max);
        let over = async {
            self.over.wait().await;
            Call::CutOff
        };
        let work = async {
            self.judge::<R>(&batch, &mut verdicts).await;
            Call::Finished
        };
        match or(over, work).await {
            Call::Finished => {}
            Call::CutOff => verdicts.judge_rest(&Verdict::reject(
                "the run ended before the processor had a verdict",
            )),
        }
        match self.write(&batch, &verdicts).await {
            Ok(Rest::Some) => {}
            Ok(Rest::Nothing) => self.output.stop.ask(Why::Counted),
            Err(Closed) => self.output.stop.ask(Why::OutputEnded),
        }
        batch.judged(verdicts.finish())
    }

    /// Asks children until every message has a verdict.
    ///
    /// What a child that failed has not answered is tried again, by the retry policy. At the last try it is found out which
    /// messages children fail at, one by one, so that the others are not lost with them.
    async fn judge<R: Runtime>(&self, batch: &Batch, verdicts: &mut Verdicts) {
        let mut records = self.records.clone();
        let mut has_failed = false;
        let mut fruitless = 0;
        while let Some(first) = verdicts.next_missing(0) {
            let portion = match has_failed {
                false => Portion::All,
                true => Portion::One(first),
            };
            let before = verdicts.missing();
            let asked = self.ask::<R>(batch, portion, &mut records, verdicts);
            let asked = asked.await;
            if verdicts.missing() < before {
                fruitless = 0;
                self.pool.has_answered();
            }
            let Err(failure) = asked else {
                continue;
            };
            fruitless += 1;
            self.pool.has_failed();
            verdicts.forget_questions();
            self.tell(&failure, verdicts.missing()).await;
            match (verdicts.tries(), portion) {
                (Tries::More, _) => verdicts.judge_rest(&Verdict::retry()),
                (Tries::None { .. }, _) if fruitless == FRUITLESS_MAX => {
                    verdicts.judge_rest(&Verdict::reject(&failure));
                }
                (Tries::None { .. }, Portion::One(index)) => {
                    verdicts.judge(index, Verdict::reject(&failure));
                }
                (Tries::None { .. }, Portion::All) => {}
            }
            has_failed = true;
        }
    }

    async fn ask<R: Runtime>(
        &self,
        batch: &Batch,
        portion: Portion,
        records: &mut MessageRecords,
        verdicts: &mut Verdicts,
    ) -> Result<(), Failure> {
        let mut worker = loop {
            let Some(mut worker) = self.pool.take() else {
                break self.pool.start::<R>(&self.plan).await?;
            };
            match worker.is_waiting().await {
                Ok(()) => break worker,
                Err(failure) => {
                    let failure = worker.put_down::<R>(failure).await;
                    self.tell(&failure, 0).await;
                }
            }
        };
        let patience = self.plan.verdict_timeout;
        let asked = worker.ask::<R>(batch, portion, records, patience, verdicts);
        match asked.await {
            Ok(()) => {
                self.pool.put::<R>(worker);
                Ok(())
            }
            Err(failure) => Err(worker.put_down::<R>(failure).await),
        }
    }

    async fn write(&self, batch: &Batch, verdicts: &Verdicts) -> Result<Rest, Closed> {
        let accepted = (0..batch.len()).filter(|index| verdicts.is_accepted(*index));
        let accepted: Vec<_> = accepted.collect();
        if accepted.is_empty() {
            return Ok(Rest::Some);
        }
        let grant = self.output.quota.take(accepted.len());
        let mut records = self.records.clone();
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let granted = accepted.into_iter().take(grant.messages);
        for message in granted.filter_map(|index| batch.get(index)) {
            bytes += message.as_bytes().len();
            records.write(batch.generation(), message, &mut lines);
        }
        self.output.lines.write(&lines).await?;
        self.output.tally.add(grant.messages, bytes);
        Ok(grant.rest)
    }

    /// Writes an event, unless nobody reads events: messages do not wait for that.
    async fn tell(&self, failure: &Failure, unanswered: usize) {
        let Some(EventSink { lines, form }) = &self.events else {
            return;
        };
        let mut line = Vec::new();
        EventRecords::new(*form, self.clock.clone()).write_processor_failed(
            &self.plan.connection,
            &failure.to_string(),
            unanswered,
            &mut line,
        );
        poll_once(lines.write(&line)).await;
    }
}

/// Lets the children of all processors end, and kills those that do not.
pub(super) async fn end<R: Runtime>(processors: &[Arc<Processor>]) {
    let mut workers = Vec::new();
    for processor in processors {
        workers.extend(processor.pool.take_all());
    }
    for worker in &mut workers {
        worker.close_input();
    }
    within::<R, _>(ENDING_MAX, async {
        for worker in &mut workers {
            worker.ended().await;
        }
    })
    .await;
}
