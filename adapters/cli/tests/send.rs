//! `ropewalk send` from outside.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::{RUNTIMES, raw_server, records, ropewalk, server, text, until_closed, written};
use tungstenite::Message;

fn start(arguments: &[&str]) -> Child {
    ropewalk(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the command with this input to its end.
fn send(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = start(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that ends before its input leaves the rest.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn outcomes(output: &Output) -> Vec<(u64, String)> {
    let outcome = |record: Value| {
        let at = record["at"].as_str().unwrap();
        assert!(at.ends_with('Z') && at.starts_with("20"), "{at}");
        let line = record["line"].as_u64().unwrap();
        (line, record["outcome"].as_str().unwrap().to_owned())
    };
    records(&output.stdout).into_iter().map(outcome).collect()
}

#[test]
fn every_line_is_a_message_in_order_on_every_runtime() {
    for runtime in RUNTIMES {
        let (told, heard) = mpsc::channel();
        let url = server(move |_, mut session| {
            while let Ok(message) = session.read() {
                if let Message::Text(text) = message {
                    told.send(text.to_string()).unwrap();
                }
            }
        });
        let lines: Vec<String> = (0..3_000).map(|n| format!("l\u{ef}ne {n}")).collect();
        let arguments = ["send", "--json", "--runtime", runtime, &url];
        let output = send(&arguments, lines.join("\n").as_bytes());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let wanted: Vec<_> = (1..=3_000)
            .map(|line| (line, "written".to_owned()))
            .collect();
        assert_eq!(outcomes(&output), wanted);
        assert_eq!(heard.iter().take(3_000).collect::<Vec<_>>(), lines);
    }
}

#[test]
fn words_are_for_people_and_an_empty_input_ends_at_once() {
    let url = server(|_, session| until_closed(session));
    let output = send(&["send", &url], b"a\n\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "line 1: written\nline 2: written\n");
    let output = send(&["send", "ws://127.0.0.1:1"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn replies_acknowledge_and_newer_lines_replace_those_that_wait() {
    let url = server(|_, mut session| {
        while let Ok(message) = session.read() {
            if message.is_text() && session.send(message).is_err() {
                return;
            }
        }
    });
    let config = written(
        "acknowledge.toml",
        &format!(
            "[[connection]]\nname = \"orders\"\nurl = \"{url}\"\n[connection.outbound]\n\
             acknowledge = {{ request = \"/id\", reply = \"/id\" }}\n"
        ),
    );
    let config = config.to_str().unwrap();
    let input = b"{\"id\":1}\n{\"id\":\"b\"}\n{\"note\":true}\n";
    let output = send(&["send", "--json", "--config", config, "orders"], input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let words: Vec<_> = outcomes(&output)
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(words, ["acknowledged", "acknowledged", "written"]);

    // The first session is refused, so that all lines wait for the second.
    let (told, heard) = mpsc::channel();
    let url = raw_server(move |number, stream| {
        if number == 0 {
            stream.shutdown(Shutdown::Both).unwrap();
            return;
        }
        let mut session = tungstenite::accept(stream).unwrap();
        while let Ok(message) = session.read() {
            if message.is_text() {
                told.send(message.to_string()).unwrap();
            }
        }
    });
    let config = written(
        "coalesce.toml",
        &format!(
            "[[connection]]\nurl = \"{url}\"\n[connection.backoff]\nfirst_max = \"2s\"\nfloor = \"1s\"\ninitial = \"1s\"\n\
             [connection.outbound]\nwhen_full = \"coalesce\"\ncoalesce = \"/symbol\"\n"
        ),
    );
    let input = b"{\"symbol\":\"a\",\"n\":1}\n{\"symbol\":\"b\"}\n{\"symbol\":\"a\",\"n\":2}\n";
    let output = send(
        &["send", "--json", "--config", config.to_str().unwrap(), &url],
        input,
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let words: Vec<_> = outcomes(&output)
        .into_iter()
        .map(|(_, word)| word)
        .collect();
    assert_eq!(words, ["dropped", "written", "written"]);
    let arrived: Vec<_> = heard.iter().take(2).collect();
    assert_eq!(
        arrived,
        ["{\"symbol\":\"b\"}", "{\"symbol\":\"a\",\"n\":2}"]
    );
}

#[test]
fn a_line_that_is_no_message_is_named_and_those_before_it_are_sent() {
    let url = server(|_, session| until_closed(session));
    let output = send(&["send", "--json", &url], b"good\n\xff\nafter\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "ropewalk: line 2 is not UTF-8\n");
    assert_eq!(outcomes(&output), [(1, "written".to_owned())]);
}

#[test]
fn what_is_not_written_when_it_is_interrupted_is_told_of() {
    let (told, heard) = mpsc::channel();
    let (_never, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let url = server(move |_, session| {
        told.send(()).unwrap();
        // It reads nothing.
        let _ = blocked.lock().unwrap().recv();
        drop(session);
    });
    let mut child = start(&["send", "--json", &url]);
    let mut stdin = child.stdin.take().unwrap();
    let line = vec![b'x'; 15 << 20];
    for _ in 0..2 {
        stdin.write_all(&line).unwrap();
        stdin.write_all(b"\n").unwrap();
    }
    heard.recv().unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    // Neither fits into what a kernel holds, and there is room for one at a time.
    let told = outcomes(&output);
    assert!(
        matches!(&*told[0].1, "interrupted" | "not_sent"),
        "{told:?}"
    );
    assert!(
        told[1..].iter().all(|(_, word)| word == "not_sent"),
        "{told:?}"
    );
}

#[test]
fn a_connection_that_gives_up_ends_the_command() {
    let url = raw_server(|_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut child = start(&["send", "--json", &url]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a\n").unwrap();
    // The input stays open.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    let told: Vec<_> = text(&output.stderr).lines().map(str::to_owned).collect();
    let [first, second, last] = &told[..] else {
        panic!("two attempts are told of, and the end: {told:?}")
    };
    for retried in [first, second] {
        let begin = "ropewalk: the server answered HTTP 404; the next attempt is in ";
        assert!(retried.starts_with(begin), "{retried}");
    }
    assert!(
        last.starts_with("ropewalk: the connection gave up: "),
        "{last}"
    );
    assert_eq!(outcomes(&output), [(1, "not_sent".to_owned())]);
}

#[test]
fn an_output_that_is_closed_ends_it_quietly() {
    let url = server(|_, session| until_closed(session));
    let mut child = start(&["send", "--json", &url]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Until the command ends.
    while stdin.write_all(b"a line\n").is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.code().is_some());
}
