//! `ropewalk tap` with a command that judges messages.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::{RUNTIMES, records, run, scratch, send_texts, server, start, text, written};

/// What follows decides about each `$seq` with its `$line`.
const READ: &str = r#"
judge() { echo "{\"seq\":$seq,\"verdict\":$1}"; }
while read -r line; do seq=${line#*'"seq":'}; seq=${seq%%,*}; "#;

/// A configuration whose connection runs a script of the shell.
fn configured(name: &str, url: &str, script: &str) -> PathBuf {
    let store = scratch(&format!("{name}.sqlite"));
    let store = store.display();
    let text = format!(
        "[[connection]]
name = \"feed\"
url = \"{url}\"
[connection.retry]
initial = \"1ms\"
[connection.processor]
command = [\"sh\", \"-c\", '''{READ}{script}
done''']
[letters]
store = \"{store}\"
"
    );
    written(&format!("{name}.toml"), &text)
}

fn letters(name: &str) -> Vec<Value> {
    let store = scratch(&format!("{name}.sqlite"));
    let store = store.display().to_string();
    let output = run(&["letters", "list", "--json", &store]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    records(&output.stdout)
}

#[test]
fn what_a_command_acknowledges_is_written_on_every_runtime() {
    for runtime in RUNTIMES {
        let url = server(|_, session| send_texts(session, (0..500).map(|n| n.to_string())));
        let name = format!("accepts-{runtime}");
        let config = configured(&name, &url, "judge '\"ack\"'");
        let config = config.to_str().unwrap();
        let arguments = ["tap", "--config", config, "--runtime", runtime];
        let output = run(&[&arguments[..], &["--quiet", "--count", "500"]].concat());
        assert_eq!(text(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
        let seen = records(&output.stdout);
        let seqs: Vec<_> = seen.iter().map(|each| each["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=500).map(Some).collect::<Vec<_>>());
        assert_eq!(letters(&name), Vec::<Value>::new());
    }
}

#[test]
fn what_a_command_refuses_or_dies_of_becomes_letters() {
    let url = server(|_, session| {
        let texts = ["one", "bad", "two", "deadly", "three", "never", "four"];
        send_texts(session, texts.map(str::to_owned));
    });
    let script = r#"case $line in
*bad*) judge '"reject","reason":"I do not like it"' ;;
*deadly*) exit 7 ;;
*never*) judge '"retry","after_ms":1,"reason":"not today"' ;;
*) judge '"ack"' ;;
esac"#;
    let config = configured("refuses", &url, script);
    let config = config.to_str().unwrap();
    let output = run(&["tap", "--config", config, "--count", "4", "--events", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let records = records(&output.stdout);
    let mut seen: Vec<_> = records
        .iter()
        .filter_map(|each| each["data"].as_str())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, ["four", "one", "three", "two"]);
    let ended = "the processor ended (exit status: 7)";
    let failed: Vec<_> = records
        .iter()
        .filter(|each| each["event"] == "processor_failed")
        .collect();
    assert!(failed.len() >= 4, "{failed:?}");
    assert!(failed.iter().all(|each| each["reason"] == ended));
    let mut letters = letters("refuses");
    letters.sort_by_key(|letter| letter["seq"].as_u64());
    let told = |letter: &Value| {
        let word = |key: &str| letter[key].as_str().unwrap().to_owned();
        (word("data"), word("stage"), word("reason"))
    };
    let expected = [
        ("bad", "I do not like it"),
        ("deadly", ended),
        ("never", "not today; still asked for a retry at its try 4"),
    ];
    let expected = expected.map(|(data, reason)| (data.into(), "business".into(), reason.into()));
    assert_eq!(letters.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn a_second_interrupt_leaves_no_process_behind() {
    let url = server(|_, session| send_texts(session, ["endless".to_owned()]));
    // Standard error ends when nobody has it any more: neither the shell nor what it started.
    let script = "echo asked >&2; sleep 30; echo survived >&2";
    let config = configured("abort", &url, script);
    let mut child = start(&["tap", "--quiet", "--config", config.to_str().unwrap()]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "asked\n");
    let process = Pid::from_raw(child.id().try_into().unwrap());
    kill(process, Signal::SIGINT).unwrap();
    // Another signal, since one that is pending already would not count twice.
    kill(process, Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_the_configuration() {
    let config = written(
        "nobody.toml",
        "[[connection]]\nurl = \"ws://127.0.0.1:1\"\n[connection.processor]\ncommand = [\"./no-such\"]\n",
    );
    let config = config.to_str().unwrap();
    for arguments in [&["check", config][..], &["tap", "--config", config]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        let expected = format!(
            "ropewalk: {config}:4: `connection.processor.command[0]` is wrong: there is no program `./no-such`\n"
        );
        assert_eq!(text(&output.stderr), expected);
    }
    fs::remove_file(config).unwrap();
}
