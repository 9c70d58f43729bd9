//! Compares Ropewalk with other WebSocket clients: `cargo run --release -p ropewalk-benches --bin compare`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ropewalk_benches::compare::{ROWS, Report, markdown, run};
use ropewalk_benches::contestants::{Contestant, Problem};
use ropewalk_benches::{measure, peer};

/// The processors of contestants and of their peer.
const CONTESTANT_CPU: usize = 0;
const PEER_CPU: usize = 1;

/// Ropewalk beside other clients, on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only the rows whose names contain this.
    #[arg(long, default_value = "")]
    row: String,
    /// How often everybody does each work.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Writes one JSON object with every round.
    #[arg(long)]
    json: bool,
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
        port: u16,
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
        Some(Part::Contest { who, row, port }) => contest(*who, row, *port),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn contest(who: Contestant, row: &str, port: u16) -> Result<(), Problem> {
    measure::pin(CONTESTANT_CPU);
    let row = ROWS.iter().find(|it| it.name == row).ok_or("no such row")?;
    let done = who.work(row.work, port)?;
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<(), Problem> {
    let program = std::env::current_exe()?;
    let mut report = Report {
        rounds: arguments.rounds,
        rows: Vec::new(),
    };
    for row in ROWS.iter().filter(|row| row.name.contains(&arguments.row)) {
        let rounds = run(&program, row, arguments.rounds, |who, done| {
            eprintln!("{:12} {:30} {:10.0}", row.name, who.name(), row.value(done));
        })?;
        if !arguments.json {
            println!("{}", markdown(&rounds));
        }
        report.rows.push(rounds);
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}
