//! When to dial again.

use std::time::Duration;

use crate::classify::{Class, Hint};
use crate::seed::Jitter;
use crate::settings::{BackoffSettings, JitterKind};
use crate::time::Instant;

/// The schedule of one connection's redials: what its failures in a row were, and so how long to wait.
///
/// With `d` = `initial` × `factor` for each failure in a row after the first (or the list `delays`,
/// whose last entry repeats):
///
/// - after a stable session the wait is drawn from [0, `first_max`];
/// - after a dial that reached nobody, from [`floor`, `d`] with `d` at most `max`;
/// - after a session that was not stable, from [`d` / 2, `d`] with `d` at most `flap_max`, so that an
///   endpoint which accepts and closes is dialled at most 8 times in 30 s and 30 times in ten minutes
///   with the defaults.
///
/// `max` and `flap_max` bound the range, not the draw: clamping the draw would make most waits equal to
/// the maximum and let connections move in step. All arithmetic saturates. 24 bytes, no heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The wait drawn last in this row of failures, which the decorrelated jitter starts from.
    previous: Duration,
    failures: u32,
    short_sessions: u32,
}

const _: () = assert!(size_of::<Backoff>() <= 24);

/// How far the attempt came whose end is followed by the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// There was no session: nobody accepted the transport, or the server answered the opening
    /// handshake with a refusal.
    FailedDial,
    /// The server accepted the transport and then lost it or was silent, wherever that was before the
    /// session was stable: in the handshake, in the ready script, or later.
    ShortSession,
    /// The session was ready for `stable_after` or longer, and at least one message or pong arrived.
    StableSession,
}

/// The least wait when this machine ran out of something.
pub const RESOURCE_WAIT_MIN: Duration = Duration::from_secs(1);

/// How many short sessions since the last stable one make an endpoint a flapping one.
pub const FLAPPING_SESSIONS: u32 = 3;

impl Backoff {
    /// A schedule without failures.
    pub const fn new() -> Self {
        Self {
            previous: Duration::ZERO,
            failures: 0,
            short_sessions: 0,
        }
    }

    /// Counts the end of an attempt and draws the wait before the next.
    ///
    /// The end of a stable session is no failure: it sets the count to zero. An end of
    /// [`Class::Resource`] is not counted, because it says nothing about the server, and waits at least
    /// [`RESOURCE_WAIT_MIN`].
    ///
    /// A hint of the server only ever makes the wait longer than the backoff's own.
    pub fn next_delay(
        &mut self,
        settings: &BackoffSettings,
        jitter: &mut Jitter,
        ended: Ended,
        class: Class,
        hint: Hint,
    ) -> Duration {
        self.count(ended, class);
        let (low, high) = self.range(settings, ended);
        let (low, high) = match class {
            Class::Resource => {
                let low = low.max(RESOURCE_WAIT_MIN);
                (low, high.max(low + RESOURCE_WAIT_MIN))
            }
            Class::Retry | Class::Reauth | Class::Strike | Class::GiveUp => (low, high),
        };
        let own = jitter.between(low, high);
        self.previous = own;
        match hint {
            Hint::None => own,
            Hint::NotBefore { at_least } => {
                let spread = at_least / 5 + Duration::from_secs(1);
                let later = at_least.saturating_add(jitter.between(Duration::ZERO, spread));
                own.max(later)
            }
            Hint::Within { low, high } => own.max(jitter.between(low, high)),
            Hint::AnotherAddress { at_least } => at_least.saturating_add(own),
        }
    }

    /// Failures in a row, that is since the last stable session.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Sessions that ended before they were stable, since the last stable one.
    pub const fn short_sessions(&self) -> u32 {
        self.short_sessions
    }

    /// Whether the endpoint keeps accepting connections and losing them:
    /// [`FLAPPING_SESSIONS`] short sessions since the last stable one.
    pub const fn is_flapping(&self) -> bool {
        self.short_sessions >= FLAPPING_SESSIONS
    }

    /// Whether `attempts_max` failures in a row were counted, or `elapsed_max` has passed at `now` since
    /// the row of failures began at `since`.
    pub fn is_exhausted(&self, settings: &BackoffSettings, now: Instant, since: Instant) -> bool {
        let attempts_spent = settings
            .attempts_max
            .is_some_and(|max| self.failures >= max.get());
        let time_spent = settings
            .elapsed_max
            .is_some_and(|max| self.failures > 0 && now.saturating_since(since) >= max);
        attempts_spent || time_spent
    }

    fn count(&mut self, ended: Ended, class: Class) {
        if ended == Ended::StableSession {
            *self = Self::new();
            return;
        }
        match class {
            Class::Resource => return,
            Class::Retry | Class::Reauth | Class::Strike | Class::GiveUp => {}
        }
        self.failures = self.failures.saturating_add(1);
        if ended == Ended::ShortSession {
            self.short_sessions = self.short_sessions.saturating_add(1);
        }
    }

    /// The least and the longest wait.
    fn range(&self, settings: &BackoffSettings, ended: Ended) -> (Duration, Duration) {
        match ended {
            Ended::StableSession => (Duration::ZERO, settings.first_max),
            Ended::ShortSession => {
                let d = self.grown(settings, settings.flap_max);
                match settings.jitter {
                    JitterKind::Fixed => (d, d),
                    JitterKind::Full | JitterKind::Equal | JitterKind::Decorrelated => {
                        (settings.floor.max(d / 2), d)
                    }
                }
            }
            Ended::FailedDial => {
                let d = self.grown(settings, settings.max);
                match settings.jitter {
                    JitterKind::Full => (settings.floor, d),
                    JitterKind::Equal => (settings.floor.max(d / 2), d),
                    JitterKind::Decorrelated => self.decorrelated(settings),
                    JitterKind::Fixed => (d, d),
                }
            }
        }
    }

    /// `d`, at most `cap` unless it comes from the list.
    fn grown(&self, settings: &BackoffSettings, cap: Duration) -> Duration {
        let earlier = self.failures.saturating_sub(1);
        if let Some(last) = settings.delays.len().checked_sub(1) {
            let index = usize::try_from(earlier).map_or(last, |index| index.min(last));
            return settings.delays[index];
        }
        if earlier == 0 {
            return settings.initial.min(cap);
        }
        let seconds = settings.initial.as_secs_f64() * power(settings.factor, earlier);
        // What no duration can hold is beyond every cap.
        Duration::try_from_secs_f64(seconds).map_or(cap, |d| d.min(cap))
    }

    /// From the floor to three times the last wait, which needs no count of failures to grow.
    fn decorrelated(&self, settings: &BackoffSettings) -> (Duration, Duration) {
        let high = self.previous.max(settings.initial).saturating_mul(3);
        (settings.floor, high.min(settings.max))
    }
}

/// `base` to the power of `exponent`, the same on every machine: only multiplications, which IEEE 754
/// defines to the bit, unlike `powi`.
fn power(base: f64, mut exponent: u32) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests;
