//! Rounds: in each, everybody does the work once, one after the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Serialize;

use super::rows::{Row, Unit};
use crate::contestants::{Contestant, Problem};
use crate::work::Done;

/// What the rounds of a row came to.
#[derive(Debug, Serialize)]
pub struct Rounds {
    pub row: &'static str,
    pub title: &'static str,
    pub contestants: Vec<Results>,
}

/// One contestant's results, round by round.
#[derive(Debug, Serialize)]
pub struct Results {
    pub contestant: Contestant,
    pub rounds: Vec<Done>,
    /// The median of what the row compares.
    pub median: f64,
    pub unit: &'static str,
}

/// Runs all rounds of a row. `program` is this program, which is also the peer and every contestant.
///
/// # Errors
/// A process that could not be started or that failed.
pub fn run(
    program: &Path,
    row: &Row,
    rounds: usize,
    told: impl Fn(Contestant, &Done),
) -> Result<Rounds, Problem> {
    let mut results: Vec<_> = row
        .who
        .iter()
        .map(|contestant| Results {
            contestant: *contestant,
            rounds: Vec::new(),
            median: 0.0,
            unit: row.unit.name(),
        })
        .collect();
    for _ in 0..rounds {
        for result in &mut results {
            let done = once(program, row, result.contestant)?;
            told(result.contestant, &done);
            result.rounds.push(done);
        }
    }
    for result in &mut results {
        result.median = median(result.rounds.iter().map(|done| row.value(done)));
    }
    Ok(Rounds {
        row: row.name,
        title: row.title,
        contestants: results,
    })
}

/// The middle one; of an even number the lower of the two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

impl Row {
    /// What the row compares.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a measurement has no sixteen digits"
    )]
    pub fn value(&self, done: &Done) -> f64 {
        match self.unit {
            Unit::CpuPerMessage => {
                done.cpu_nanos as f64 / self.work.messages().max(done.seen.messages) as f64
            }
            Unit::RoundTrip99 => done
                .round_trip_nanos
                .map_or(f64::NAN, |[_, p99, _]| p99 as f64 / 1_000.0),
            Unit::MemoryPerConnection => done.memory_bytes as f64 / self.work.connections() as f64,
        }
    }
}

impl Unit {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuPerMessage => "ns of CPU a message",
            Self::RoundTrip99 => "µs there and back, p99",
            Self::MemoryPerConnection => "bytes a connection",
        }
    }
}

/// A child that goes when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn once(program: &Path, row: &Row, contestant: Contestant) -> Result<Done, Problem> {
    let mut peer = Command::new(program)
        .arg("peer")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)?;
    let mut port = String::new();
    let stdout = peer.0.stdout.take().ok_or("the peer says nothing")?;
    BufReader::new(stdout).read_line(&mut port)?;
    let name = serde_json::to_string(&contestant)?;
    let output = Command::new(program)
        .args(["contest", name.trim_matches('"'), row.name, port.trim()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} did not do `{}`", contestant.name(), row.title).into());
    }
    let done: Done = serde_json::from_slice(&output.stdout)?;
    if done.seen.messages < row.work.seen() {
        return Err(format!("{} missed messages in `{}`", contestant.name(), row.title).into());
    }
    Ok(done)
}
