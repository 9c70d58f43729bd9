//! What the processors of all connections are doing, as they see it themselves.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ropewalk_core::EventKind;
use ropewalk_driver::Events;
use serde::Serialize;

/// The least and the most calls of one processor at once, where its messages' order allows several.
pub(super) const WORKERS_MIN: u16 = 1;
pub(super) const WORKERS_MAX: u16 = 4;

/// Counts that the processors keep, of all connections together.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    batches: AtomicU64,
    messages: AtomicU64,
    retried: AtomicU64,
    running: AtomicU32,
    running_most: AtomicU32,
    crowded: AtomicU64,
    scaled: AtomicU64,
    out_of_bounds: AtomicU64,
    workers_most: AtomicU32,
    events_missed: AtomicU64,
}

/// The gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Processing {
    pub(super) batches: Batches,
    pub(super) workers: Workers,
    /// How often the number of workers of a connection changed, as its events tell it.
    pub(super) scaled: u64,
    /// Messages that their processor wanted to see again.
    pub(super) retried: u64,
}

/// Batches that processors were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Batches {
    pub(super) count: u64,
    /// Messages in them; one that is retried or redriven is in several.
    pub(super) messages: u64,
    /// Messages a batch, on average.
    pub(super) mean: f64,
}

/// Calls of processors at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Workers {
    /// The bounds of each connection whose messages are in order by key.
    pub(super) min: u16,
    pub(super) max: u16,
    /// The most that one connection had.
    pub(super) most: u32,
    /// Calls that run now, over all connections.
    pub(super) running: u32,
    /// The most calls that ran at once, over all connections.
    pub(super) running_most: u32,
    /// Changes to a number out of bounds, and calls begun beyond them.
    pub(super) out_of_bounds: u64,
    /// Events that came too fast to be looked at.
    pub(super) events_missed: u64,
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    running: AtomicU32,
    /// The most that there may be at once.
    max: u32,
}

/// A call that runs until this is dropped.
pub(super) struct Call<'a> {
    gauges: &'a Gauges,
    calls: &'a Calls,
}

impl Calls {
    pub(super) fn at_most(max: u16) -> Self {
        Self {
            running: AtomicU32::new(0),
            max: max.into(),
        }
    }
}

impl Gauges {
    /// A processor is called with so many messages.
    pub(super) fn begin<'a>(&'a self, calls: &'a Calls, messages: usize) -> Call<'a> {
        self.batches.fetch_add(1, Relaxed);
        self.messages.fetch_add(messages as u64, Relaxed);
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.running_most.fetch_max(running, Relaxed);
        let of_connection = calls.running.fetch_add(1, Relaxed) + 1;
        self.workers_most.fetch_max(of_connection, Relaxed);
        if of_connection > calls.max {
            self.crowded.fetch_add(1, Relaxed);
        }
        Call {
            gauges: self,
            calls,
        }
    }

    /// A message is to be tried again.
    pub(super) fn note_retry(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// Notes what the fleet tells of its processors, until it ends.
    pub(super) async fn note_events(&self, mut events: Events) {
        while let Some(told) = events.next().await {
            self.events_missed.fetch_add(told.missed, Relaxed);
            if let EventKind::Scaled { from, to } = told.event.kind {
                self.scaled.fetch_add(1, Relaxed);
                let bounds = WORKERS_MIN..=WORKERS_MAX;
                if from == to || !bounds.contains(&from) || !bounds.contains(&to) {
                    self.out_of_bounds.fetch_add(1, Relaxed);
                }
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    pub(super) fn read(&self) -> Processing {
        let (count, messages) = (self.batches.load(Relaxed), self.messages.load(Relaxed));
        Processing {
            batches: Batches {
                count,
                messages,
                mean: messages as f64 / count.max(1) as f64,
            },
            workers: Workers {
                min: WORKERS_MIN,
                max: WORKERS_MAX,
                most: self.workers_most.load(Relaxed),
                running: self.running.load(Relaxed),
                running_most: self.running_most.load(Relaxed),
                out_of_bounds: self.out_of_bounds.load(Relaxed) + self.crowded.load(Relaxed),
                events_missed: self.events_missed.load(Relaxed),
            },
            scaled: self.scaled.load(Relaxed),
            retried: self.retried.load(Relaxed),
        }
    }
}

impl fmt::Display for Processing {
    /// Two lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            batches,
            workers,
            scaled,
            retried,
        } = self;
        writeln!(
            f,
            "{} batches of {:.1} messages on average, {retried} messages retried",
            batches.count, batches.mean
        )?;
        write!(
            f,
            "at most {} calls at once, {} of one connection; scaled {scaled} times",
            workers.running_most, workers.most
        )?;
        if workers.out_of_bounds > 0 {
            write!(f, ", out of bounds {} times", workers.out_of_bounds)?;
        }
        Ok(())
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.running.fetch_sub(1, Relaxed);
        self.gauges.running.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_beyond_what_a_connection_may_have_are_noticed() {
        let (gauges, calls, others) = (Gauges::default(), Calls::at_most(1), Calls::at_most(2));
        drop(gauges.begin(&calls, 3));
        let first = gauges.begin(&calls, 1);
        let _elsewhere = gauges.begin(&others, 1);
        assert_eq!(gauges.read().workers.out_of_bounds, 0);
        let second = gauges.begin(&calls, 1);
        let seen = gauges.read();
        assert_eq!(seen.workers.out_of_bounds, 1);
        assert_eq!((seen.workers.most, seen.workers.running_most), (2, 3));
        assert_eq!((seen.batches.count, seen.batches.messages), (4, 6));
        drop((first, second));
        assert_eq!(gauges.read().workers.running, 1);
    }
}
