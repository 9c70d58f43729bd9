//! Counts the instructions of the core's parts, and compares them with what was committed:
//! `cargo run --release -p ropewalk-benches --bin counts`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use ropewalk_benches::contestants::Problem;
use ropewalk_benches::subjects::{COUNTED, Counted};

/// What is set up is the same in both runs, so that their difference is what one more thousand costs.
const FEW: u64 = 1_000;
const MORE: u64 = 2_000;

/// The instructions of the core's parts.
///
/// Each part runs twice under valgrind's callgrind, once a thousand times and once two thousand times; the difference is divided by a
/// thousand. Other than time, that is the same in every run. The command fails if a part takes more instructions than in the
/// baseline, `benches/counts.json`, by more than the tolerance, or if there is no such part in it. A count depends on the
/// compiler and on the C library: when those change, write the baseline anew.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many per cent more than the baseline are accepted.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
    /// Writes the baseline, and compares nothing.
    #[arg(long)]
    write: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Is what is counted.
    #[command(hide = true)]
    Once { name: String, times: u64 },
}

/// Instructions a time, of each part.
type Counts = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        Some(Part::Once { name, times }) => once(name, *times),
        None => count(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn once(name: &str, times: u64) -> Result<(), Problem> {
    let counted = COUNTED.iter().find(|it| it.name == name);
    (counted.ok_or("no such part")?.run)(times);
    Ok(())
}

fn count(arguments: &Arguments) -> Result<(), Problem> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.json");
    let mut counts = Counts::new();
    for counted in COUNTED {
        counts.insert(counted.name.to_owned(), instructions(counted)?);
    }
    if arguments.write {
        let text = serde_json::to_string_pretty(&counts)?;
        std::fs::write(path, text + "\n")?;
        return Ok(());
    }
    let baseline: Counts = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut worse = Vec::new();
    println!("| | instructions | baseline | |\n|---|---:|---:|---:|");
    for (name, now) in &counts {
        let was = baseline.get(name).copied().unwrap_or(f64::NAN);
        let per_cent = (now / was - 1.0) * 100.0;
        println!("| {name} | {now:.1} | {was:.1} | {per_cent:+.1} % |");
        // Without a baseline the comparison is with a NaN, and that is no improvement either.
        if !matches!(
            per_cent.partial_cmp(&arguments.tolerance),
            Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
        ) {
            worse.push(name.as_str());
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more instructions than in the baseline: {}",
            worse.join(", ")
        )
        .into()),
    }
}

/// What one more time costs.
#[allow(
    clippy::cast_precision_loss,
    reason = "a difference has no sixteen digits"
)]
fn instructions(counted: &Counted) -> Result<f64, Problem> {
    let few = collected(counted.name, FEW)?;
    let more = collected(counted.name, MORE)?;
    Ok(more.saturating_sub(few) as f64 / (MORE - FEW) as f64)
}

/// How many instructions a process has executed.
fn collected(name: &str, times: u64) -> Result<u64, Problem> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"])
        .arg(std::env::current_exe()?)
        .args(["once", name, &times.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} failed: {said}").into());
    }
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let number = line.ok_or("callgrind does not say what it collected")?.1;
    Ok(number.trim().parse()?)
}
