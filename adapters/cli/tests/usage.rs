//! Wrong command lines and configurations, and `ropewalk check`.

mod support;

use support::{run, scratch, text, written};

/// Runs a command that must be refused, and returns what it says.
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = text(&output.stderr).to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    stderr
}

#[test]
fn a_wrong_command_line_is_refused_with_status_2() {
    let table: [(&[&str], &str); 12] = [
        (&["tap"], "required"),
        (&["tap", "nonsense"], "nonsense"),
        (&["tap", "wss://a.example/#x"], "fragment"),
        (&["tap", "http://a.example/x"], "ws://"),
        (&["tap", "ws://a.example/#x"], "fragment"),
        (
            &["tap", "x=ws://127.0.0.1:1", "x=ws://127.0.0.1:1"],
            "two connections",
        ),
        (&["tap", "--for", "10", "ws://127.0.0.1:1"], "no unit"),
        (
            &["tap", "--for", "0s", "ws://127.0.0.1:1"],
            "longer than nothing",
        ),
        (&["tap", "--count", "0", "ws://127.0.0.1:1"], "--count"),
        (
            &["tap", "--runtime", "glommio", "ws://127.0.0.1:1"],
            "async-std",
        ),
        (&["echo", "wss://a.example/#x"], "fragment"),
        (&["demo", "--connections", "0"], "--connections"),
    ];
    for (arguments, words) in table {
        let message = refusal(arguments);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
}

#[test]
fn a_configuration_is_refused_with_file_line_key_and_the_nearest_one() {
    let path = written(
        "wrong.toml",
        "[[connection]]\nurl = \"ws://a\"\n\nkeep_alive = \"off\"\n",
    );
    let path = path.to_str().unwrap();
    let expected = format!(
        "ropewalk: {path}:4: unknown key `connection.keep_alive`; did you mean `connection.keepalive`?\n"
    );
    assert_eq!(refusal(&["check", path]), expected);
    assert_eq!(refusal(&["tap", "--config", path]), expected);

    let path = written("zero.toml", "[defaults.batch]\ncount_max = 0\n");
    let path = path.to_str().unwrap();
    let expected = format!("ropewalk: {path}:2: `defaults.batch.count_max` must not be zero\n");
    assert_eq!(refusal(&["check", path]), expected);

    let missing = scratch("missing.toml");
    let message = refusal(&["check", missing.to_str().unwrap()]);
    assert!(message.contains("missing.toml"), "{message}");
    let empty = written("empty.toml", "");
    let message = refusal(&["tap", "--config", empty.to_str().unwrap()]);
    assert!(message.contains("no `[[connection]]`"), "{message}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let message = refusal(&["tap", "--output", "/no/such/folder/x", "ws://127.0.0.1:1"]);
    assert!(message.contains("/no/such/folder/x"), "{message}");
}

#[test]
fn check_prints_a_configuration_that_check_prints_again() {
    let path = written(
        "plain.toml",
        "[[connection]]\nname = \"a\"\nurl = \"ws://a.example\"\nready = ['x', { expect = \"y\" }]\nresume = { sequence = \"/seq\" }\n",
    );
    let first = run(&["check", path.to_str().unwrap()]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let printed = text(&first.stdout);
    for line in [
        "runtime = \"tokio\"",
        "interval = \"20s\"",
        "count_max = 1024",
        "start = 1",
    ] {
        assert!(printed.contains(line), "{line} in\n{printed}");
    }
    let again = written("printed.toml", printed);
    let second = run(&["check", again.to_str().unwrap()]);
    assert_eq!(text(&second.stdout), printed);
}

#[test]
fn help_lists_what_there_is_and_nothing_else() {
    let output = run(&["--help"]);
    let help = text(&output.stdout);
    for command in [
        "tap", "send", "demo", "echo", "check", "letters", "pause", "resume", "status",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{help}");
    }
}
