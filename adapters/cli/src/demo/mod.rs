//! `ropewalk demo`: connections that survive a hostile server with nothing lost, and dead letters that come back.

mod client;
mod gauges;
mod ledger;
mod letters;
mod outcome;
mod progress;
mod run;
mod server;

use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::DemoArguments;
use crate::runtime;
use crate::stop::Stop;
use crate::{Failure, process};
use run::{Audience, Demo};

/// Runs the demo and prints its outcome.
pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode, Failure> {
    process::raise_descriptor_limit();
    let stop = Stop::default();
    stop.on_signals().map_err(Failure::runtime)?;
    let demo = Demo {
        runtime: arguments.runtime.name(),
        connections: usize::try_from(arguments.connections).map_err(Failure::usage)?,
        time: arguments.time,
        seed: arguments.seed.unwrap_or_else(seed_from_clock),
        stop,
        audience: match arguments.json {
            true => Audience::Program,
            false => Audience::People,
        },
    };
    let mut out = std::io::stdout();
    if !arguments.json {
        // Whoever closed the pipe has seen enough; the exit status says the rest.
        let settings = client::describe().replace("; ", ";\n");
        let _ = writeln!(out, "{demo}\n{settings}\n");
    }
    let outcome = runtime::block_on(arguments.runtime, demo).map_err(Failure::runtime)??;
    let text = if arguments.json {
        serde_json::to_string(&outcome).map_err(Failure::runtime)? + "\n"
    } else {
        outcome.to_string()
    };
    let _ = out.write_all(text.as_bytes());
    Ok(if outcome.is_flawless() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(crate::FAILURE)
    })
}

/// Something else each time; it is printed, so that a run can be repeated.
fn seed_from_clock() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(1, |time| u64::from(time.subsec_nanos()) ^ time.as_secs())
}
