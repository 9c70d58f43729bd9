//! The run itself, on whichever runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk_core::{AdmissionLimits, Batch};
use ropewalk_driver::{Connect, ConnectionHandle, Events, Fleet, Letters, NamedReport, Runtime};
use ropewalk_letters::SqliteStore;

use super::counting::{Quota, Remaining, Rest, Tally};
use super::done::Done;
use super::processor::{self, Groups, Output, Processor};
use super::summary::{Row, Summary};
use crate::Failure;
use crate::config::ProcessorPlan;
use crate::control::{self, Answer, Listener, Request, Standing};
use crate::deadline::{sleep, within};
use crate::output::{Closed, Ended, Lines};
use crate::process::Usage;
use crate::records::{Clock, EventForm, EventRecords, MessageRecords};
use crate::runtime::Job;
use crate::stop::{Stop, Why};

/// How long the end may take: closing, and then writing what was received.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// When the end has begun, processors have this long for what was received. The rest becomes letters, which have to be
/// kept before the end, too.
const PROCESSING_MAX: Duration = Duration::from_secs(4);

/// A scratch buffer larger than this is not kept, in bytes.
const SCRATCH_MAX: usize = 64 << 10;

/// Everything that a run needs.
pub(super) struct Tap {
    pub(super) connections: Vec<(Connect, Option<ProcessorPlan>)>,
    pub(super) admission: AdmissionLimits,
    pub(super) letters: Option<LetterBox>,
    pub(super) messages: Lines,
    pub(super) events: Option<EventSink>,
    pub(super) quota: Arc<Quota>,
    /// The processes of its processors.
    pub(super) groups: Groups,
    /// How long to run.
    pub(super) time: Option<Duration>,
    pub(super) stop: Stop,
}

/// Where dead letters are kept.
pub(super) struct LetterBox {
    pub(super) store: SqliteStore,
    /// How others reach this run; `None` if that was refused.
    pub(super) listener: Option<Listener>,
}

/// Where events go.
#[derive(Clone)]
pub(super) struct EventSink {
    pub(super) lines: Lines,
    pub(super) form: EventForm,
}

/// How a run ended.
pub(super) struct Outcome {
    pub(super) why: Why,
    /// `None` if the output did not take everything in time.
    pub(super) output: Option<Ended>,
    pub(super) summary: Summary,
    /// How many messages each connection received.
    pub(super) received: BTreeMap<Arc<str>, u64>,
}

impl Job for Tap {
    type Output = Result<Outcome, Failure>;

    async fn run<R: Runtime>(self) -> Self::Output {
        let begun = Instant::now();
        let mut builder = Fleet::<R>::builder().admission(self.admission);
        let mut listener = None;
        if let Some(letters) = self.letters {
            builder = builder.letter_store(letters.store);
            listener = letters.listener;
        }
        let mut fleet = builder.build().map_err(Failure::runtime)?;
        let clock = Clock::new(fleet.wall_time(ropewalk_core::Instant::ORIGIN));
        let events_written = self.events.as_ref().map(|sink| {
            let records = EventRecords::new(sink.form, clock.clone());
            let done = Done::default();
            R::spawn(write_events(
                fleet.events(),
                records,
                sink.lines.clone(),
                done.clone(),
            ));
            done
        });
        let messages_written = Done::default();
        let remaining = Arc::new(Remaining::new(self.connections.len()));
        let mut handles = Vec::with_capacity(self.connections.len());
        let mut tallies = Vec::with_capacity(self.connections.len());
        let mut processors = Vec::new();
        let processing_over = Done::default();
        for (connect, plan) in self.connections {
            let tally = Arc::new(Tally::default());
            let output = Output {
                lines: self.messages.clone(),
                quota: Arc::clone(&self.quota),
                tally: Arc::clone(&tally),
                stop: self.stop.clone(),
            };
            let (handle, consumer) = match plan {
                Some(plan) => {
                    let processor = Processor::new(
                        plan,
                        clock.clone(),
                        output,
                        self.events.clone(),
                        self.groups.clone(),
                        processing_over.clone(),
                    );
                    let processor = Arc::new(processor);
                    processors.push(Arc::clone(&processor));
                    let connect = connect.process(move |batch| {
                        let processor = Arc::clone(&processor);
                        async move { processor.call::<R>(batch).await }
                    });
                    (Arc::new(fleet.open(connect)), None)
                }
                None => {
                    let handle = Arc::new(fleet.open(connect));
                    let writer = Writer {
                        records: MessageRecords::new(handle.name(), clock.clone()),
                        output,
                        scratch: Vec::new(),
                    };
                    (handle, Some(writer))
                }
            };
            handles.push(Arc::clone(&handle));
            tallies.push((Arc::clone(handle.name()), tally));
            let (stop, remaining) = (self.stop.clone(), Arc::clone(&remaining));
            let all_done = messages_written.clone();
            R::spawn(async move {
                match consumer {
                    Some(writer) => writer.write_all(handle).await,
                    None => drop(handle.ended().await),
                }
                if remaining.is_last() {
                    stop.ask(Why::NothingLeft);
                    all_done.tell();
                }
            });
        }
        if let Some(listener) = &listener {
            let served = listener.serve(control(fleet.letters(), handles));
            served.map_err(Failure::runtime)?;
        }
        let why = match self.time {
            Some(time) => within::<R, _>(time, self.stop.wait())
                .await
                .unwrap_or(Why::TimeUp),
            None => self.stop.wait().await,
        };
        R::spawn(async move {
            sleep::<R>(PROCESSING_MAX).await;
            processing_over.tell();
        });
        let report = fleet.shutdown(SHUTDOWN_MAX).await;
        processor::end::<R>(&processors).await;
        let letters = fleet.letters().counts();
        // A pipe that nobody reads must not keep the process: whatever it does not take in time is lost, and
        // whoever waits for its room is left behind.
        let output = within::<R, _>(FLUSH_MAX, async {
            messages_written.wait().await;
            // Where events go the same way, the last ones tell of the end.
            if let (Some(sink), Some(written)) = (&self.events, &events_written)
                && sink.lines.is(&self.messages)
            {
                written.wait().await;
            }
            self.messages.finish().await
        });
        let output = output.await;
        drop(fleet);
        // Calls may hang where the output does.
        self.groups.kill_all();
        if let (Some(sink), Some(written)) = (&self.events, events_written) {
            within::<R, _>(FLUSH_MAX, async {
                written.wait().await;
                sink.lines.finish().await;
            })
            .await;
        }
        let received =
            |named: &NamedReport| (Arc::clone(&named.name), named.report.counters.received);
        Ok(Outcome {
            why,
            output,
            received: report.connections.iter().map(received).collect(),
            summary: Summary {
                rows: Row::all(&tallies, &report),
                letters,
                time: begun.elapsed(),
                usage: Usage::now(),
            },
        })
    }
}

/// Does what others ask of this run.
fn control(letters: Letters, handles: Vec<Arc<ConnectionHandle>>) -> control::Fleet {
    Arc::new(move |request| {
        let (names, act): (_, fn(&ConnectionHandle)) = match request {
            Request::Refresh { rate } => {
                // There is a store, or there would be no socket to ask over.
                drop(letters.refresh(rate));
                return Answer::default();
            }
            Request::Pause { names } => (names, ConnectionHandle::pause),
            Request::Resume { names } => (names, ConnectionHandle::resume),
            Request::PauseProcessing { names } => (names, ConnectionHandle::pause_processing),
            Request::ResumeProcessing { names } => (names, ConnectionHandle::resume_processing),
            Request::Status { names } => (names, |_| {}),
        };
        let is_known = |name: &String| handles.iter().any(|handle| **handle.name() == **name);
        let unknown = names.iter().filter(|name| !is_known(name));
        let unknown: Vec<_> = unknown.cloned().collect();
        let is_meant = |handle: &&Arc<ConnectionHandle>| {
            names.is_empty() || names.iter().any(|name| **name == **handle.name())
        };
        let meant = handles.iter().filter(is_meant);
        let connections = meant.map(|handle| {
            act(handle);
            Standing {
                name: handle.name().to_string(),
                state: handle.state().to_string(),
            }
        });
        Answer {
            connections: connections.collect(),
            unknown,
        }
    })
}

/// Writes the messages of one connection.
struct Writer {
    records: MessageRecords,
    output: Output,
    scratch: Vec<u8>,
}

impl Writer {
    /// Writes until the connection ends, or until everything has to.
    async fn write_all(mut self, handle: Arc<ConnectionHandle>) {
        // Waiting for room in the output is what slows the socket down: nothing is asked for meanwhile.
        while let Some(batch) = handle.next_batch().await {
            match self.write(&batch).await {
                Ok(Rest::Some) => continue,
                Ok(Rest::Nothing) => self.output.stop.ask(Why::Counted),
                Err(Closed) => self.output.stop.ask(Why::OutputEnded),
            }
            // A connection closes once its consumer has taken everything.
            while handle.next_batch().await.is_some() {}
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<Rest, Closed> {
        let grant = self.output.quota.take(batch.len());
        let mut bytes = 0;
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_MAX);
        for message in batch.iter().take(grant.messages) {
            bytes += message.as_bytes().len();
            self.records
                .write(batch.generation(), message, &mut self.scratch);
        }
        self.output.lines.write(&self.scratch).await?;
        self.output.tally.add(grant.messages, bytes);
        Ok(grant.rest)
    }
}

async fn write_events(mut events: Events, mut records: EventRecords, lines: Lines, done: Done) {
    let mut scratch = Vec::new();
    while let Some(event) = events.next().await {
        scratch.clear();
        if event.missed > 0 {
            records.write_missed(event.event.at, event.missed, &mut scratch);
        }
        records.write(&event.name, &event.event, &mut scratch);
        if !scratch.is_empty() && lines.write(&scratch).await.is_err() {
            break;
        }
    }
    done.tell();
}
