//! How a person reaches a fleet that runs with a store: `STORE.sock`, one JSON object a line each way.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::args::ControlArguments;
use crate::table::{Align, Table};

/// How long a peer may keep the other waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest request, in bytes.
const REQUEST_MAX: u64 = 1 << 20;

/// What is asked of a running fleet.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Look for letters that were marked; from now on so many go back a second.
    Refresh { rate: Option<NonZeroU32> },
    /// Stop these connections, or all.
    Pause { names: Vec<String> },
    /// Let them go on.
    Resume { names: Vec<String> },
    /// Process no more messages of these connections, or of all.
    PauseProcessing { names: Vec<String> },
    /// Process them again.
    ResumeProcessing { names: Vec<String> },
    /// Tell how these stand, or all.
    Status { names: Vec<String> },
}

/// What it answers.
#[derive(Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// Those that were asked about.
    pub(crate) connections: Vec<Standing>,
    /// Names that no connection has.
    pub(crate) unknown: Vec<String>,
}

/// How a connection stands.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) state: String,
}

/// Whoever can do what is asked.
pub(crate) type Fleet = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    path: PathBuf,
    socket: UnixListener,
}

/// Why a fleet cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("another process runs with this store: it listens on {}", .0.display())]
    Taken(PathBuf),
    #[error("cannot listen on {}: {error}", path.display())]
    System { path: PathBuf, error: io::Error },
}

impl Listener {
    /// Takes the store's socket. What a process that was killed left behind is removed.
    pub(crate) fn bind(store: &Path) -> Result<Self, ListenError> {
        let path = socket_of(store);
        let system = |error| ListenError::System {
            path: path.clone(),
            error,
        };
        if path.exists() {
            if UnixStream::connect(&path).is_ok() {
                return Err(ListenError::Taken(path));
            }
            fs::remove_file(&path).map_err(system)?;
        }
        let socket = UnixListener::bind(&path).map_err(system)?;
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, owner_only).map_err(system)?;
        Ok(Self { path, socket })
    }

    /// Answers on a thread of its own, one after the other.
    pub(crate) fn serve(&self, fleet: Fleet) -> io::Result<()> {
        let socket = self.socket.try_clone()?;
        thread::Builder::new()
            .name("ropewalk-control".into())
            .spawn(move || {
                for stream in socket.incoming().map_while(Result::ok) {
                    // Whoever hangs up or talks nonsense harms itself only.
                    let _ = answer(stream, &fleet);
                }
            })?;
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn answer(mut stream: UnixStream, fleet: &Fleet) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(REQUEST_MAX)).read_line(&mut line)?;
    let answer = fleet(serde_json::from_str(&line)?);
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.write_all(&text)
}

/// Tells a fleet that runs with this store, if there is one, that letters were marked.
pub(crate) fn refresh(store: &Path, rate: Option<NonZeroU32>) {
    // None that runs is as good: the next one looks by itself.
    drop(ask(store, &Request::Refresh { rate }));
}

/// `ropewalk pause`, `resume` and `status`.
pub(crate) fn run(
    arguments: ControlArguments,
    request: fn(Vec<String>) -> Request,
) -> Result<ExitCode, Failure> {
    let answer = ask(&arguments.store, &request(arguments.names)).map_err(|error| {
        let store = arguments.store.display();
        Failure::runtime(format_args!("no fleet runs with {store}: {error}"))
    })?;
    let mut text = String::new();
    if arguments.json {
        for standing in &answer.connections {
            let line = serde_json::to_string(standing).expect("strings are JSON");
            text.push_str(&line);
            text.push('\n');
        }
    } else if !answer.connections.is_empty() {
        let mut table = Table::new([("connection", Align::Left), ("state", Align::Left)]);
        for Standing { name, state } in answer.connections {
            table.row([name.escape_debug().to_string(), state]);
        }
        text = format!("{table}\n");
    }
    // Whoever closed the pipe has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    for name in &answer.unknown {
        crate::complain(format_args!("there is no connection `{name}`"));
    }
    Ok(if answer.unknown.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(crate::FAILURE)
    })
}

fn ask(store: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket_of(store))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

fn socket_of(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".sock");
    name.into()
}
