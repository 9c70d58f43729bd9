//! Counts the instructions of the core's parts, and compares them with what was committed:
//! `cargo run --release -p ropewalk-benches --bin counts`.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use ropewalk_benches::contestants::Problem;
use ropewalk_benches::subjects::{COUNTED, Counted};
use serde::{Deserialize, Serialize};

/// What is set up is the same in both runs, so that their difference is what one more thousand costs.
const FEW: u64 = 1_000;
const MORE: u64 = 2_000;

/// The instructions of the core's parts.
///
/// Each part runs twice under valgrind's callgrind, once a thousand times and once two thousand times; the difference is divided by a
/// thousand. Other than time, that is the same in every run. The command fails if a part takes more instructions than in the
/// baseline, `benches/counts.json`, by more than the tolerance, or if there is no such part in it. A count depends on the
/// compiler, on how it is told to optimise, and on valgrind, which shows its programs a processor with AVX2 at most. If the
/// compiler or valgrind is another than the baseline's, the command compares, and does not fail.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many per cent more than the baseline are accepted.
    #[arg(long, default_value_t = 5.0)]
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

/// What is committed.
#[derive(Debug, Deserialize, Serialize)]
struct Baseline {
    /// What the counts depend on, as it calls itself.
    tools: [String; 2],
    counts: Counts,
}

const WRITE: &str = "cargo run --release -p ropewalk-benches --bin counts -- --write";

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
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let tools = [version(compiler)?, version("valgrind")?];
    let mut counts = Counts::new();
    for counted in COUNTED {
        counts.insert(counted.name.to_owned(), instructions(counted)?);
    }
    if arguments.write {
        let text = serde_json::to_string_pretty(&Baseline { tools, counts })?;
        std::fs::write(path, text + "\n")?;
        return Ok(());
    }
    let baseline: Baseline = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    println!("| | instructions | baseline | |\n|---|---:|---:|---:|");
    let mut worse = Vec::new();
    for (name, now) in &counts {
        let was = baseline.counts.get(name).copied().unwrap_or(f64::NAN);
        let per_cent = (now / was - 1.0) * 100.0;
        println!("| {name} | {now:.1} | {was:.1} | {per_cent:+.1} % |");
        if is_worse(per_cent, arguments.tolerance) {
            worse.push(name.as_str());
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    let found = format!(
        "more instructions than in the baseline, by more than {} %: {}\nif they are worth it, write it anew: {WRITE}",
        arguments.tolerance,
        worse.join(", ")
    );
    if tools == baseline.tools {
        return Err(found.into());
    }
    println!(
        "\n{found}\nThat is no failure, since the baseline is of other tools: {}, not {}.",
        baseline.tools.join(" and "),
        tools.join(" and ")
    );
    Ok(())
}

/// Without a baseline the comparison is with a NaN, and that is no improvement either.
fn is_worse(per_cent: f64, tolerance: f64) -> bool {
    !matches!(
        per_cent.partial_cmp(&tolerance),
        Some(Ordering::Less | Ordering::Equal)
    )
}

/// What a tool calls itself.
fn version(tool: impl AsRef<OsStr>) -> Result<String, Problem> {
    let name = tool.as_ref().to_string_lossy().into_owned();
    let output = Command::new(tool)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} does not start: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_tolerance_is_worse_and_so_is_what_has_no_baseline() {
        assert!(!is_worse(-12.0, 5.0));
        assert!(!is_worse(5.0, 5.0));
        assert!(is_worse(5.1, 5.0));
        assert!(is_worse(f64::NAN, 5.0));
    }
}
