//! A server on loopback, and the command as a person runs it.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// A session as the server has it.
pub(crate) type Session = WebSocket<TcpStream>;

pub(crate) const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

/// Serves every connection on a thread of its own with `serve`, which is told how many there were before.
pub(crate) fn server(serve: impl Fn(usize, Session) + Send + Sync + 'static) -> String {
    raw_server(move |number, stream| {
        if let Ok(session) = tungstenite::accept(stream) {
            serve(number, session);
        }
    })
}

/// As [`server`], for one that does not get as far as a session.
pub(crate) fn raw_server(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
            thread::spawn(move || serve(number, stream));
        }
    });
    format!("ws://{address}/feed")
}

/// Reads until the client has closed.
pub(crate) fn until_closed(mut session: Session) {
    while session.read().is_ok() {}
}

/// Sends texts and stays until the client has closed.
pub(crate) fn send_texts(mut session: Session, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        session.write(Message::text(text)).unwrap();
    }
    session.flush().unwrap();
    until_closed(session);
}

/// Closes with 1000 and waits for the client's answer.
pub(crate) fn close(mut session: Session) {
    session.close(None).unwrap();
    until_closed(session);
}

/// The command with these arguments.
pub(crate) fn ropewalk(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    ropewalk(arguments).output().unwrap()
}

/// Starts the command with its outputs in pipes.
pub(crate) fn start(arguments: &[&str]) -> Child {
    ropewalk(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every line as JSON.
pub(crate) fn records(bytes: &[u8]) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text(bytes).lines().map(parse).collect()
}

/// A file in this test's own directory.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    directory.join(format!("{}-{name}", std::process::id()))
}

/// A file with this text.
pub(crate) fn written(name: &str, text: &str) -> PathBuf {
    let path = scratch(name);
    std::fs::write(&path, text).unwrap();
    path
}
