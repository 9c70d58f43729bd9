//! Compares Ropewalk with other WebSocket clients: `cargo run --release -p ropewalk-benches --bin compare`.
#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use ropewalk_benches::compare::{Machine, Measure, ROWS, Report, Row, run};
use ropewalk_benches::contestants::{Contestant, Problem, on_one_thread};
use ropewalk_benches::paste::paste;
use ropewalk_benches::{measure, peer};

/// The processors of contestants and of their peer.
const CONTESTANT_CPU: usize = 0;
const PEER_CPU: usize = 1;

/// Ropewalk beside other clients, on this machine.
///
/// Everybody does the same work in a process of its own, pinned to one processor, beside a server pinned to another. In each
/// round everybody does the work of each row once, one after the other, in an order of the round's own. A table has one line for each
/// contestant: the median of its rounds, its best and its worst round, and the median of its rounds' ratios to the best peer on the
/// same runtime in the same round, below 1 if it needs less, and of those to the bare read loop. The command fails if a contestant did not see the messages that
/// the server sent. websockets, in Python, does a tenth of each work, if the environment's `PYTHON`, or else `python3`, has it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only the row of this name, or the rows whose names contain it; `--list` prints them.
    #[arg(long, default_value = "")]
    row: String,
    /// How often everybody does each work.
    #[arg(long, default_value = "9")]
    rounds: NonZeroUsize,
    /// Writes one JSON object with the machine, the command and every round, in place of tables.
    #[arg(long)]
    json: bool,
    /// Pastes the tables into this file as well, where a row's name is marked: `benches/RESULTS.md`. What is said of the machine there
    /// is replaced if all rows were measured.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Prints the names of the rows and what they are, and measures nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Is the server.
    #[command(hide = true)]
    Peer,
    /// Is one contestant, once.
    #[command(hide = true)]
    Contest {
        who: Contestant,
        row: String,
        /// What the peer printed.
        peer: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        None => compare(&arguments),
        Some(Part::Peer) => {
            measure::pin(PEER_CPU);
            peer::serve().map_err(Problem::from)
        }
        Some(Part::Contest { who, row, peer }) => contest(*who, row, peer),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn contest(who: Contestant, row: &str, peer: &str) -> Result<(), Problem> {
    on_one_thread()?;
    measure::pin(CONTESTANT_CPU);
    let row = ROWS.iter().find(|it| it.name == row).ok_or("no such row")?;
    let done = who.work(who.share(row.work), &serde_json::from_str(peer)?)?;
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<(), Problem> {
    let exact = ROWS.iter().any(|row| row.name == arguments.row);
    let rows: Vec<_> = ROWS
        .iter()
        .filter(|row| match exact {
            true => row.name == arguments.row,
            false => row.name.contains(&arguments.row),
        })
        .collect();
    if rows.is_empty() {
        return Err(format!("no row's name contains `{}`", arguments.row).into());
    }
    if arguments.list {
        for row in rows {
            println!("{:15} {}", row.name, row.title);
        }
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut report = Report {
        machine: Machine::this(),
        command: command_line(),
        rounds: arguments.rounds.get(),
        rows: Vec::new(),
    };
    for contestant in Contestant::ALL {
        if !contestant.is_here() {
            eprintln!("{}: skipped, it is not here", contestant.name());
        }
    }
    if !arguments.json {
        println!("{}\n\n    {}\n", report.machine, report.command);
    }
    let (rows, not_here): (Vec<&Row>, Vec<&Row>) = rows
        .into_iter()
        .partition(|row| !needs_strace(row) || has_strace());
    for row in not_here {
        eprintln!("{}: skipped, there is no strace here", row.name);
    }
    report.rows = run(&program, &rows, report.rounds, |row, who, done| {
        let values = row.measures.iter();
        let values: Vec<_> = values
            .map(|measure| (measure.of(who.share(row.work), done), measure.name()))
            .map(|(value, name)| format!("{value:.2} {name}"))
            .collect();
        eprintln!("{:16} {:34} {}", row.name, who.name(), values.join(", "));
    })?;
    let texts = report.tables();
    if !arguments.json {
        for (_, table) in &texts {
            println!("{table}");
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    if let Some(file) = &arguments.markdown {
        let mut texts = texts;
        if report.rows.len() == ROWS.len() {
            texts.push(("compare".to_owned(), report.machine.to_string()));
        }
        paste(file, &texts)?;
    }
    Ok(())
}

/// What to type to do this again.
fn command_line() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let command = "cargo run --release -p ropewalk-benches --bin compare";
    match arguments.is_empty() {
        true => command.to_owned(),
        false => format!("{command} -- {}", arguments.join(" ")),
    }
}

fn needs_strace(row: &Row) -> bool {
    row.measures.contains(&Measure::CallsPerMessage)
}

fn has_strace() -> bool {
    let version = Command::new("strace")
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}
