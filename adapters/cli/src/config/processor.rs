//! `[connection.processor]`: a command that judges messages.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ropewalk_core::settings::{
    Order, ProcessorSettings, RetryPolicy, WorkerBounds, format_duration, parse_duration,
};
use ropewalk_core::{MessageRef, PerKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::connection::Refusal;
use super::pointer::Pointer;

/// The command that messages are given to, and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProcessorKeys {
    /// The program and its arguments; defaults may leave it to their connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    order: OrderKeys,
    /// How long the command may take from one verdict to the next.
    #[serde(serialize_with = "write_duration", deserialize_with = "read_duration")]
    verdict_timeout: Duration,
    workers: WorkerBounds,
}

/// What is kept in order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(
    untagged,
    expecting = "expected \"strict\", \"none\", or a table { key = \"/…\" }"
)]
enum OrderKeys {
    Word(OrderWord),
    PerKey(KeyPlace),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum OrderWord {
    Strict,
    None,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyPlace {
    /// Where a message says what it is about.
    key: String,
}

const VERDICT_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for ProcessorKeys {
    fn default() -> Self {
        Self {
            command: None,
            order: OrderKeys::Word(OrderWord::Strict),
            verdict_timeout: VERDICT_TIMEOUT,
            workers: WorkerBounds::default(),
        }
    }
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessorPlan {
    /// Whose messages it judges.
    pub(crate) connection: String,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) verdict_timeout: Duration,
    /// How often a message is tried again.
    pub(crate) retries_max: u32,
}

impl ProcessorKeys {
    /// What is to be run, if a command is given.
    pub(super) fn plan(&self, connection: &str, retry: &RetryPolicy) -> Option<ProcessorPlan> {
        let (program, arguments) = self.command.as_deref()?.split_first()?;
        Some(ProcessorPlan {
            connection: connection.to_owned(),
            program: program.clone(),
            arguments: arguments.to_vec(),
            verdict_timeout: self.verdict_timeout,
            retries_max: retry.attempts_max,
        })
    }

    pub(super) fn has_command(&self) -> bool {
        self.command.is_some()
    }

    /// The part that is the library's.
    pub(super) fn settings(&self) -> ProcessorSettings {
        ProcessorSettings {
            workers: self.workers,
            order: match self.order {
                OrderKeys::Word(OrderWord::Strict) => Order::Strict,
                OrderKeys::Word(OrderWord::None) => Order::None,
                OrderKeys::PerKey(_) => Order::PerKey,
            },
        }
    }

    /// Finds what a message is about, if messages keep their order by that.
    pub(super) fn per_key(&self) -> Result<Option<PerKey>, Refusal> {
        let OrderKeys::PerKey(KeyPlace { key }) = &self.order else {
            return Ok(None);
        };
        let pointer =
            Pointer::parse(key).map_err(|error| Refusal::new("processor.order.key", error))?;
        let find = move |message: MessageRef<'_>| pointer.key_in(message.as_bytes());
        Ok(Some(PerKey::new(find)))
    }

    /// Whether its keys make sense, and the command could be started, as far as can be told without starting it.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.verdict_timeout.is_zero() {
            let problem = "it must be longer than nothing";
            return Err(Refusal::new("processor.verdict_timeout", problem));
        }
        self.per_key()?;
        let Some(command) = &self.command else {
            return Ok(());
        };
        let refuse =
            |index, problem: &str| Refusal::new(format!("processor.command[{index}]"), problem);
        let Some(program) = command.first() else {
            let problem = "it names no program: write `command = [\"program\", \"argument\"]`";
            return Err(Refusal::new("processor.command", problem));
        };
        if let Some(index) = command.iter().position(|word| word.contains('\0')) {
            return Err(refuse(index, "it contains a zero byte"));
        }
        match is_there(program) {
            true => Ok(()),
            false => Err(refuse(
                0,
                &format!("there is no program `{}`", program.escape_debug()),
            )),
        }
    }
}

/// Whether the system would find something to execute.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    !program.is_empty() && env::split_paths(&path).any(|place| is_executable(&place.join(program)))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(D::Error::custom)
}
