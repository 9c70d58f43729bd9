//! Dead letters that outlive the command, and what a person does about them.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use support::{RUNTIMES, records, run, scratch, server, start, text, until_closed, written};
use tungstenite::Message;

/// A server that sends these texts to every client.
fn sends(texts: &'static [&'static str]) -> String {
    server(move |_, mut session| {
        for text in texts {
            session.send(Message::text(*text)).unwrap();
        }
        until_closed(session);
    })
}

/// A store's file, and a configuration that has one connection `feed` and uses it.
fn configured(name: &str, url: &str) -> (PathBuf, PathBuf) {
    let store = scratch(&format!("{name}.sqlite"));
    let config = format!(
        "[[connection]]\nname = \"feed\"\nurl = \"{url}\"\n[connection.decode]\nformat = \"json\"\ndead_letter = true\n\
         [letters]\nstore = {store:?}\n"
    );
    (store, written(&format!("{name}.toml"), &config))
}

struct Tap {
    child: Child,
    events: Box<dyn Iterator<Item = Value>>,
}

impl Tap {
    fn start(config: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["tap", "--config", config.to_str().unwrap(), "--events", "-"];
        arguments.extend(more);
        let mut child = start(&arguments);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let parse = |line: Result<String, _>| serde_json::from_str(&line.ok()?).ok();
        Self {
            child,
            events: Box::new(lines.map_while(parse)),
        }
    }

    /// The next event of this name, or the next message if it is empty.
    fn until(&mut self, event: &str) -> Value {
        let is_it = |record: &Value| record["event"].as_str().unwrap_or_default() == event;
        self.events
            .find(is_it)
            .unwrap_or_else(|| panic!("no {event}"))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn interrupt(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn letters(arguments: &[&str], store: &Path, more: &[&str]) -> Output {
    let mut line = vec!["letters"];
    line.extend(arguments);
    line.push(store.to_str().unwrap());
    line.extend(more);
    run(&line)
}

fn listed(store: &Path, more: &[&str]) -> Vec<Value> {
    let output = letters(&["list", "--json"], store, more);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    records(&output.stdout)
}

fn states(store: &Path) -> Vec<String> {
    let states = listed(store, &["--all"]);
    states
        .iter()
        .map(|letter| letter["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn letters_outlive_a_killed_run_and_the_next_one_redrives_them() {
    for runtime in RUNTIMES {
        let url = sends(&["{}", "not json", "nor this"]);
        let (store, config) = configured(&format!("killed-{runtime}"), &url);
        let mut tap = Tap::start(&config, &["--runtime", runtime]);
        assert_eq!(tap.until("letter_stored")["letter"], 1);
        assert_eq!(tap.until("letter_stored")["letter"], 2);
        tap.kill();
        let found = listed(&store, &[]);
        let mut letter = found[0].clone();
        for time in ["received_at", "first_failed_at"] {
            let at = letter.as_object_mut().unwrap().remove(time).unwrap();
            assert_eq!(
                at.as_str().unwrap().len(),
                "2026-01-31T23:59:59.000000Z".len()
            );
        }
        let reason = letter["reason"].as_str().unwrap().to_owned();
        assert!(!reason.is_empty());
        let expected = json!({
            "id": 1, "connection": "feed", "endpoint": url, "generation": 1, "seq": 2, "direction": "inbound",
            "stage": "protocol", "reason": reason, "attempts": 1, "state": "waiting", "type": "text", "data": "not json",
        });
        assert_eq!(letter, expected);
        assert_eq!(found[1]["data"], "nor this");

        // Nobody runs: the letter waits for the next run.
        assert_eq!(letters(&["retry"], &store, &["2"]).status.code(), Some(0));
        assert_eq!(states(&store), ["waiting", "retrying"]);
        let quiet = configured(&format!("killed-{runtime}"), &sends(&[])).1;
        let mut tap = Tap::start(&quiet, &["--runtime", runtime]);
        let record = tap.until("");
        assert_eq!(
            (&record["seq"], &record["data"]),
            (&json!(3), &json!("nor this"))
        );
        let fate = tap.until("redriven");
        assert_eq!(
            (&fate["letter"], &fate["fate"]),
            (&json!(2), &json!("delivered"))
        );
        tap.interrupt();
        assert_eq!(states(&store), ["waiting", "delivered"]);
    }
}

#[test]
fn a_running_fleet_hears_of_what_is_decided() {
    let (store, config) = configured("running", &sends(&["one", "two", "three"]));
    let mut tap = Tap::start(&config, &[]);
    for _ in 0..3 {
        tap.until("letter_stored");
    }
    let edited = letters(&["edit", "--data", "{\"fixed\":1}"], &store, &["1"]);
    assert_eq!(text(&edited.stdout), "letter 1: edit, now waiting\n");
    assert_eq!(letters(&["hold"], &store, &["2"]).status.code(), Some(0));
    let redriven = letters(&["redrive", "--json", "--rate", "1000"], &store, &[]);
    assert_eq!(records(&redriven.stdout), [json!({"retrying": 2})]);
    assert_eq!(tap.until("")["data"], "{\"fixed\":1}");
    assert_eq!(tap.until("")["data"], "three");
    tap.until("redriven");

    let other = run(&["tap", "--config", config.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(2), "one fleet a store");
    assert!(text(&other.stderr).contains("another process runs with this store"));

    let asked = |command: &str, more: &[&str]| {
        let mut line = vec![command, "--json", store.to_str().unwrap()];
        line.extend(more);
        run(&line)
    };
    let status = asked("status", &[]);
    assert_eq!(
        records(&status.stdout),
        [json!({"name": "feed", "state": "open"})]
    );
    assert_eq!(asked("pause", &["feed"]).status.code(), Some(0));
    let paused = |event: &Value| event["event"] == "state" && event["to"] == "paused";
    assert!(tap.events.any(|event| paused(&event)));
    assert_eq!(records(&asked("status", &[]).stdout)[0]["state"], "paused");
    assert_eq!(asked("resume", &[]).status.code(), Some(0));
    tap.until("ready");
    // The socket stays where only the processing is paused.
    let held = asked("pause", &["--processing", "feed"]);
    assert_eq!(records(&held.stdout)[0]["state"], "open");
    assert_eq!(asked("resume", &["--processing"]).status.code(), Some(0));
    let unknown = asked("pause", &["food"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("`food`"));
    tap.interrupt();
    assert!(!Path::new(&format!("{}.sock", store.display())).exists());
    assert_eq!(asked("status", &[]).status.code(), Some(1));
}

#[test]
fn people_get_tables_and_words_and_exports_have_everything() {
    let (store, config) = configured("words", &sends(&["one\u{1b}[2J", "two"]));
    let mut tap = Tap::start(&config, &[]);
    tap.until("letter_stored");
    tap.until("letter_stored");
    tap.interrupt();
    assert_eq!(letters(&["discard"], &store, &["2"]).status.code(), Some(0));
    let table = letters(&["list"], &store, &[]);
    let table = text(&table.stdout);
    assert_eq!(table.lines().count(), 2, "{table}");
    let row: Vec<_> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(
        row[..6],
        ["1", "waiting", "feed", "1", "inbound", "protocol"]
    );
    let shown = letters(&["show"], &store, &["1", "99"]);
    assert_eq!(shown.status.code(), Some(1), "there is no letter 99");
    let words = text(&shown.stdout);
    assert!(
        words.contains("one\\u{1b}[2J"),
        "what a peer sent cannot steer the terminal: {words}"
    );
    let again = letters(&["discard", "--json"], &store, &["2", "7"]);
    assert_eq!(again.status.code(), Some(1));
    let expected = [
        json!({"id": 2, "change": "discard", "applied": false, "state": "discarded"}),
        json!({"id": 7, "change": "discard", "applied": false, "state": null}),
    ];
    assert_eq!(records(&again.stdout), expected);
    let exported = records(&letters(&["export"], &store, &[]).stdout);
    let history = |letter: &Value| -> Vec<Value> {
        letter["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["what"].clone())
            .collect()
    };
    assert_eq!(
        exported.iter().map(history).collect::<Vec<_>>(),
        [
            vec![json!("stored")],
            vec![json!("stored"), json!("discard")],
        ]
    );
}

#[test]
fn a_store_that_cannot_be_used_is_refused_in_words() {
    let missing = letters(&["list"], Path::new("/nowhere/store"), &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("there is no store /nowhere/store"));
    let diary = written("diary", "this is no database, however long it may become");
    let foreign = letters(&["list"], &diary, &[]);
    assert_eq!(foreign.status.code(), Some(2));
    assert!(text(&foreign.stderr).contains("is not a store of dead letters"));
}

/// On a disk that is full, here a limit of the file's size, messages flow on and events tell of it.
#[test]
fn a_full_disk_stops_nothing_and_is_told() {
    let (store, config) = configured("full", &sends(&["{}", "one", "{}", "two", "{}"]));
    // Made while there is room; then no file may grow.
    let made = run(&[
        "tap",
        "--quiet",
        "--count",
        "1",
        "--config",
        config.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let before = listed(&store, &[]).len();
    let line = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} tap --events - --config {} --count 3",
        env!("CARGO_BIN_EXE_ropewalk"),
        config.display()
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let records = records(&output.stdout);
    let events = |name: &str| {
        records
            .iter()
            .filter(|r| r["event"] == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        records.iter().filter(|r| r["data"] == "{}").count(),
        3,
        "the flow goes on"
    );
    assert!(!events("letters_not_stored").is_empty(), "{records:?}");
    assert_eq!(events("letter_stored"), Vec::<&Value>::new());
    assert_eq!(events("letters_dropped").last().unwrap()["total"], 2);
    let summary = text(&output.stderr);
    assert!(
        summary.contains("2 dead letters, 0 stored, 2 lost"),
        "{summary}"
    );
    assert_eq!(listed(&store, &[]).len(), before);
}
