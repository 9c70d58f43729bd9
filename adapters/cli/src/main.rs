//! The `ropewalk` command: many WebSocket connections from a shell.

#![forbid(unsafe_code)]

mod args;
mod check;
mod config;
mod control;
mod deadline;
mod demo;
mod echo;
mod letters;
mod names;
mod output;
mod process;
mod records;
mod runtime;
mod send;
mod stop;
mod table;
mod tap;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use args::Command;
use control::Request;

/// The exit status for a wrong command line or configuration.
pub(crate) const USAGE: u8 = 2;

/// The exit status for a run that did not reach its end.
pub(crate) const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let result = match args::parse().command {
        Command::Tap(arguments) => tap::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Letters(command) => letters::run(&command),
        Command::Pause(arguments) => {
            let request = match arguments.processing {
                false => |names| Request::Pause { names },
                true => |names| Request::PauseProcessing { names },
            };
            control::run(arguments.control, request)
        }
        Command::Resume(arguments) => {
            let request = match arguments.processing {
                false => |names| Request::Resume { names },
                true => |names| Request::ResumeProcessing { names },
            };
            control::run(arguments.control, request)
        }
        Command::Status(arguments) => control::run(arguments, |names| Request::Status { names }),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(format_args!("{}", failure.message));
            ExitCode::from(failure.status)
        }
    }
}

/// What ends the command before or instead of its work.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// The person asked for something that cannot be.
    pub(crate) fn usage(problem: impl fmt::Display) -> Self {
        Self {
            status: USAGE,
            message: problem.to_string(),
        }
    }

    /// The world did not let it happen.
    pub(crate) fn runtime(problem: impl fmt::Display) -> Self {
        Self {
            status: FAILURE,
            message: problem.to_string(),
        }
    }
}

/// A line on standard error; nobody is told if that is closed.
pub(crate) fn complain(problem: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "ropewalk: {problem}");
}
