//! How the demo shows that it is alive.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ropewalk_core::State;
use ropewalk_driver::Snapshot;

/// A line on standard error, if that is a terminal, and otherwise nothing.
pub(super) struct Progress {
    bar: ProgressBar,
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
        let style = ProgressStyle::with_template("{bar:20} {msg}").expect("the template is sound");
        bar.set_style(style);
        Self { bar }
    }

    /// Whether anybody can see it.
    pub(super) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows how things stand after this long.
    pub(super) fn show(&self, elapsed: Duration, phase: &str, snapshots: &[Snapshot]) {
        let open = snapshots
            .iter()
            .filter(|snapshot| snapshot.state == State::Open)
            .count();
        let sum = |of: fn(&Snapshot) -> u64| snapshots.iter().map(of).sum::<u64>();
        let reconnects = sum(|snapshot| snapshot.counters.sessions.saturating_sub(1));
        let message = format!(
            "{phase}: {open} of {} open, {} received, {} delivered, {} filtered, {} dead, {reconnects} reconnects",
            snapshots.len(),
            sum(|snapshot| snapshot.counters.received),
            sum(|snapshot| snapshot.counters.delivered),
            sum(|snapshot| snapshot.counters.filtered),
            sum(|snapshot| snapshot.counters.rejected),
        );
        self.bar.set_message(message);
        self.bar.set_position(millis(elapsed));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
