//! `ropewalk echo` from outside.

mod support;

use std::net::Shutdown;
use std::sync::mpsc;

use support::{RUNTIMES, close, raw_server, run, server, text};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

fn messages() -> Vec<Message> {
    let mut messages = vec![
        Message::text(""),
        Message::binary(Vec::new()),
        Message::text("h\u{e9}llo"),
        Message::binary(vec![0, 255]),
        Message::text("x".repeat(70_000)),
        Message::binary(vec![7; 1 << 20]),
    ];
    messages.extend((0..1_000).map(|number| Message::text(number.to_string())));
    messages
}

#[test]
fn every_message_comes_back_as_it_was_on_every_runtime() {
    for runtime in RUNTIMES {
        let (told, heard) = mpsc::channel();
        let url = server(move |_, mut session| {
            for message in messages() {
                session.write(message).unwrap();
            }
            session.flush().unwrap();
            let back: Vec<_> = messages().iter().map(|_| session.read().unwrap()).collect();
            told.send(back).unwrap();
            close(session);
        });
        let output = run(&["echo", "--runtime", runtime, &url]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(
            heard.recv().unwrap() == messages(),
            "something came back changed"
        );
    }
}

#[test]
fn a_session_that_is_not_closed_is_a_failure_and_there_is_only_one() {
    let (told, heard) = mpsc::channel();
    let url = server(move |number, session| {
        told.send(number).unwrap();
        session.get_ref().shutdown(Shutdown::Both).unwrap();
    });
    let output = run(&["echo", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("without a close frame"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_server_that_is_not_there_is_a_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = run(&["echo", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("refused"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
#[allow(
    clippy::result_large_err,
    reason = "the callback's type is tungstenite's"
)]
fn compression_is_offered_when_asked_for_and_only_then() {
    const EXTENSIONS: &str = "sec-websocket-extensions";
    for (options, expected) in [
        (
            &["--compress"][..],
            Some("permessage-deflate; client_max_window_bits"),
        ),
        (&[], None),
    ] {
        let (told, heard) = mpsc::channel();
        let url = raw_server(move |_, stream| {
            let see = |request: &Request, response: Response| {
                let offer = request.headers().get(EXTENSIONS);
                let offer = offer.map(|value| value.to_str().unwrap().to_owned());
                told.send(offer).unwrap();
                Ok(response)
            };
            // This server declines: the session goes on without.
            let mut session = tungstenite::accept_hdr(stream, see).unwrap();
            session.send(Message::text("plain")).unwrap();
            assert_eq!(session.read().unwrap(), Message::text("plain"));
            close(session);
        });
        let arguments: Vec<_> = ["echo"]
            .iter()
            .chain(options)
            .copied()
            .chain([&*url])
            .collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(heard.recv().unwrap().as_deref(), expected);
    }
}
