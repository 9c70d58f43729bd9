//! Rounds: in each, everybody does each work once, one after the other.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::measures::{Measure, Summary, median, paired_ratio};
use super::rows::Row;
use crate::contestants::{Contestant, ONE_THREAD, Part, Problem, RunsOn};
use crate::peer::Running;
use crate::work::Done;

/// What the rounds of a row came to.
#[derive(Debug, Serialize)]
pub struct Rounds {
    /// The row's name.
    pub row: &'static str,
    /// The row, for people.
    pub title: &'static str,
    /// Everybody who did the work.
    pub contestants: Vec<Results>,
}

/// One contestant's results, round by round.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Who.
    pub contestant: Contestant,
    /// Each round.
    pub rounds: Vec<Done>,
    /// What they come to, measure by measure.
    pub summaries: Vec<Summary>,
}

/// Runs all rounds of these rows: in each, everybody does each row's work once. So what stands in different rows can be compared too, as
/// it was measured over the same time. `program` is this program, which is also the peer and every contestant; `told` is called after each
/// piece of work. Each round has an order of its own.
///
/// # Errors
/// A process that could not be started or that failed, or one that saw other messages than the peer sent.
pub fn run(
    program: &Path,
    rows: &[&Row],
    rounds: usize,
    told: impl Fn(&Row, Contestant, &Done),
) -> Result<Vec<Rounds>, Problem> {
    let mut all: Vec<_> = rows.iter().map(|row| Rounds::none(row)).collect();
    for round in 0..rounds {
        for (row, results) in rows.iter().zip(&mut all) {
            let contestants = &mut results.contestants;
            for number in order(round, contestants.len()) {
                let result = &mut contestants[number];
                let done = once(program, row, result.contestant)?;
                told(row, result.contestant, &done);
                result.rounds.push(done);
            }
        }
    }
    for (row, results) in rows.iter().zip(&mut all) {
        summarise(row, &mut results.contestants);
    }
    Ok(all)
}

impl Rounds {
    fn none(row: &Row) -> Self {
        let here = row.who.iter().filter(|contestant| contestant.is_here());
        Self {
            row: row.name,
            title: row.title,
            contestants: here
                .map(|contestant| Results {
                    contestant: *contestant,
                    rounds: Vec::new(),
                    summaries: Vec::new(),
                })
                .collect(),
        }
    }
}

/// In which order everybody has a turn. Each round begins with another one, and nobody comes behind the same one in all of them, as
/// what somebody leaves to the kernel to do may fall to the next: a Williams design. Of an even number of contestants, each comes behind
/// each other one once in as many rounds.
fn order(round: usize, everybody: usize) -> impl Iterator<Item = usize> {
    (0..everybody).map(move |turn| {
        let further = match turn.is_multiple_of(2) {
            true => everybody - turn / 2,
            false => turn.div_ceil(2),
        };
        (round + further) % everybody
    })
}

fn summarise(row: &Row, contestants: &mut [Results]) {
    for measure in row.measures {
        let values: Vec<Vec<f64>> = contestants
            .iter()
            .map(|it| {
                let work = it.contestant.share(row.work);
                let rounds = it.rounds.iter();
                rounds.map(|done| measure.of(work, done)).collect()
            })
            .collect();
        for at in 0..contestants.len() {
            let own = &values[at];
            let contestant = contestants[at].contestant;
            let runs_on = match contestant.runs_on() {
                RunsOn::Nothing | RunsOn::Asyncio => RunsOn::Tokio,
                runtime @ (RunsOn::Tokio | RunsOn::Smol | RunsOn::AsyncStd) => runtime,
            };
            let best = |part: Part, runs_on: RunsOn| {
                contestants
                    .iter()
                    .zip(&values)
                    .filter(|(it, _)| it.contestant.part() == part)
                    .filter(|(it, _)| it.contestant.runs_on() == runs_on)
                    .map(|(_, values)| values)
                    .min_by(|one, other| median(one).total_cmp(&median(other)))
            };
            let ratio_to = |other: Option<&Vec<f64>>| {
                let ratio = other.map(|other| paired_ratio(own, other));
                ratio.filter(|ratio| ratio.is_finite())
            };
            let summary = Summary {
                measure: *measure,
                median: median(own),
                min: own.iter().copied().fold(f64::INFINITY, f64::min),
                max: own.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                ratio: ratio_to(best(Part::Peer, runs_on)),
                loop_ratio: ratio_to(best(Part::Bound, contestant.runs_on()))
                    .filter(|_| contestant.runs_on() != RunsOn::Nothing),
            };
            contestants[at].summaries.push(summary);
        }
    }
}

fn once(program: &Path, row: &Row, contestant: Contestant) -> Result<Done, Problem> {
    let mut peer = Running::start(program)?;
    let address = serde_json::to_string(peer.address())?;
    let name = serde_json::to_string(&contestant)?;
    let arguments = ["contest", name.trim_matches('"'), row.name, &address];
    let counts = counts_calls(row).then(CallCount::new);
    let mut command = match &counts {
        None => Command::new(program),
        Some(count) => count.command(program),
    };
    let output = command
        .args(arguments)
        .envs(ONE_THREAD)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let who = contestant.name();
    if !output.status.success() {
        return Err(format!("{who} did not do `{}`", row.title).into());
    }
    let mut done: Done = serde_json::from_slice(&output.stdout)?;
    let work = contestant.share(row.work);
    let is_all = match contestant.looks() {
        true => work.is_all(done.seen),
        false => done.seen.messages >= work.seen(),
    };
    if !is_all {
        let seen = done.seen;
        return Err(format!("{who} saw other messages in `{}`: {seen:?}", row.title).into());
    }
    if let Some(count) = counts {
        done.calls = Some(count.total()?);
    }
    if row.measures.contains(&Measure::WireBytes) {
        done.wire_bytes = Some(peer.frame_bytes()?);
    }
    Ok(done)
}

/// Whether a row is about system calls, which make everything slow when they are counted.
pub(super) fn counts_calls(row: &Row) -> bool {
    row.measures.contains(&Measure::CallsPerMessage)
}

/// `strace` around a contestant.
struct CallCount {
    summary: PathBuf,
}

impl CallCount {
    fn new() -> Self {
        let name = format!("ropewalk-calls-{}", std::process::id());
        Self {
            summary: std::env::temp_dir().join(name),
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&self.summary);
        command.arg("--").arg(program);
        command
    }

    /// The calls of all threads, the start of the process included.
    fn total(&self) -> Result<u64, Problem> {
        let summary = std::fs::read_to_string(&self.summary)?;
        let total = summary.lines().rfind(|line| line.ends_with(" total"));
        let calls = total.and_then(|line| line.split_whitespace().nth(3));
        Ok(calls.ok_or("strace says nothing")?.parse()?)
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_one_turn_in_each_round_and_begins_one() {
        for everybody in 1..=13 {
            let mut first = Vec::new();
            for round in 0..everybody {
                let mut turns: Vec<_> = order(round, everybody).collect();
                first.push(turns[0]);
                turns.sort_unstable();
                assert_eq!(turns, (0..everybody).collect::<Vec<_>>());
            }
            first.sort_unstable();
            assert_eq!(first, (0..everybody).collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_an_even_number_everybody_comes_behind_everybody_else_once() {
        let everybody = 12;
        let mut pairs = Vec::new();
        for round in 0..everybody {
            let turns: Vec<_> = order(round, everybody).collect();
            pairs.extend(turns.windows(2).map(|pair| (pair[0], pair[1])));
        }
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), everybody * (everybody - 1));
    }
}
