//! Many messages through connections whose sockets the server keeps ending, on one runtime, over loopback sockets. What the
//! library promises is held against the books of both sides:
//!
//! - outbound with acknowledgements: every message arrives and is acknowledged, in order. A duplicate comes over another socket,
//!   ahead of what is new there, and only of a message that was marked as idempotent: where every other one is not, those
//!   arrive once or not at all;
//! - inbound with resume: the consumer gets every message once, in order;
//! - without these no message arrives twice or out of order, and one that does not arrive has an outcome that says so: the
//!   kernel took it (*written*) or took a part of it (*interrupted*), or it was never begun; inbound, the server had
//!   written it to a socket that it then reset.
//!
//! `millions [--runtime tokio|smol|async-std] [--messages N] [--connections N] [--faults N] [--seed N] [--pass NAME] [--json]`;
//! the messages are those of each pass, the faults those of each connection. Exit status 1 if a rule was broken.
//!
//! It is an example, not a test, because a person chooses how many, watches it, and reads a table.
#![forbid(unsafe_code)]

mod books;
mod client;
mod judge;
mod plan;
mod report;
mod server;
mod wire;

use std::process::ExitCode;
use std::time::Instant;

use ropewalk_driver::Runtime;

use judge::Verdict;
use plan::{Pass, Plan};
use report::{Form, Line};
use server::Server;

const USAGE: &str = "usage: millions [--runtime tokio|smol|async-std] [--messages N] [--connections N] [--faults N] \
                     [--seed N] [--pass NAME] [--json]";

/// What was asked for.
struct Arguments {
    runtime: Name,
    messages: u64,
    connections: u64,
    faults: u64,
    seed: u64,
    passes: Vec<Pass>,
    form: Form,
}

#[derive(Clone, Copy)]
enum Name {
    Tokio,
    Smol,
    AsyncStd,
}

impl Name {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Tokio, "tokio"),
        (Self::Smol, "smol"),
        (Self::AsyncStd, "async-std"),
    ];
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let lines = match arguments.runtime {
        Name::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .expect("the system has threads and a poller");
            runtime.block_on(run::<ropewalk_tokio::Tokio>(&arguments))
        }
        Name::Smol => smol::block_on(run::<ropewalk_smol::Smol>(&arguments)),
        Name::AsyncStd => {
            async_std::task::block_on(run::<ropewalk_async_std::AsyncStd>(&arguments))
        }
    };
    match lines {
        Ok(lines) => {
            let name = Name::ALL[arguments.runtime as usize].1;
            report::print(name, arguments.seed, arguments.form, &lines);
            if lines.iter().all(|line| line.verdict.holds()) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run<R: Runtime>(arguments: &Arguments) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for &pass in &arguments.passes {
        let plan = Plan {
            pass,
            messages: arguments.messages,
            connections: arguments.connections,
            faults: arguments.faults,
            seed: arguments.seed,
        };
        let server = Server::start(plan).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let client = client::run::<R>(plan, server.address).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let verdict = Verdict::new(plan, &server.stop(), &client);
        eprintln!("{pass}: {} messages in {seconds:.1} s", plan.messages);
        lines.push(Line { verdict, seconds });
    }
    Ok(lines)
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        runtime: Name::Tokio,
        messages: 1_000_000,
        connections: 100,
        faults: 20,
        seed: 1,
        passes: Pass::ALL.to_vec(),
        form: Form::Table,
    };
    while let Some(word) = words.next() {
        if word == "--json" {
            arguments.form = Form::Json;
            continue;
        }
        let value = words.next()?;
        match word.as_str() {
            "--runtime" => {
                let known = Name::ALL.iter().find(|(_, name)| *name == value);
                arguments.runtime = known?.0;
            }
            "--messages" => arguments.messages = value.parse().ok()?,
            "--connections" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                arguments.connections = count?;
            }
            "--faults" => arguments.faults = value.parse().ok()?,
            "--seed" => arguments.seed = value.parse().ok()?,
            "--pass" => {
                let known = Pass::ALL.into_iter().find(|pass| pass.name() == value);
                arguments.passes = vec![known?];
            }
            _ => return None,
        }
    }
    Some(arguments)
}
