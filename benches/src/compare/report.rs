//! The results, as people read them.

use std::fmt::Write;

use serde::Serialize;

use super::{Machine, Rounds, Summary};

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

/// One row as a table, with its command and the day: for each measure the median, the best and the worst round, the ratio to the best
/// peer, and that to the bare read loop if that takes part.
pub fn markdown(rounds: &Rounds, day: &str) -> String {
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
