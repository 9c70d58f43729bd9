//! The one place where every reason to stop meets.

use std::io;
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread;

use event_listener::Event;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Asks for the end of the run, and lets the run wait for it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    why: OnceLock<Why>,
    asked: Event,
}

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// SIGINT or SIGTERM.
    Interrupted,
    /// `--for` is over.
    TimeUp,
    /// `--count` is reached.
    Counted,
    /// Nobody reads the output any more, or it cannot be written.
    OutputEnded,
    /// No connection is left.
    NothingLeft,
}

/// The exit status after a second interrupt: 128 and the signal's number, as shells have it.
const ABORTED: i32 = 128;

impl Stop {
    /// Asks for the end. The first reason given is the one that counts.
    pub(crate) fn ask(&self, why: Why) {
        if self.shared.why.set(why).is_ok() {
            self.shared.asked.notify(usize::MAX);
        }
    }

    /// The reason, once there is one.
    pub(crate) fn asked(&self) -> Option<Why> {
        self.shared.why.get().copied()
    }

    /// Waits until somebody asks for the end.
    pub(crate) async fn wait(&self) -> Why {
        loop {
            let asked = self.shared.asked.listen();
            if let Some(why) = self.asked() {
                return why;
            }
            asked.await;
        }
    }

    /// From now on the first SIGINT or SIGTERM asks for the end, and the second ends the process at once.
    pub(crate) fn on_signals(&self) -> io::Result<()> {
        self.on_signals_then(|| {})
    }

    /// As [`on_signals`](Self::on_signals), with something to do before the second one ends the process.
    pub(crate) fn on_signals_then(
        &self,
        aborting: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let stop = self.clone();
        thread::Builder::new()
            .name("ropewalk-signals".into())
            .spawn(move || {
                let mut received = signals.forever();
                if received.next().is_some() {
                    stop.ask(Why::Interrupted);
                }
                if let Some(signal) = received.next() {
                    aborting();
                    process::exit(ABORTED + signal);
                }
            })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_everybody_who_waits_hears_it() {
        let stop = Stop::default();
        let waiter = {
            let stop = stop.clone();
            thread::spawn(move || smol::block_on(stop.wait()))
        };
        stop.ask(Why::Counted);
        stop.ask(Why::TimeUp);
        assert_eq!(waiter.join().unwrap(), Why::Counted);
        assert_eq!(smol::block_on(stop.wait()), Why::Counted);
    }
}
