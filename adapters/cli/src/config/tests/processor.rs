use super::*;

#[test]
fn a_processor_has_a_command_and_an_order() {
    let plan = read(FULL).unwrap();
    let [trades, feed] = &plan.connections[..] else {
        panic!("two connections")
    };
    let processor = trades.processor().unwrap();
    assert_eq!(processor.program, "sh");
    assert_eq!(processor.arguments, ["-c", "exit"]);
    assert_eq!(processor.verdict_timeout.as_secs(), 30);
    assert_eq!(processor.retries_max, 5);
    let settings = trades.parts().unwrap().settings.processor;
    assert_eq!((settings.workers.min, settings.workers.max), (1, 8));
    let per_key = trades.parts().unwrap().hooks.per_key.unwrap();
    let hash = |text: &str| {
        let message = MessageRef::new(Kind::Text, text.as_bytes(), 1, Instant::ORIGIN);
        per_key.hash(message)
    };
    let first = hash(r#"{"symbol":"a","n":1}"#);
    assert_eq!(first, hash(r#"{"symbol":"a","n":2}"#));
    assert_ne!(first, hash(r#"{"symbol":"b","n":1}"#));
    assert_eq!(feed.processor(), None);
}

#[test]
fn defaults_may_leave_the_command_of_a_processor_to_connections() {
    let plan = read(
        "[defaults.processor]\norder = { key = \"/a\" }\nverdict_timeout = \"2s\"\n[[connection]]\nurl = \"ws://a\"\n[[connection]]\nurl = \"ws://b\"\nprocessor.command = [\"sh\"]\n",
    )
    .unwrap();
    assert_eq!(plan.connections[0].processor(), None);
    let processor = plan.connections[1].processor().unwrap();
    assert_eq!(processor.verdict_timeout.as_secs(), 2);
    let url = plan.defaults.to_url("c".into(), "ws://c".into());
    assert_eq!(url.processor(), None);
    assert!(url.parts().is_ok());
    let common =
        read("[defaults.processor]\ncommand = [\"sh\"]\n[[connection]]\nurl = \"ws://a\"\n");
    assert!(common.unwrap().connections[0].processor().is_some());
}

#[test]
fn a_processor_that_cannot_be_is_refused_with_its_place() {
    let table = [
        (
            "command = []",
            "f.toml:4: `connection.processor.command` is wrong: it names no program: write `command = [\"program\", \"argument\"]`",
        ),
        (
            "order = \"none\"",
            "f.toml:3: `connection.processor.command` is missing: the program to run, and its arguments",
        ),
        (
            "command = [\"no-such-program\"]",
            "f.toml:4: `connection.processor.command[0]` is wrong: there is no program `no-such-program`",
        ),
        (
            "command = [\"/dev/null\"]",
            "f.toml:4: `connection.processor.command[0]` is wrong: there is no program `/dev/null`",
        ),
        (
            "command = [\"\"]",
            "f.toml:4: `connection.processor.command[0]` is wrong: there is no program ``",
        ),
        (
            "command = [\"sh\",\n\"\\u0000\"]",
            "f.toml:5: `connection.processor.command[1]` is wrong: it contains a zero byte",
        ),
        (
            "command = \"sh\"",
            "f.toml:4: `connection.processor.command` is wrong: invalid type: string \"sh\", expected a sequence",
        ),
        (
            "command = [\"sh\"]\norder = \"per_key\"",
            "f.toml:5: `connection.processor.order` is wrong: expected \"strict\", \"none\", or a table { key = \"/…\" }",
        ),
        (
            "command = [\"sh\"]\norder = { key = \"a\" }",
            "f.toml:5: `connection.processor.order.key` is wrong: a JSON pointer starts with `/`, such as \"/seq\"",
        ),
        (
            "command = [\"sh\"]\nverdict_timeout = \"0s\"",
            "f.toml:5: `connection.processor.verdict_timeout` is wrong: it must be longer than nothing",
        ),
        (
            "command = [\"sh\"]\nverdict_timeout = \"5\"",
            "f.toml:5: `connection.processor.verdict_timeout` is wrong: ",
        ),
        (
            "command = [\"sh\"]\nworkers = { min = 3, max = 2 }",
            "f.toml:5: `connection.processor.workers.max` ",
        ),
        (
            "comand = [\"sh\"]",
            "f.toml:4: unknown key `connection.processor.comand`; did you mean `connection.processor.command`?",
        ),
    ];
    for (lines, expected) in table {
        let text = format!("[[connection]]\nurl = \"ws://a\"\n[connection.processor]\n{lines}\n");
        let message = refusal(&text);
        assert!(message.starts_with(expected), "{message}\nfor\n{text}");
    }
    let common = "[defaults.processor]\ncommand = []\n[[connection]]\nurl = \"ws://a\"\n";
    let start = "f.toml:2: `defaults.processor.command` is wrong";
    assert!(refusal(common).starts_with(start));
}
