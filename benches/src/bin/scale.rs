//! What grows with the number of connections: `cargo run --release -p ropewalk-benches --bin scale`.
#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ropewalk_benches::compare::Machine;
use ropewalk_benches::contestants::{Contestant, Problem, on_one_thread};
use ropewalk_benches::paste::paste;
use ropewalk_benches::scale::{
    Chart, Trace, check_ports, cost, memory, plan, raise_descriptors, svg, timers, together,
    wake_ups,
};
use ropewalk_benches::work::Work;
use ropewalk_benches::{measure, peer};
use serde::Serialize;

/// The processors of contestants and of their peers.
const CONTESTANT_CPU: usize = 0;
const PEER_CPU: usize = 1;

const SIZES: [usize; 7] = [1, 10, 100, 1_000, 5_000, 10_000, 15_000];

/// How often idle connections ping, in seconds: a short time, so that there is something to see, and the default.
const INTERVALS: [u64; 2] = [5, 20];

/// What grows with the number of connections, on this machine.
///
/// For 1 to 15,000 connections: the processor time of a message while 200,000 of them a second come, whatever the number of
/// connections; the memory of a connection that does nothing; how often a fleet wakes up that does nothing but ping, beside
/// what is to be expected of it; and what a deadline costs, in the core alone. Everybody is measured as in `compare`: in a
/// process of its own, beside a server, each pinned to a processor, with executors of one thread. How often a process waits is
/// counted by `strace`, if it is here, in another run than how often it sleeps.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Up to how many connections.
    #[arg(long, default_value = "15000")]
    to: usize,
    /// Only the chart of this name, or the charts whose names contain it: `cost`, `memory`, `wake-ups-5s`, `wake-ups-20s`, `timers`.
    #[arg(long, default_value = "")]
    chart: String,
    /// How often the processor time is measured; the median counts.
    #[arg(long, default_value = "1")]
    rounds: NonZeroUsize,
    /// Prints one JSON object with the machine, the command and every point, in place of tables.
    #[arg(long)]
    json: bool,
    /// Draws the tables as well, into this directory: `benches/plots`.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Pastes the tables into this file as well, where a chart's name is marked: `benches/RESULTS.md`.
    #[arg(long)]
    markdown: Option<PathBuf>,
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
        /// As JSON.
        work: String,
        /// What the peer printed.
        peer: String,
    },
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    command: String,
    charts: Vec<Chart>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        None => scale(&arguments),
        Some(Part::Peer) => serve(),
        Some(Part::Contest { who, work, peer }) => contest(*who, work, peer),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Problem> {
    raise_descriptors(0)?;
    measure::pin(PEER_CPU);
    Ok(peer::serve()?)
}

fn contest(who: Contestant, work: &str, peer: &str) -> Result<(), Problem> {
    on_one_thread()?;
    let work: Work = serde_json::from_str(work)?;
    raise_descriptors(work.connections())?;
    measure::pin(CONTESTANT_CPU);
    let done = who.work(work, &serde_json::from_str(peer)?)?;
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

fn scale(arguments: &Arguments) -> Result<(), Problem> {
    let sizes: Vec<_> = SIZES
        .into_iter()
        .filter(|size| *size <= arguments.to)
        .collect();
    let most = sizes.last().copied().ok_or("`--to` is 1 at least")?;
    raise_descriptors(most)?;
    check_ports(most)?;
    let report = Report {
        machine: Machine::this(),
        command: command_line(),
        charts: measure_all(&sizes, arguments.rounds.get(), &arguments.chart)?,
    };
    if report.charts.is_empty() {
        return Err(format!("no chart's name contains `{}`", arguments.chart).into());
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}\n\n    {}\n", report.machine, report.command);
        for chart in &report.charts {
            println!("{}", chart.markdown());
        }
    }
    if let Some(file) = &arguments.markdown {
        let text = |chart: &Chart| {
            let (table, day) = (chart.markdown(), &report.machine.day);
            format!("{table}\n`{}`, {day}\n", report.command)
        };
        let charts = report.charts.iter();
        let mut texts: Vec<_> = charts
            .map(|chart| (chart.name.clone(), text(chart)))
            .collect();
        if arguments.chart.is_empty() {
            texts.push(("scale".to_owned(), report.machine.to_string()));
        }
        paste(file, &texts)?;
    }
    if let Some(directory) = &arguments.svg {
        std::fs::create_dir_all(directory)?;
        for chart in &report.charts {
            std::fs::write(directory.join(format!("{}.svg", chart.name)), svg(chart)?)?;
        }
    }
    Ok(())
}

fn measure_all(sizes: &[usize], rounds: usize, name: &str) -> Result<Vec<Chart>, Problem> {
    let trace = Trace::if_possible();
    if trace == Trace::Off {
        eprintln!("there is no strace here: how often processes wait is not counted");
    }
    let program = std::env::current_exe()?;
    let mut measured = Vec::new();
    for mut jobs in plan(sizes, rounds, &INTERVALS, trace) {
        jobs.retain(|job| chart_of(job.work).contains(name));
        for (job, done) in together(&program, &jobs)? {
            eprintln!("{:22} {:?}", job.who.name(), job.work);
            measured.push((job, done));
        }
    }
    let mut charts = vec![cost(&measured), memory(&measured)];
    let wake_ups = INTERVALS.map(|interval| wake_ups(&measured, interval));
    // Small fleets are not watched for as long as the default interval is.
    charts.extend(wake_ups.into_iter().filter(|chart| chart.series.len() > 1));
    if TIMERS.contains(name) {
        charts.push(timers());
    }
    charts.retain(|chart| chart.name.contains(name));
    Ok(charts)
}

/// The chart that is about the deadlines of the core alone.
const TIMERS: &str = "timers";

/// The name of the chart that is about this work.
fn chart_of(work: Work) -> String {
    match work {
        Work::Idle { .. } => "memory".to_owned(),
        Work::Pinged { every_seconds, .. } => format!("wake-ups-{every_seconds}s"),
        Work::Paced { .. }
        | Work::Receive { .. }
        | Work::HandOver { .. }
        | Work::Inflate { .. }
        | Work::ReceiveTls { .. }
        | Work::Send { .. }
        | Work::Deflate { .. }
        | Work::Echo { .. }
        | Work::Connect { .. }
        | Work::Recover { .. } => "cost".to_owned(),
    }
}

/// What to type to do this again.
fn command_line() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let command = "cargo run --release -p ropewalk-benches --bin scale";
    match arguments.is_empty() {
        true => command.to_owned(),
        false => format!("{command} -- {}", arguments.join(" ")),
    }
}
