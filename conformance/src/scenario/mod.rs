//! Scenarios: a server's misbehaviour, an application's wishes and the trace that must follow.
//!
//! A scenario is a text file, one step a line. The folder `scenarios` holds them, and its `README.md` describes
//! the format.

mod parse;
mod server;
mod settings;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ropewalk_core::{
    Acknowledge, Coalesce, Config, Consumer, Decode, Expect, Hooks, Message, ReadyStep, Reply,
    Resume, Settings, Template,
};

use crate::script::DialPlan;
use crate::trace::Trace;

/// A scenario, read and checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Where it can run.
    pub place: Place,
    /// The connections, in the order in which they are opened.
    pub connections: Vec<ConnectionPlan>,
    /// What the application does. A shutdown with a deadline of two seconds follows unless it ends with one.
    pub story: Vec<StoryStep>,
    /// What must happen.
    pub expected: Trace,
}

/// Where a scenario can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the simulator and over sockets.
    Everywhere,
    /// Only in the simulator, for this reason.
    SimulatorOnly(String),
}

/// A connection and its servers.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    /// Its name in the scenario.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// How many endpoints it has; each has a server of its own.
    pub endpoints: usize,
    /// The host name to put in its URL instead of an address (simulator only).
    pub host: Option<String>,
    /// Share the address of this connection (simulator only).
    pub shares: Option<String>,
    /// Headers of its requests.
    pub headers: Vec<(String, String)>,
    /// Subprotocols that it offers.
    pub subprotocols: Vec<String>,
    /// Whether the server must choose one.
    pub subprotocol_need: Need,
    /// Its ready script.
    pub ready: Vec<ReadyLine>,
    /// Messages that begin with a number are counted from this one.
    pub resume: Option<u64>,
    /// Messages that begin with this do not decode.
    pub invalid: Option<String>,
    /// What stands before this is what a message is about: a newer one replaces it.
    pub coalesce: Option<String>,
    /// What stands before this is what a request and its reply have in common.
    pub acknowledge: Option<String>,
    /// Who takes its messages.
    pub consumer: Consumer,
    /// Whether they are taken from the start.
    pub consuming: Consuming,
    /// What the server does: from this dial on, up to the next entry's unless `Reach::One`.
    pub dials: Vec<(u32, Reach, DialPlan)>,
}

/// Whether something is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may be missing.
    Optional,
    /// It may not.
    Required,
}

/// Whether a consumer takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consuming {
    /// It asks again as soon as it is done.
    Yes,
    /// It does not ask.
    Held,
}

/// For which dials a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This one.
    One,
    /// This one and those after it that have no plan of their own.
    Onwards,
}

/// A line of a ready script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyLine {
    /// Send this template.
    Send(String),
    /// Wait for a message that contains the first, and take the second for a refusal.
    Expect(String, Option<String>),
}

/// A step of the story.
#[derive(Clone, Debug, PartialEq)]
pub struct StoryStep {
    /// The line of the file, counted from 1.
    pub line: usize,
    /// What to do.
    pub action: Action,
}

/// What the application does, or waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a message; wait for room if there is none.
    Send(String, Message),
    /// Send a message that is refused because the connection has ended.
    SendRefused(String, Message),
    /// Pause a connection.
    Pause(String),
    /// Resume a connection.
    Resume(String),
    /// End a connection's wait for its next attempt.
    RetryNow(String),
    /// Let a connection's consumer take messages.
    Consume(String),
    /// Let a connection's consumer take no more.
    Hold(String),
    /// End one connection gracefully, and wait for that.
    Close(String, Duration),
    /// Shut everything down, and wait for that.
    Shutdown(Duration),
    /// Let a server's script go on.
    Signal(String),
    /// Wait this long.
    Sleep(Duration),
    /// Wait until a token like this was traced, after the one that the last such step found.
    UntilState(String, String),
    /// Wait until this many messages were received, in all.
    UntilReceived(String, usize),
    /// Wait until this many messages have an outcome, in all.
    UntilOutcomes(String, usize),
    /// Wait until this many dead letters came.
    UntilLetters(String, usize),
    /// Wait until the server is ready for a dial, after it has refused others. Simulated servers always are.
    UntilListening(String, u32),
    /// Wait until the script of a dial is done.
    UntilServed(String, u32),
}

/// A file that is not a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", file.display())]
pub struct ScenarioError {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ScenarioError`] if it cannot be read or is not a scenario.
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(file).map_err(|error| ScenarioError {
            file: file.to_owned(),
            line: 0,
            problem: error.to_string(),
        })?;
        Self::parse(file, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ScenarioError`] if it is not a scenario.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        parse::scenario(file, text)
    }

    /// Reads all scenarios of this package, in the order of their names.
    ///
    /// # Errors
    /// [`ScenarioError`] of the first that is none.
    pub fn all() -> Result<Vec<Self>, ScenarioError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let unreadable = |error: std::io::Error| ScenarioError {
            file: folder.clone(),
            line: 0,
            problem: error.to_string(),
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|ending| ending == "scn") {
                files.push(path);
            }
        }
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    /// Whether it moves so much that a byte at a time would take too long.
    pub fn is_heavy(&self) -> bool {
        self.story
            .iter()
            .any(|step| matches!(&step.action, Action::Send(_, message) if message.len() > 50_000))
    }

    /// The plan of a connection.
    pub fn connection(&self, name: &str) -> Option<&ConnectionPlan> {
        self.connections.iter().find(|plan| plan.name == name)
    }
}

impl ConnectionPlan {
    /// What the server does with a dial. Without a plan it accepts and echoes.
    pub fn dial(&self, number: u32) -> DialPlan {
        let exact = |(at, ..): &&(u32, Reach, DialPlan)| *at == number;
        let before =
            |(at, reach, _): &&(u32, Reach, DialPlan)| *at <= number && *reach == Reach::Onwards;
        let found = self
            .dials
            .iter()
            .find(exact)
            .or_else(|| self.dials.iter().filter(before).max_by_key(|(at, ..)| *at));
        found.map_or_else(server::echo_plan, |(.., plan)| plan.clone())
    }

    /// What only code can configure: the ready script, the numbers, the decoder.
    ///
    /// # Panics
    /// If a template was not checked when the scenario was read.
    pub fn hooks(&self) -> Hooks {
        let ready = self.ready.iter().map(|line| match line {
            ReadyLine::Send(text) => {
                ReadyStep::Send(Template::parse(text).expect("checked when the scenario was read"))
            }
            ReadyLine::Expect(wanted, refusal) => {
                ReadyStep::Expect(expect(wanted.clone(), refusal.clone()))
            }
        });
        let resume = self
            .resume
            .map(|start| Resume::new(start, |message| leading_number(message.as_bytes())));
        let decode = self.invalid.clone().map(|prefix| {
            Decode::new(move |message| {
                if message.as_bytes().starts_with(prefix.as_bytes()) {
                    Err(format!("begins with {prefix:?}").into())
                } else {
                    Ok(())
                }
            })
        });
        let coalesce = self.coalesce.clone().map(|separator| {
            Coalesce::new(move |message| text_before(&separator, message.as_bytes()))
        });
        let acknowledge = self.acknowledge.clone().map(|separator| {
            let other = separator.clone();
            Acknowledge::new(
                move |request| text_before(&separator, request.as_bytes()),
                move |reply| text_before(&other, reply.as_bytes()),
            )
        });
        Hooks {
            ready: ready.collect(),
            resume,
            decode,
            coalesce,
            acknowledge,
            ..Hooks::default()
        }
    }

    /// Settings and hooks together.
    ///
    /// # Errors
    /// What the core finds wrong with them.
    pub fn config(&self) -> Result<Config, String> {
        Config::new(self.settings.clone(), self.hooks()).map_err(|error| error.to_string())
    }
}

fn expect(wanted: String, refusal: Option<String>) -> Expect {
    Expect::new(move |message| match message.text() {
        Ok(text) if text.contains(&wanted) => Reply::Accepted,
        Ok(text) if refusal.as_ref().is_some_and(|no| text.contains(no)) => {
            Reply::Refused(text.into())
        }
        Ok(_) | Err(_) => Reply::Other,
    })
}

fn text_before(separator: &str, payload: &[u8]) -> Option<Bytes> {
    let (before, _) = std::str::from_utf8(payload).ok()?.split_once(separator)?;
    Some(Bytes::copy_from_slice(before.as_bytes()))
}

/// The number at the start of a message.
pub(crate) fn leading_number(payload: &[u8]) -> Option<u64> {
    let digits = payload.iter().take_while(|byte| byte.is_ascii_digit());
    let text: String = digits.map(|byte| char::from(*byte)).collect();
    text.parse().ok()
}

#[cfg(test)]
mod tests;
