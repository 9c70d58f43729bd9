//! How many calls of a processor run at once.
//!
//! The model is Vector's adaptive request concurrency: additive increase, multiplicative decrease, and latency as
//! the only witness.

use std::time::Duration;

use crate::settings::WorkerBounds;
use crate::time::Instant;

/// The weight of the newest latency in the mean.
const WEIGHT: f64 = 0.4;
/// Latency has risen when it is this many deviations above its mean.
const DEVIATIONS: f64 = 2.5;
/// What is left of the limit when latency has risen.
const DECREASE: f64 = 0.9;
/// Latencies that are all alike deviate by this part of their mean: a clock's grain is no change.
const DEVIATION_MIN: f64 = 0.02;
/// A processor that had nothing to do for this long is a stranger again.
const IDLE: Duration = Duration::from_secs(5);
/// A change of the number of workers is told once in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Adapts the number of calls at once to what latency says. Nothing here needs a timer: idleness is found out when
/// it is over, or when somebody looks.
#[derive(Debug)]
pub(crate) struct Workers {
    bounds: WorkerBounds,
    /// Whole steps up, tenths down.
    limit: f64,
    past: Option<Past>,
    /// Of the calls that ended since the last adjustment: their latencies together, in seconds.
    latency_sum: f64,
    calls: u32,
    /// Whether something waited for want of a call since the last adjustment.
    was_reached: bool,
    adjust_at: Instant,
    /// When the last of the running calls ended; `None` while one runs.
    idle_since: Option<Instant>,
    told: u16,
    told_at: Option<Instant>,
}

/// The moving mean of latency in seconds, and its variance.
#[derive(Clone, Copy, Debug)]
struct Past {
    mean: f64,
    variance: f64,
}

/// A change that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scaled {
    pub(crate) from: u16,
    pub(crate) to: u16,
}

impl Workers {
    pub(crate) fn new(bounds: WorkerBounds) -> Self {
        Self {
            bounds,
            limit: f64::from(bounds.min),
            past: None,
            latency_sum: 0.0,
            calls: 0,
            was_reached: false,
            adjust_at: Instant::ORIGIN,
            idle_since: Some(Instant::ORIGIN),
            told: bounds.min,
            told_at: None,
        }
    }

    /// How many calls may run at once.
    pub(crate) fn limit(&self, now: Instant) -> u16 {
        if self.is_idle(now) {
            self.bounds.min
        } else {
            self.limit_while_busy()
        }
    }

    /// The same, while a call runs.
    pub(crate) fn limit_while_busy(&self) -> u16 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the limit lies between two numbers of 16 bits"
        )]
        let whole = self.limit as u16;
        whole.clamp(self.bounds.min, self.bounds.max)
    }

    /// Something waits that could be handed out if the limit were higher.
    pub(crate) fn was_reached(&mut self) {
        self.was_reached = true;
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.is_idle(now) {
            self.limit = f64::from(self.bounds.min);
            self.past = None;
            self.latency_sum = 0.0;
            self.calls = 0;
            self.was_reached = false;
        }
        self.idle_since = None;
    }

    /// A call that took `latency` has ended, and `running` go on.
    pub(crate) fn end(&mut self, now: Instant, latency: Duration, running: u16) {
        if running == 0 {
            self.idle_since = Some(now);
        }
        self.latency_sum += latency.as_secs_f64();
        self.calls = self.calls.saturating_add(1);
        if self.adjust_at.is_due(now) {
            self.adjust(now);
        }
    }

    /// The change since the last that was told, if it is to be told now.
    pub(crate) fn poll_scaled(&mut self, now: Instant) -> Option<Scaled> {
        let (from, to) = (self.told, self.limit(now));
        let is_soon = |at| now.saturating_since(at) < TELL_INTERVAL;
        if from == to || self.told_at.is_some_and(is_soon) {
            return None;
        }
        self.told = to;
        self.told_at = Some(now);
        Some(Scaled { from, to })
    }

    fn adjust(&mut self, now: Instant) {
        let latency = self.latency_sum / f64::from(self.calls.max(1));
        let past = match self.past {
            None => Past {
                mean: latency,
                variance: 0.0,
            },
            Some(past) => {
                if latency <= past.mean && self.was_reached {
                    self.limit = (self.limit + 1.0).min(f64::from(self.bounds.max));
                } else if latency > past.mean + DEVIATIONS * past.deviation() {
                    self.limit = (self.limit * DECREASE).max(f64::from(self.bounds.min));
                }
                past.followed_by(latency)
            }
        };
        self.past = Some(past);
        self.latency_sum = 0.0;
        self.calls = 0;
        self.was_reached = false;
        let mean = Duration::try_from_secs_f64(past.mean).unwrap_or(IDLE);
        self.adjust_at = now + mean.min(IDLE);
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.idle_since
            .is_some_and(|since| now.saturating_since(since) >= IDLE)
    }
}

impl Past {
    fn deviation(self) -> f64 {
        self.variance.sqrt().max(self.mean * DEVIATION_MIN)
    }

    fn followed_by(self, latency: f64) -> Self {
        let difference = latency - self.mean;
        let increment = WEIGHT * difference;
        Self {
            mean: self.mean + increment,
            variance: (1.0 - WEIGHT) * (self.variance + difference * increment),
        }
    }
}

#[cfg(test)]
mod tests;
