//! What the demo came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_core::Counters;
use serde::Serialize;

use super::gauges::Processing;
use super::ledger::Audit;
use super::letters::LettersOutcome;
use crate::process::Usage;
use crate::table::{Align, Table};

/// How many kinds of fault a line has room for.
const FAULTS_PER_LINE: usize = 4;

/// How many lost numbers of a connection are shown.
const LOST_SHOWN: usize = 10;

/// Everything that the demo reports; this is the object that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) misjudged: u64,
    pub(super) runtime: &'static str,
    pub(super) seed: u64,
    pub(super) settings: String,
    pub(super) seconds: f64,
    pub(super) connections: Vec<Row>,
    pub(super) totals: Totals,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) faults_total: u64,
    pub(super) sockets: u64,
    #[serde(flatten)]
    pub(super) processing: Processing,
    pub(super) letters: LettersOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Usage>,
    /// Where the library's own counters disagree with the ledger.
    pub(super) miscounted: Vec<String>,
}

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// The state that it was in when the demo ended it.
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<u64>,
}

/// Counts of messages, and of sessions after the first.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) filtered: u64,
    pub(super) dead: u64,
    /// Dead letters, those of filtered messages included, that came back and were processed.
    pub(super) redriven: u64,
    pub(super) reconnects: u64,
}

impl Totals {
    /// What the ledger says, with the library's count of what was received, the server's replies left out.
    pub(super) fn new(audit: &Audit, counters: &Counters) -> Self {
        Self {
            received: counters.received.saturating_sub(audit.replies),
            delivered: audit.delivered,
            filtered: audit.filtered,
            dead: audit.dead,
            redriven: audit.redriven,
            reconnects: counters.sessions.saturating_sub(1),
        }
    }

    fn cells(self) -> [String; 6] {
        let Self {
            received,
            delivered,
            filtered,
            dead,
            redriven,
            reconnects,
        } = self;
        [received, delivered, filtered, dead, redriven, reconnects].map(|number| number.to_string())
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), |sum, row| Self {
            received: sum.received + row.received,
            delivered: sum.delivered + row.delivered,
            filtered: sum.filtered + row.filtered,
            dead: sum.dead + row.dead,
            redriven: sum.redriven + row.redriven,
            reconnects: sum.reconnects + row.reconnects,
        })
    }
}

impl Outcome {
    /// Whether every message met its one and right fate, every dead letter came back once, the library counted each,
    /// and no connection had more workers than it may.
    pub(super) fn is_flawless(&self) -> bool {
        self.lost == 0
            && self.duplicates == 0
            && self.misjudged == 0
            && self.miscounted.is_empty()
            && self.letters.is_sound()
            && self.processing.workers.out_of_bounds == 0
    }
}

/// Says where the library's counters and the ledger of one connection disagree, if they do.
pub(super) fn miscounted(name: &str, audit: &Audit, counters: &Counters) -> Option<String> {
    let delivered = audit.delivered + audit.redriven + audit.replies;
    let ledger = (delivered, audit.filtered, audit.dead, audit.redriven);
    let library = (
        counters.delivered,
        counters.filtered,
        counters.rejected,
        counters.redriven,
    );
    if counters.are_conserved() && ledger == library {
        return None;
    }
    Some(format!(
        "{name}: the application saw {ledger:?} delivered, filtered, dead and redriven; {counters:?}"
    ))
}

impl fmt::Display for Outcome {
    /// The last line is the count of lost messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("connection", Align::Left),
            ("received", Align::Right),
            ("delivered", Align::Right),
            ("filtered", Align::Right),
            ("dead", Align::Right),
            ("redriven", Align::Right),
            ("reconnects", Align::Right),
        ];
        let mut table = Table::new(columns);
        let mut row = |name: &str, totals: Totals| {
            let [received, delivered, filtered, dead, redriven, reconnects] = totals.cells();
            table.row([
                name.to_owned(),
                received,
                delivered,
                filtered,
                dead,
                redriven,
                reconnects,
            ]);
        };
        for Row { name, totals, .. } in &self.connections {
            row(name, *totals);
        }
        row("all", self.totals);
        writeln!(f, "{table}\n")?;

        let kinds = self.faults.values().filter(|count| **count > 0).count();
        writeln!(f, "{} faults of {kinds} kinds:", self.faults_total)?;
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        for line in faults.chunks(FAULTS_PER_LINE) {
            writeln!(f, "  {}", line.join(", "))?;
        }
        writeln!(f, "{}", self.processing)?;
        writeln!(f, "{}", self.letters)?;
        writeln!(f, "{} sockets in {:.1}s", self.sockets, self.seconds)?;
        if let Some(usage) = &self.process {
            writeln!(f, "{usage} (with server)")?;
        }
        for problem in &self.miscounted {
            writeln!(f, "miscounted: {problem}")?;
        }
        for row in self.connections.iter().filter(|row| !row.lost.is_empty()) {
            let shown: Vec<_> = row
                .lost
                .iter()
                .take(LOST_SHOWN)
                .map(u64::to_string)
                .collect();
            writeln!(
                f,
                "{} ({}) lost {}: {} …",
                row.name,
                row.state,
                row.lost.len(),
                shown.join(", ")
            )?;
        }
        if self.duplicates + self.misjudged > 0 {
            writeln!(
                f,
                "duplicates {}, misjudged {}",
                self.duplicates, self.misjudged
            )?;
        }
        writeln!(f, "lost {}", self.lost)
    }
}
