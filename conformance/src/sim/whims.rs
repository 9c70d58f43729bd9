//! Processors that say and do what comes into their minds.

use std::time::Duration;

use ropewalk_core::settings::{Order, ProcessorSettings, WorkerBounds};
use ropewalk_core::{Batch, Instant, Jitter, Verdict};

use super::storm::time;
use super::{Call, Processor, pick};

/// A processor whose every call is drawn by chance.
#[derive(Debug)]
pub(super) struct Whims {
    rng: Jitter,
    pace: Pace,
    temper: Temper,
}

/// How long calls take.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// All the same time, which is when workers become more.
    Even(Duration),
    /// Any time.
    Uneven,
    /// A call now and then never ends.
    Hanging,
}

/// How calls end.
#[derive(Clone, Copy, Debug)]
enum Temper {
    /// All is well.
    Kind,
    /// Some messages fail, and some are to be tried again.
    Moody,
    /// Whole batches fail, as after a panic.
    Rude,
}

/// Whether calls may never end.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Ends,
    MayHang,
}

impl Whims {
    pub(super) fn draw(rng: &mut Jitter, patience: Patience) -> Self {
        let paces = [
            Pace::Even(time("1ms")),
            Pace::Even(time("4ms")),
            Pace::Uneven,
            Pace::Uneven,
            Pace::Hanging,
        ];
        let count = match patience {
            Patience::Ends => 4,
            Patience::MayHang => 5,
        };
        Self {
            rng: Jitter::from_state(rng.next_u64()),
            pace: pick(rng, &paces[..count]),
            temper: pick(
                rng,
                &[Temper::Kind, Temper::Moody, Temper::Moody, Temper::Rude],
            ),
        }
    }

    fn takes(&mut self) -> Option<Duration> {
        let rng = &mut self.rng;
        match self.pace {
            Pace::Even(time) => Some(time),
            Pace::Hanging if rng.next_u64().is_multiple_of(4) => None,
            Pace::Uneven | Pace::Hanging => {
                let most = pick(rng, &[1, 2_000, 30_000, 400_000]);
                Some(Duration::from_micros(rng.next_u64() % most))
            }
        }
    }

    fn verdict(&mut self) -> Verdict {
        let rng = &mut self.rng;
        match rng.next_u64() % 8 {
            0 => Verdict::reject(format!("by chance {}", rng.next_u64() % 10)),
            1 => Verdict::retry(),
            2 => Verdict::retry_after(pick(rng, &["0ms", "3ms", "50ms"].map(time))),
            _ => Verdict::Ack,
        }
    }
}

impl Processor for Whims {
    fn call(&mut self, _: Instant, batch: &Batch) -> Call {
        let takes = self.takes();
        let verdicts = match self.temper {
            Temper::Kind => Vec::new(),
            Temper::Rude if self.rng.next_u64().is_multiple_of(3) => {
                vec![Verdict::reject("it panicked"); batch.len()]
            }
            Temper::Moody | Temper::Rude => batch.iter().map(|_| self.verdict()).collect(),
        };
        Call { takes, verdicts }
    }
}

/// How a processor is called, drawn by chance.
pub(super) fn draw_processing(rng: &mut Jitter) -> ProcessorSettings {
    let min = pick(rng, &[1, 1, 2, 3]);
    let more = pick(rng, &[0, 1, 3, 12]);
    ProcessorSettings {
        workers: WorkerBounds {
            min,
            max: min + more,
        },
        order: pick(rng, &[Order::Strict, Order::PerKey, Order::None]),
    }
}
