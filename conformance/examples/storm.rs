//! Lives through storms and names the seeds whose storms break a rule: `storm FIRST COUNT [storm|rain]`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use ropewalk_conformance::sim::{Weather, storm};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
    let (Some(first), Some(count)) = (number(0), number(1)) else {
        eprintln!("usage: storm FIRST COUNT [storm|rain]");
        return ExitCode::from(2);
    };
    let weather = match words.get(2).map(String::as_str) {
        Some("rain") => Weather::Rain,
        Some(_) | None => Weather::Storm,
    };
    let mut broken = 0;
    for seed in first..first.saturating_add(count) {
        if std::panic::catch_unwind(|| storm(seed, weather)).is_err() {
            eprintln!("^ seed {seed}\n");
            broken += 1;
        }
    }
    println!("{broken} of {count} storms broke a rule");
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
