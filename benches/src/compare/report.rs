//! The results, as people read them.

use std::fmt::Write;

use serde::Serialize;

use super::Rounds;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub rounds: usize,
    pub rows: Vec<Rounds>,
}

/// One row as a table: the medians, and their ratios to the first.
pub fn markdown(rounds: &Rounds) -> String {
    let mut text = format!("### {}\n\n", rounds.title);
    let unit = rounds.contestants.first().map_or("", |first| first.unit);
    let _ = writeln!(text, "| | {unit} | of the first |\n|---|---:|---:|");
    let first = rounds
        .contestants
        .first()
        .map_or(f64::NAN, |first| first.median);
    for result in &rounds.contestants {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.2} |",
            result.contestant.name(),
            result.median,
            result.median / first,
        );
    }
    text
}
