//! Plays scenario files in the simulator and prints their traces, in the form in which the files hold them.
//!
//! `cargo run -p ropewalk-conformance --example trace -- conformance/scenarios/echo.scn`
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use ropewalk_conformance::scenario::Scenario;
use ropewalk_conformance::sim::{LinkProfile, run};

fn main() -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for file in std::env::args().skip(1) {
        let played = Scenario::read(Path::new(&file))
            .map_err(|error| error.to_string())
            .and_then(|scenario| {
                run(&scenario, 1, LinkProfile::LOOPBACK).map_err(|error| error.to_string())
            });
        match played {
            Ok(trace) => print!("{trace}"),
            Err(problem) => {
                eprintln!("{problem}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}
