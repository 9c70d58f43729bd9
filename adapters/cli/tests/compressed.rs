//! `ropewalk echo --compress` and `tap` with `[connection.deflate]` from outside.

#[allow(dead_code, reason = "the driver's tests use all of it")]
#[path = "../../driver/tests/suite/deflating.rs"]
mod deflating;
mod support;

use std::sync::mpsc::channel;

use deflating::{CLOSE, FIN, RSV1, Session, TEXT};
use serde_json::json;
use support::{RUNTIMES, raw_server, records, run, scratch, text, written};

/// Texts on both sides of the threshold, which is 64 bytes.
fn texts() -> Vec<String> {
    let long =
        |number: usize| format!("the price of number {number} is as it was; ").repeat(number);
    let short = ["", "short"].map(str::to_owned).into_iter();
    short.chain((2..100).map(long)).collect()
}

#[test]
fn compressed_messages_come_back_compressed_on_every_runtime() {
    for runtime in RUNTIMES {
        let (told, heard) = channel();
        let url = raw_server(move |_, stream| {
            let mut session = Session::accept(stream, "permessage-deflate").unwrap();
            for text in texts() {
                session.send_text(&text);
            }
            for _ in texts() {
                let frame = session.frame().unwrap();
                told.send((frame.0, session.message(&frame))).unwrap();
            }
            session.send(FIN | CLOSE, &1000_u16.to_be_bytes());
            session.farewell();
        });
        let output = run(&["echo", "--compress", "--runtime", runtime, &url]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let expected = texts().into_iter().map(|text| match text.len() {
            0..64 => (FIN | TEXT, text),
            _ => (FIN | RSV1 | TEXT, text),
        });
        assert!(heard.try_iter().eq(expected), "something came back changed");
    }
}

#[test]
fn the_configuration_says_what_is_offered_and_the_event_what_was_agreed() {
    let (told, heard) = channel();
    let url = raw_server(move |number, mut stream| {
        // The first server declines.
        let answer = match number {
            0 => "",
            _ => "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10",
        };
        let offer = deflating::upgrade(&mut stream, answer).unwrap();
        told.send(offer.unwrap()).unwrap();
        let mut session = Session::new(stream);
        if number == 0 {
            session.send(FIN | TEXT, b"plain");
            session.send(FIN | CLOSE, &1000_u16.to_be_bytes());
        } else {
            session.send_text("compressed");
        }
        session.farewell();
    });
    let config = written(
        "compressed.toml",
        &format!(
            "[[connection]]\nname = \"feed\"\nurl = \"{url}\"\n\
             [connection.deflate]\nserver_max_window_bits = 12\nclient_no_context_takeover = true\n\
             [connection.backoff]\ninitial = \"10ms\"\nfloor = \"10ms\"\nfirst_max = \"10ms\"\n"
        ),
    );
    let events = scratch("compressed.jsonl");
    let (config, path) = (config.to_str().unwrap(), events.to_str().unwrap());
    let output = run(&["tap", "--config", config, "--events", path, "--count", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let offer = "permessage-deflate; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits";
    assert_eq!(heard.iter().take(2).collect::<Vec<_>>(), [offer; 2]);
    let data: Vec<_> = records(&output.stdout)
        .iter()
        .map(|record| record["data"].clone())
        .collect();
    assert_eq!(data, ["plain", "compressed"]);
    let events = records(&std::fs::read(events).unwrap());
    let agreed: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "ready")
        .map(|event| event.get("compression"))
        .collect();
    let expected = json!({
        "server_no_context_takeover": false,
        "client_no_context_takeover": true,
        "server_max_window_bits": 11,
        "client_max_window_bits": 10,
    });
    assert_eq!(agreed, [None, Some(&expected)]);
}
