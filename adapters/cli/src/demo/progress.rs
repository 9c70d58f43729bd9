//! How the demo shows that it is alive.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ropewalk_core::State;
use ropewalk_driver::{LetterCounts, Snapshot};

use super::gauges::Processing;

/// Over how long messages are counted to tell how many come in a second.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// A few lines on standard error, if that is a terminal, and otherwise nothing.
pub(super) struct Progress {
    bar: ProgressBar,
    /// How many messages had been received when, over the last second.
    seen: VecDeque<(Duration, u64)>,
}

/// How things stand.
pub(super) struct Standing<'a> {
    /// Since the demo began.
    pub(super) elapsed: Duration,
    pub(super) phase: &'static str,
    pub(super) connections: &'a [Snapshot],
    pub(super) processing: Processing,
    pub(super) letters: LetterCounts,
}

impl Progress {
    /// Progress through a run of this length.
    pub(super) fn start(run: Duration) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(millis(run)), target);
        let style = ProgressStyle::with_template("{prefix:12} {bar:40}\n{msg}")
            .expect("the template is sound");
        bar.set_style(style);
        Self {
            bar,
            seen: VecDeque::new(),
        }
    }

    /// Whether anybody can see it.
    pub(super) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows how things stand.
    pub(super) fn show(&mut self, standing: &Standing<'_>) {
        let received = sum(standing.connections, |it| it.counters.received);
        let rate = self.rate(standing.elapsed, received);
        self.bar.set_prefix(standing.phase);
        self.bar.set_message(standing.lines(rate));
        self.bar.set_position(millis(standing.elapsed));
    }

    /// Prints on standard output, above the lines.
    pub(super) fn println(&self, text: &str) {
        // Whoever closed the pipe has seen enough.
        self.bar
            .suspend(|| drop(io::stdout().write_all(text.as_bytes())));
    }

    /// Takes the lines away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Messages a second, lately.
    fn rate(&mut self, elapsed: Duration, received: u64) -> u64 {
        self.seen.push_back((elapsed, received));
        while self.seen.len() > 2 && elapsed.saturating_sub(self.seen[0].0) > RATE_WINDOW {
            self.seen.pop_front();
        }
        let (since, before) = self.seen[0];
        let micros = elapsed.saturating_sub(since).as_micros().max(1);
        let rate = u128::from(received.saturating_sub(before)) * 1_000_000 / micros;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl Standing<'_> {
    /// All of it, in lines that a terminal of 80 columns does not break.
    fn lines(&self, rate: u64) -> String {
        let all = self.connections;
        let open = all.iter().filter(|it| it.state == State::Open).count();
        let reconnects = sum(all, |it| it.counters.sessions.saturating_sub(1));
        let received = sum(all, |it| it.counters.received);
        let delivered = sum(all, |it| it.counters.delivered);
        let filtered = sum(all, |it| it.counters.filtered);
        let rejected = sum(all, |it| it.counters.rejected);
        let redriven = sum(all, |it| it.counters.redriven);
        let workers = sum(all, |it| it.counters.workers.into());
        let Processing {
            batches,
            workers: calls,
            scaled,
            retried,
        } = self.processing;
        let stored = self.letters.stored;
        let lines = [
            format!(
                "connections  {open} of {} open, {reconnects} reconnects",
                all.len()
            ),
            format!("messages     {received} received, {rate} a second"),
            format!(
                "batches      {}, of {:.1} messages on average",
                batches.count, batches.mean
            ),
            format!(
                "processors   {workers} workers, {} running, scaled {scaled} times",
                calls.running
            ),
            format!(
                "verdicts     {delivered} delivered, {filtered} filtered, {retried} retried, {rejected} dead"
            ),
            format!("letters      {stored} stored, {redriven} redriven"),
        ];
        lines.join("\n")
    }
}

fn sum(snapshots: &[Snapshot], of: fn(&Snapshot) -> u64) -> u64 {
    snapshots.iter().map(of).sum()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_second() {
        let mut progress = Progress::start(Duration::from_secs(20));
        let rates = (0..40).map(|tenth: u64| {
            // A hundred a tenth of a second, and twice that after two seconds.
            let received = tenth * 100 + tenth.saturating_sub(20) * 100;
            progress.rate(Duration::from_millis(tenth * 100), received)
        });
        let rates: Vec<u64> = rates.collect();
        assert_eq!((rates[0], rates[15], rates[39]), (0, 1_000, 2_000));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let large = Processing {
            scaled: 1_000,
            retried: 10_000,
            ..Processing::default()
        };
        let counters = ropewalk_core::Counters {
            received: 10_000_000,
            delivered: 10_000_000,
            filtered: 50_000,
            rejected: 20_000,
            workers: 4,
            ..ropewalk_core::Counters::default()
        };
        let standing = Standing {
            elapsed: Duration::from_secs(1),
            phase: "catching up",
            connections: &[Snapshot {
                name: "feed-0".into(),
                state: State::Open,
                counters,
            }],
            processing: large,
            letters: LetterCounts::default(),
        };
        let lines = standing.lines(10_000);
        assert!(lines.lines().all(|line| line.len() < 80), "{lines}");
    }
}
