//! Traces: what happened, without when, in which pieces or in which batches.
//!
//! A trace is a set of *strands*, one a connection and aspect, because two aspects of one connection (its states
//! and its outcomes, say) reach an application by different ways and have no order between them.

pub(crate) mod payload;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_core::{
    Batch, ConnectionReport, DeadLetter, Event, EventKind, Kind, MessageRef, Outcome,
};

pub use self::words::reason;

/// Which aspect of which connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strand {
    /// The connection's name in the scenario.
    pub connection: String,
    /// The aspect.
    pub aspect: Aspect,
}

/// An aspect of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// States, ends and what follows from them.
    States,
    /// Messages delivered, each behind the number of the socket it came over.
    Received,
    /// What became of each message sent, in the order in which they were accepted.
    Outcomes,
    /// Dead letters.
    Letters,
    /// What the server saw on the dial of this number.
    Server(u32),
    /// The counters at the end.
    Report,
}

impl fmt::Display for Strand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.connection;
        match self.aspect {
            Aspect::States => write!(f, "trace {name}"),
            Aspect::Received => write!(f, "received {name}"),
            Aspect::Outcomes => write!(f, "outcomes {name}"),
            Aspect::Letters => write!(f, "letters {name}"),
            Aspect::Server(dial) => write!(f, "server {name}#{dial}"),
            Aspect::Report => write!(f, "report {name}"),
        }
    }
}

/// What happened, strand by strand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    strands: BTreeMap<Strand, Vec<String>>,
}

impl Trace {
    /// Appends a token to a strand.
    pub fn push(&mut self, connection: &str, aspect: Aspect, token: impl Into<String>) {
        let strand = Strand {
            connection: connection.to_owned(),
            aspect,
        };
        self.strands.entry(strand).or_default().push(token.into());
    }

    /// Appends an event, if the trace has a word for it.
    pub fn push_event(&mut self, connection: &str, event: &Event, endpoints: &[String]) {
        if let Some(token) = words::event(&event.kind, endpoints) {
            self.push(connection, Aspect::States, token);
        }
    }

    /// Appends the messages of a batch.
    pub fn push_batch(&mut self, connection: &str, batch: &Batch) {
        for message in batch {
            let token = format!("#{}:{}", batch.generation(), message_token(message));
            self.push(connection, Aspect::Received, token);
        }
    }

    /// Appends a dead letter.
    pub fn push_letter(&mut self, connection: &str, letter: &DeadLetter) {
        let shown = match letter.kind {
            Kind::Text => payload::text(&String::from_utf8_lossy(&letter.payload)),
            Kind::Binary => payload::binary(&letter.payload),
        };
        let (direction, stage) = (letter.direction.name(), letter.stage.name());
        self.push(
            connection,
            Aspect::Letters,
            format!("{direction}/{stage}:{shown}"),
        );
    }

    /// Appends the counters that do not depend on time.
    pub fn push_report(&mut self, connection: &str, report: &ConnectionReport) {
        let counters = &report.counters;
        for (name, value) in [
            ("accepted", counters.accepted),
            ("written", counters.written),
            ("interrupted", counters.interrupted),
            ("acknowledged", counters.acknowledged),
            ("not_sent", counters.not_sent),
            ("expired", counters.expired),
            ("dropped_out", counters.dropped_out),
            ("received", counters.received),
            ("delivered", counters.delivered),
            ("filtered", counters.filtered),
            ("rejected", counters.rejected),
            ("dropped", counters.dropped),
        ] {
            if value > 0 {
                self.push(connection, Aspect::Report, format!("{name}={value}"));
            }
        }
        self.push(
            connection,
            Aspect::Report,
            format!("dials={} sessions={}", counters.dials, counters.sessions).replace(' ', ","),
        );
    }

    /// The tokens of a strand so far.
    pub fn strand(&self, connection: &str, aspect: Aspect) -> &[String] {
        let strand = Strand {
            connection: connection.to_owned(),
            aspect,
        };
        self.strands.get(&strand).map_or(&[], Vec::as_slice)
    }

    /// The strands of one connection.
    pub fn of_connection(&self, connection: &str) -> Self {
        let strands = self
            .strands
            .iter()
            .filter(|(strand, _)| strand.connection == connection)
            .map(|(strand, tokens)| (strand.clone(), tokens.clone()))
            .collect();
        Self { strands }
    }

    /// Where `self`, what is expected, and `actual` differ first, in words; `None` if they are equal.
    pub fn difference(&self, actual: &Self) -> Option<String> {
        for strand in self.strands.keys().chain(actual.strands.keys()) {
            let expected = self.strand(&strand.connection, strand.aspect);
            let actual = actual.strand(&strand.connection, strand.aspect);
            if expected == actual {
                continue;
            }
            let at = expected
                .iter()
                .zip(actual)
                .take_while(|(a, b)| a == b)
                .count();
            let end = "the end".to_owned();
            return Some(format!(
                "{strand}: after {at} equal tokens expected {}, found {}\n  expected: {}\n  found:    {}",
                expected.get(at).unwrap_or(&end),
                actual.get(at).unwrap_or(&end),
                expected.join(" "),
                actual.join(" "),
            ));
        }
        None
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (strand, tokens) in &self.strands {
            for line in lines(tokens) {
                writeln!(f, "{strand}: {line}")?;
            }
        }
        Ok(())
    }
}

/// Joins tokens to lines of a readable width.
fn lines(tokens: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for token in tokens {
        match lines.last_mut() {
            Some(line) if line.len() + token.len() < 100 => {
                line.push(' ');
                line.push_str(token);
            }
            Some(_) | None => lines.push(token.clone()),
        }
    }
    lines
}

/// A message's token.
pub fn message_token(message: MessageRef<'_>) -> String {
    match message.text() {
        Ok(text) => payload::text(text),
        Err(_) => payload::binary(message.as_bytes()),
    }
}

/// An outcome's token.
pub fn outcome_token(number: u64, outcome: &Outcome) -> String {
    format!("{number}={}", words::outcome(outcome))
}

/// Whether an event belongs to the strand of states.
pub fn is_traced(kind: &EventKind) -> bool {
    words::event(kind, &[]).is_some()
}
