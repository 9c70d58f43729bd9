//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_driver::{LetterCounts, Report};

use super::counting::Tally;
use crate::process::Usage;
use crate::table::{Align, Table};

/// The whole run.
pub(super) struct Summary {
    pub(super) rows: Vec<Row>,
    /// Of a run with a store.
    pub(super) letters: Option<LetterCounts>,
    pub(super) time: Duration,
    pub(super) usage: Option<Usage>,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Row {
    name: String,
    messages: u64,
    bytes: u64,
    sockets: u64,
    uptime: Duration,
    ended: String,
}

impl Row {
    /// The rows in the order in which the connections were asked for.
    pub(super) fn all(tallies: &[(Arc<str>, Arc<Tally>)], report: &Report) -> Vec<Self> {
        let mut reports: BTreeMap<&str, _> = report
            .connections
            .iter()
            .map(|named| (&*named.name, &named.report))
            .collect();
        tallies
            .iter()
            .map(|(name, tally)| {
                let report = reports.remove(&**name);
                Self {
                    name: name.to_string(),
                    messages: tally.messages(),
                    bytes: tally.bytes(),
                    sockets: report.map_or(0, |report| report.counters.dials),
                    uptime: report.map_or(Duration::ZERO, |report| report.counters.uptime),
                    ended: report.map_or_else(String::new, |report| report.state.to_string()),
                }
            })
            .collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("connection", Align::Left),
            ("messages", Align::Right),
            ("bytes", Align::Right),
            ("sockets", Align::Right),
            ("uptime", Align::Right),
            ("was", Align::Left),
        ];
        let mut table = Table::new(columns);
        for row in &self.rows {
            table.row([
                row.name.escape_debug().to_string(),
                row.messages.to_string(),
                row.bytes.to_string(),
                row.sockets.to_string(),
                format!("{:.1}s", row.uptime.as_secs_f64()),
                row.ended.clone(),
            ]);
        }
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>();
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "{} connections, {} messages, {} bytes, {} sockets in {:.1}s",
            self.rows.len(),
            sum(|row| row.messages),
            sum(|row| row.bytes),
            sum(|row| row.sockets),
            self.time.as_secs_f64(),
        )?;
        if let Some(letters) = &self.letters {
            writeln!(
                f,
                "{} dead letters, {} stored, {} lost; {} delivered again, {} failed again",
                letters.taken,
                letters.stored,
                letters.dropped + letters.waiting,
                letters.delivered,
                letters.failed_again,
            )?;
        }
        match &self.usage {
            Some(usage) => writeln!(f, "{usage}"),
            None => Ok(()),
        }
    }
}

/// Prints the summary on standard error, where it does not get into the messages.
pub(super) fn print(summary: &Summary) {
    let _ = std::io::stderr().write_all(summary.to_string().as_bytes());
}
