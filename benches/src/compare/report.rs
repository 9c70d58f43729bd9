//! The results, as people read them.

use std::fmt::Write;

use serde::Serialize;

use super::measures::paired_ratio;
use super::{Machine, Measure, ROWS, Rounds, Summary};
use crate::contestants::Contestant;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How, as it was typed.
    pub command: String,
    /// How often everybody did each work.
    pub rounds: usize,
    /// Row by row.
    pub rows: Vec<Rounds>,
}

/// The row with few connections, and the one with many.
const FEW: &str = "paced-100";
const MANY: &str = "paced-10000";

/// What stands above the table of growth.
const GROWTH: &str = "### 10,000 connections over 100

The median over the rounds of what a message costs over 10,000 connections to what it costs over 100 in the same round.

| | growth of the CPU a message |
|---|---:|
";

impl Report {
    /// All tables, each with the name of what it shows: a row's, or `growth` for what many connections cost over few, if both were measured.
    pub fn tables(&self) -> Vec<(String, String)> {
        let day = &self.machine.day;
        let rows = self.rows.iter();
        let tables = rows.map(|rounds| (rounds.row.to_owned(), markdown(rounds, day)));
        let growth = self.growth().map(|table| ("growth".to_owned(), table));
        tables.chain(growth).collect()
    }

    fn growth(&self) -> Option<String> {
        let row = |name: &str| self.rows.iter().find(|rounds| rounds.row == name);
        let (few, many) = (row(FEW)?, row(MANY)?);
        let mut text = GROWTH.to_owned();
        for result in &many.contestants {
            let contestant = result.contestant;
            let ratio = paired_ratio(&costs(many, contestant), &costs(few, contestant));
            let _ = writeln!(text, "| {} | {ratio:.2} |", contestant.name());
        }
        let (rounds, day) = (self.rounds, &self.machine.day);
        let _ = writeln!(
            text,
            "\n`cargo run --release -p ropewalk-benches --bin compare -- --row paced- --rounds {rounds}`, {day}"
        );
        Some(text)
    }
}

/// What a message cost a contestant in each round.
fn costs(rounds: &Rounds, contestant: Contestant) -> Vec<f64> {
    let row = ROWS.iter().find(|row| row.name == rounds.row);
    let work = row.map(|row| contestant.share(row.work));
    let results = rounds.contestants.iter();
    results
        .filter(|result| result.contestant == contestant)
        .flat_map(|result| &result.rounds)
        .filter_map(|done| Some(Measure::CpuPerMessage.of(work?, done)))
        .collect()
}

/// One row as a table, with its command and the day: for each measure the median, the best and the worst round, the ratio to the best
/// peer, and that to the bare read loop if that takes part.
fn markdown(rounds: &Rounds, day: &str) -> String {
    let mut text = format!("### {}\n\n|", rounds.title);
    let measures = rounds.contestants.first();
    let measures = measures.map_or(&[][..], |first| &first.summaries);
    let contestants = rounds.contestants.iter();
    let has_loops = contestants
        .flat_map(|it| &it.summaries)
        .any(|it| it.loop_ratio.is_some());
    let mut line = "|---|".to_owned();
    for summary in measures {
        let _ = write!(text, " | {} | best … worst | ratio", summary.measure.name());
        line.push_str("---:|---:|---:|");
        if has_loops {
            text.push_str(" | over the loop");
            line.push_str("---:|");
        }
    }
    let _ = write!(text, " |\n{line}\n");
    for result in &rounds.contestants {
        let _ = write!(text, "| {}", result.contestant.name());
        for summary in &result.summaries {
            let Summary {
                median, min, max, ..
            } = *summary;
            let digits = digits(median);
            let _ = write!(
                text,
                " | {median:.digits$} | {min:.digits$} … {max:.digits$}"
            );
            push_ratio(&mut text, summary.ratio);
            if has_loops {
                push_ratio(&mut text, summary.loop_ratio);
            }
        }
        text.push_str(" |\n");
    }
    let times = rounds.contestants.first().map_or(0, |it| it.rounds.len());
    let _ = writeln!(
        text,
        "\n`cargo run --release -p ropewalk-benches --bin compare -- --row {} --rounds {times}`, {day}",
        rounds.row
    );
    text
}

fn push_ratio(text: &mut String, ratio: Option<f64>) {
    let _ = match ratio {
        Some(ratio) => write!(text, " | {ratio:.2}"),
        None => write!(text, " | –"),
    };
}

/// Three that mean something.
fn digits(value: f64) -> usize {
    match value.abs() {
        ..1.0 => 4,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Results;
    use crate::work::Done;

    #[test]
    fn growth_is_that_of_rows_that_were_measured_together() {
        let row = |name: &'static str, cpu_nanos: [u64; 3]| Rounds {
            row: name,
            title: name,
            contestants: vec![Results {
                contestant: Contestant::RopewalkTokio,
                rounds: cpu_nanos
                    .map(|cpu_nanos| Done {
                        cpu_nanos,
                        ..Done::default()
                    })
                    .into(),
                summaries: Vec::new(),
            }],
        };
        let mut report = Report {
            machine: Machine::this(),
            command: String::new(),
            rounds: 3,
            rows: vec![row(FEW, [100, 1_000, 100])],
        };
        assert_eq!(report.growth(), None);
        // A slow round slows both.
        report.rows.push(row(MANY, [110, 1_200, 150]));
        let growth = report.growth().expect("both are there");
        assert!(growth.contains("| ropewalk (tokio) | 1.20 |"), "{growth}");
    }
}
