//! `ropewalk check`.

use std::io::Write;
use std::process::ExitCode;

use crate::Failure;
use crate::args::CheckArguments;
use crate::config::{self, Plan};
use crate::names::Names;

/// Validates a configuration and prints it with its defaults.
pub(crate) fn run(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let plan = Plan::read(&arguments.file, &mut Names::default()).map_err(Failure::usage)?;
    let text = config::print(&plan).map_err(Failure::usage)?;
    // Whoever closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
