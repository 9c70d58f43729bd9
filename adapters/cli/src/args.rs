//! What a person can type.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ropewalk_core::settings::parse_duration;
use ropewalk_driver::LetterState;

use crate::letters::Form;
use crate::output::Place;
use crate::runtime::RuntimeName;

/// Keeps many WebSocket connections alive.
#[derive(Debug, Parser)]
#[command(name = "ropewalk", version, arg_required_else_help = true, after_help = STATUS_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const STATUS_HELP: &str = "\
Exit status: 0 done; 1 every connection gave up, a message was not sent, or the demo lost something; 2 usage or configuration.
Interrupt once for a graceful end within 5 s, twice to end at once.

wss:// servers are trusted if an authority of this system vouches for them. SSL_CERT_FILE names a file with other
authorities, in PEM; a configuration can do so for each connection.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Tap(TapArguments),
    Send(SendArguments),
    Demo(DemoArguments),
    Echo(EchoArguments),
    Check(CheckArguments),
    #[command(subcommand)]
    Letters(LettersCommand),
    /// Stops connections of the fleet that runs with a store, or all, until they are resumed
    Pause(PauseArguments),
    /// Lets paused connections go on
    Resume(PauseArguments),
    /// Tells how the connections of the fleet stand that runs with a store
    Status(ControlArguments),
}

/// Decides about messages that could not be delivered or processed
#[derive(Debug, Subcommand)]
#[command(after_help = LETTERS_HELP)]
pub(crate) enum LettersCommand {
    /// Lists letters that nothing is decided about
    List(ListArguments),
    /// Shows letters with their payload and history
    Show(Marking),
    /// Sends letters back to their connection: at once if a fleet runs with the store, else when the next does
    Retry(Marking),
    /// Puts something else in the place of a letter's payload, for the next retry
    Edit(EditArguments),
    /// Leaves letters alone, `redrive` included, until `retry` names them
    Hold(Marking),
    /// Gives letters up; they stay in the store
    Discard(Marking),
    /// Retries all letters that wait
    Redrive(RedriveArguments),
    /// Writes letters in every state with their history, as JSON
    Export(ExportArguments),
}

const LETTERS_HELP: &str = "\
A letter is waiting, held, retrying, discarded or delivered. One that is retried is delivered once if nothing interrupts
it, at least once otherwise. Exit status 1 if something could not be done to one of the letters.";

/// Letters of a store.
#[derive(Args, Debug)]
pub(crate) struct Marking {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// The letters' numbers
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<u64>,
    /// One JSON object a letter
    #[arg(long)]
    pub(crate) json: bool,
}

impl Marking {
    pub(crate) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Words }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// Only these letters
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<u64>,
    /// Only letters in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = letter_state)]
    state: Vec<LetterState>,
    /// Letters in every state
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only letters of this connection
    #[arg(long, value_name = "NAME")]
    pub(crate) connection: Option<String>,
    /// One JSON object a letter, with its payload
    #[arg(long)]
    pub(crate) json: bool,
}

impl ListArguments {
    /// The states to list: those that were asked for, all of letters that were named, or those that are undecided.
    pub(crate) fn states(&self) -> Vec<LetterState> {
        if !self.state.is_empty() {
            self.state.clone()
        } else if self.all || !self.ids.is_empty() {
            LetterState::ALL.to_vec()
        } else {
            LetterState::UNDECIDED.to_vec()
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct EditArguments {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// The letter's number
    pub(crate) id: u64,
    /// The new payload [default: what is read from standard input]
    #[arg(long, value_name = "TEXT")]
    pub(crate) data: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RedriveArguments {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// How many letters a second go back, in the fleet that runs with the store [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// Only these letters
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<u64>,
    /// As without: it is JSON always
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ControlArguments {
    /// The file that `[letters] store` of the configuration names
    pub(crate) store: PathBuf,
    /// Only these connections
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// One JSON object a connection
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PauseArguments {
    #[command(flatten)]
    pub(crate) control: ControlArguments,
    /// Not the connections, but what processes their messages: these wait meanwhile, and the sockets stay
    #[arg(long)]
    pub(crate) processing: bool,
}

/// Connects to every URL, each with its own reconnect loop, and writes one JSON object a message.
#[derive(Args, Debug)]
#[command(after_help = TAP_HELP)]
pub(crate) struct TapArguments {
    /// Connections and settings, as TOML; `ropewalk check` prints every key
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The async runtime [default: the configuration's, or tokio]
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeName>,
    /// Where events go, `-` for standard output [default: standard error, readable on a terminal and JSON otherwise]
    #[arg(long, value_name = "FILE|-", value_parser = place)]
    pub(crate) events: Option<Place>,
    /// Where messages go, `-` for standard output
    #[arg(long, value_name = "FILE|-", default_value = "-", value_parser = place)]
    pub(crate) output: Place,
    /// End after this many messages of all connections together
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroU64>,
    /// End after this long, such as `30s` or `5m`
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Neither the summary nor, unless --events is given, events
    #[arg(long)]
    pub(crate) quiet: bool,
    /// What to connect to; the same URL may be given many times
    #[arg(value_name = "[NAME=]URL", required_unless_present = "config", value_parser = named_url)]
    pub(crate) urls: Vec<NamedUrl>,
}

const TAP_HELP: &str = r#"A message: {"connection":"trades","generation":1,"seq":17,"received_at":"2026-01-31T23:59:59.000001Z","type":"text","data":"…"}
The data of a binary message is in base64. `seq` counts a connection's messages from 1 across all its sockets."#;

/// Sends every line of standard input as a text message, and says what became of each.
///
/// It ends when the input has ended and every outcome is known. What arrives meanwhile is not shown.
#[derive(Args, Debug)]
#[command(after_help = SEND_HELP)]
pub(crate) struct SendArguments {
    /// Settings, as TOML: those of the connection that has this URL or name, otherwise the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The async runtime [default: the configuration's, or tokio]
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeName>,
    /// One JSON object a message instead of words
    #[arg(long)]
    pub(crate) json: bool,
    /// What to connect to
    #[arg(value_name = "URL")]
    pub(crate) url: String,
}

const SEND_HELP: &str = r#"An outcome: {"line":17,"outcome":"written","at":"2026-01-31T23:59:59.000001Z"}, in the order of the lines. It is written (the
system took the last byte), acknowledged (the reply came that the configuration asks for), interrupted (the socket was lost
in the middle), not_sent, expired or dropped. Exit status 0 if every message was written or acknowledged; 1 otherwise.
A line is at most 16 MiB of UTF-8; an interrupt leaves what is not read unread."#;

/// Fifty connections against a hostile server of its own: it refuses, stalls, resets in mid-frame and
/// restarts, and nothing may be lost. Dead letters are listed and redriven at the end.
///
/// Exit status 0 if no message was lost or met two fates, and every letter came back once; 1 otherwise.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// The async runtime
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// How long the server is hostile, such as `20s` or `5m`
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub(crate) time: Duration,
    /// Repeats the server's messages and faults [default: drawn from the clock]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// One session, no reconnect: sends every data message back until the server closes.
///
/// Exit status 0 if the server closed the session with a close frame; 1 otherwise.
#[derive(Args, Debug)]
pub(crate) struct EchoArguments {
    /// The async runtime
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,
    /// Offer permessage-deflate (RFC 7692) with context takeover on both sides
    #[arg(long)]
    pub(crate) compress: bool,
    /// What to connect to
    pub(crate) url: String,
}

/// Validates a configuration and prints the whole of it, with its defaults, as TOML.
///
/// What is printed is itself a configuration; it repeats the file's secrets, if there are any.
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// The configuration
    pub(crate) file: PathBuf,
}

/// A URL from the command line, with the name that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedUrl {
    pub(crate) name: Option<String>,
    pub(crate) url: String,
}

/// Reads the command line; on a wrong one, says what is wrong and ends the process with status 2.
pub(crate) fn parse() -> Arguments {
    Arguments::parse()
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "" => Err("a file name, or `-`".to_owned()),
        text => Ok(Place::parse(text)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn letter_state(text: &str) -> Result<LetterState, String> {
    let found = LetterState::ALL
        .into_iter()
        .find(|state| state.name() == text);
    found.ok_or_else(|| {
        let names = LetterState::ALL.map(LetterState::name);
        format!("one of {}", names.join(", "))
    })
}

fn named_url(text: &str) -> Result<NamedUrl, String> {
    // A `=` behind the scheme belongs to the URL's query.
    let before_scheme = text.split("://").next().unwrap_or_default();
    Ok(match before_scheme.split_once('=') {
        Some(("", _)) => return Err("there is no name before `=`".to_owned()),
        Some((name, _)) => NamedUrl {
            name: Some(name.to_owned()),
            url: text[name.len() + 1..].to_owned(),
        },
        None => NamedUrl {
            name: None,
            url: text.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_name_stands_before_its_url() {
        let table = [
            ("ws://a/?k=v", None, "ws://a/?k=v"),
            ("trades=ws://a/?k=v", Some("trades"), "ws://a/?k=v"),
            ("x=y=ws://a", Some("x"), "y=ws://a"),
        ];
        for (text, name, url) in table {
            let expected = NamedUrl {
                name: name.map(str::to_owned),
                url: url.to_owned(),
            };
            assert_eq!(named_url(text), Ok(expected));
        }
        assert!(named_url("=ws://a").is_err());
    }
}
