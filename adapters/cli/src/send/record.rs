//! What is written about a message.

use std::io::Write;
use std::time::{Instant, SystemTime};

use ropewalk_core::Outcome;

use crate::records::Clock;

/// How outcomes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Words,
}

/// Writes outcomes with the time at which they became known.
pub(super) struct Records {
    form: Form,
    clock: Clock,
    begun: Instant,
}

impl Records {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            clock: Clock::new(SystemTime::now()),
            begun: Instant::now(),
        }
    }

    /// The record of a line whose message has this outcome now.
    pub(super) fn record(&mut self, line: u64, outcome: &Outcome) -> Vec<u8> {
        let mut record = Vec::new();
        let name = outcome.name();
        let written = match self.form {
            Form::Json => {
                let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let at = self.clock.text(ropewalk_core::Instant::from_nanos(nanos));
                writeln!(
                    record,
                    r#"{{"line":{line},"outcome":"{name}","at":"{at}"}}"#
                )
            }
            Form::Words => writeln!(record, "line {line}: {}", name.replace('_', " ")),
        };
        written.expect("a vector takes everything");
        record
    }
}
