//! `ropewalk send`: lines of standard input as messages, and what became of them.

mod input;
mod record;
mod run;

use std::io;
use std::process::ExitCode;

use crate::Failure;
use crate::args::SendArguments;
use crate::config::{ConnectionPlan, Plan};
use crate::names::Names;
use crate::output::{Ended, Lines, Place};
use crate::runtime;
use crate::stop::{Stop, Why};
use crate::tap::connect;
use record::Form;
use run::{Outcome, Send};

/// Sends until the input ends or until it is told to stop.
pub(crate) fn run(arguments: SendArguments) -> Result<ExitCode, Failure> {
    let mut names = Names::default();
    let plan = match &arguments.config {
        Some(file) => Plan::read(file, &mut names).map_err(Failure::usage)?,
        None => Plan::without_file(),
    };
    let connect = connect(&connection(&plan, arguments.url, &mut names))?;
    let stop = Stop::default();
    stop.on_signals().map_err(Failure::runtime)?;
    let output = Place::Stdout.open().map_err(Failure::runtime)?;
    let output = Lines::start(output, {
        let stop = stop.clone();
        move |_: &Ended| stop.ask(Why::OutputEnded)
    });
    let send = Send {
        connect,
        admission: plan.admission,
        lines: input::lines(io::stdin()).map_err(Failure::runtime)?,
        output: output.map_err(Failure::runtime)?,
        form: match arguments.json {
            true => Form::Json,
            false => Form::Words,
        },
        stop,
    };
    let runtime = arguments.runtime.or(plan.runtime).unwrap_or_default();
    let outcome = runtime::block_on(runtime, send).map_err(Failure::runtime)??;
    conclude(outcome)
}

/// The connection of the file that is meant, or one with the file's defaults.
fn connection(plan: &Plan, url: String, names: &mut Names) -> ConnectionPlan {
    let is_meant = |known: &&ConnectionPlan| known.name == url || known.urls.contains(&url);
    match plan.connections.iter().find(is_meant) {
        Some(known) => known.clone(),
        None => plan.defaults.to_url(names.derive(&url), url),
    }
}

fn conclude(outcome: Outcome) -> Result<ExitCode, Failure> {
    if let Some(Ended::Failed(error)) = outcome.output {
        return Err(Failure::runtime(format_args!(
            "cannot write outcomes: {error}"
        )));
    }
    if let Some(error) = outcome.input_error {
        return Err(Failure::runtime(error));
    }
    match (outcome.why, outcome.unsent) {
        (Some(Why::NothingLeft), _) => Err(Failure::runtime(match outcome.reason {
            Some(reason) => format!("the connection gave up: {reason}"),
            None => "the connection gave up".to_owned(),
        })),
        (_, 0) => Ok(ExitCode::SUCCESS),
        (_, _) => Ok(ExitCode::from(crate::FAILURE)),
    }
}
