//! `ropewalk tap` from outside.

mod support;

use std::io::{BufRead, BufReader, Read, Write};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{
    RUNTIMES, close, raw_server, records, run, scratch, send_texts, server, start, text,
    until_closed, written,
};
use tungstenite::Message;

fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| number.to_string())
}

#[test]
fn every_message_is_one_record_in_order_on_every_runtime() {
    for runtime in RUNTIMES {
        let url = server(|_, session| send_texts(session, numbers(1_000)));
        let output = run(&[
            "tap",
            "--runtime",
            runtime,
            "--count",
            "1000",
            &format!("feed={url}"),
        ]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let records = records(&output.stdout);
        assert_eq!(records.len(), 1_000);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record["connection"], "feed");
            assert_eq!(record["generation"], 1);
            assert_eq!(record["seq"], number + 1);
            assert_eq!(record["type"], "text");
            assert_eq!(record["data"], number.to_string());
            let received_at = record["received_at"].as_str().unwrap();
            assert_eq!(received_at.len(), "2026-01-31T23:59:59.000000Z".len());
            assert!(received_at.ends_with('Z'));
        }
        let row = stderr
            .lines()
            .find(|line| line.starts_with("feed "))
            .unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells[1..4], ["1000", "2890", "1"], "{stderr}");
        assert!(
            stderr.contains("CPU time") && stderr.contains("peak memory"),
            "{stderr}"
        );
    }
}

#[test]
fn binary_messages_are_in_base64_and_large_ones_are_whole() {
    let large = "x".repeat(1 << 20);
    let sent = large.clone();
    let url = server(move |_, mut session| {
        session
            .send(Message::binary(vec![0xff, 0xfe, 0xfd]))
            .unwrap();
        session.send(Message::text(sent.clone())).unwrap();
        until_closed(session);
    });
    let output = run(&["tap", "--quiet", "--count", "2", &url]);
    let records = records(&output.stdout);
    assert_eq!(
        (&records[0]["type"], &records[0]["data"]),
        (&json!("binary"), &json!("//79"))
    );
    assert_eq!(records[1]["data"], large);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_lost_session_is_dialled_again_and_numbers_go_on() {
    let url = server(|number, session| {
        if number < 2 {
            let mut session = session;
            session
                .send(Message::text(format!("session {number}")))
                .unwrap();
            drop(session);
        } else {
            send_texts(session, ["the last".to_owned()]);
        }
    });
    let config = written(
        "again.toml",
        &format!(
            "[[connection]]\nname = \"feed\"\nurl = \"{url}\"\n[connection.backoff]\ninitial = \"10ms\"\nfloor = \"10ms\"\nfirst_max = \"10ms\"\n"
        ),
    );
    let events = scratch("again.jsonl");
    let (config, path) = (config.to_str().unwrap(), events.to_str().unwrap());
    let output = run(&["tap", "--config", config, "--events", path, "--count", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let seen: Vec<_> = records(&output.stdout)
        .iter()
        .map(|record| (record["generation"].clone(), record["seq"].clone()))
        .collect();
    assert_eq!(seen, [1, 2, 3].map(|number| (json!(number), json!(number))));
    let events = records(&std::fs::read(events).unwrap());
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("ready"), count("retrying")), (3, 2));
    let closed = events
        .iter()
        .find(|event| event["event"] == "closed")
        .unwrap();
    assert_eq!(closed["connection"], "feed");
    assert!(
        closed["reason"]
            .as_str()
            .unwrap()
            .contains("without a close frame"),
        "{closed}"
    );
    assert!(closed["at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn one_url_may_be_given_many_times() {
    let url = server(|_, session| send_texts(session, ["once".to_owned()]));
    let address = url.strip_prefix("ws://").unwrap();
    let output = run(&[
        "tap",
        "--quiet",
        "--count",
        "3",
        &url,
        &format!("mine={url}"),
        &url,
    ]);
    let mut names: Vec<_> = records(&output.stdout)
        .iter()
        .map(|record| record["connection"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            address.to_owned(),
            format!("{address}#2"),
            "mine".to_owned()
        ]
    );
}

#[test]
fn the_ready_script_resumes_after_the_last_number() {
    let url = server(|number, mut session| {
        let request = session.read().unwrap();
        session
            .send(Message::text(format!("{{\"resumed\":{request}}}")))
            .unwrap();
        let first = if number == 0 { 5 } else { 7 };
        for seq in first..first + 2 {
            session
                .send(Message::text(format!("{{\"data\":{{\"seq\":{seq}}}}}")))
                .unwrap();
        }
        close(session);
    });
    let config = written(
        "resume.toml",
        &format!(
            "[defaults.backoff]\nfirst_max = \"10ms\"\ninitial = \"10ms\"\nfloor = \"10ms\"\n[[connection]]\nurl = \"{url}\"\nready = ['{{\"from\":${{next}}}}', {{ expect = \"resumed\" }}]\nresume = {{ sequence = \"/data/seq\", start = 5 }}\n"
        ),
    );
    let output = run(&[
        "tap",
        "--config",
        config.to_str().unwrap(),
        "--quiet",
        "--count",
        "6",
    ]);
    let texts = text(&output.stdout);
    assert!(texts.contains(r#"{\"resumed\":{\"from\":5}}"#), "{texts}");
    assert!(texts.contains(r#"{\"resumed\":{\"from\":7}}"#), "{texts}");
}

#[test]
fn it_ends_with_status_1_when_every_connection_gave_up() {
    let url = raw_server(|_, mut stream| {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let output = run(&["tap", &url, &url]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let gave_up = |line: &&str| line.contains(r#""event":"gave_up""#) && line.contains("403");
    assert_eq!(stderr.lines().filter(gave_up).count(), 2, "{stderr}");
}

#[test]
fn it_ends_when_its_time_is_up() {
    let url = server(|_, session| until_closed(session));
    let output = run(&["tap", "--for", "300ms", &url]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn an_interrupt_closes_gracefully_and_prints_the_summary() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (told, closed) = std::sync::mpsc::channel();
        let url = server(move |_, mut session| {
            session.send(Message::text("up")).unwrap();
            let is_close = session.read().is_ok_and(|message| message.is_close());
            told.send(is_close).unwrap();
            until_closed(session);
        });
        let mut child = start(&["tap", &url]);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(closed.recv().unwrap(), "there was no close frame");
        assert!(text(&output.stderr).contains("1 connections, 1 messages"));
    }
}

#[test]
fn it_ends_quietly_when_its_reader_goes_away() {
    let url = server(|_, mut session| {
        // More than any pipe holds.
        for _ in 0..100_000 {
            session.write(Message::text("more")).unwrap();
        }
        session.flush().unwrap();
        until_closed(session);
    });
    let mut child = start(&["tap", "--quiet", &url]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.ends_with("}\n"));
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn invalid_messages_are_filtered_when_json_is_asked_for() {
    let url = server(|_, session| send_texts(session, ["{}", "{", "[1]"].map(str::to_owned)));
    let config = written(
        "json.toml",
        &format!("[[connection]]\nurl = \"{url}\"\n[connection.decode]\nformat = \"json\"\n"),
    );
    let config = config.to_str().unwrap();
    let output = run(&["tap", "--config", config, "--count", "2", "--events", "-"]);
    let records = records(&output.stdout);
    let filtered: Vec<&Value> = records
        .iter()
        .filter(|r| r["event"] == "filtered")
        .collect();
    assert_eq!(filtered.len(), 1);
    assert_eq!(filtered[0]["seq"], 2);
    let seen: Vec<_> = records
        .iter()
        .filter_map(|record| record["data"].as_str())
        .collect();
    assert_eq!(seen, ["{}", "[1]"]);
}
