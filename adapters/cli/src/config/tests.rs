mod processor;

use std::path::Path;

use ropewalk_core::{Instant, InvalidKind, Kind, Message, MessageRef};

use super::*;

fn read(text: &str) -> Result<Plan, ConfigError> {
    let document = Document::parse(Path::new("f.toml"), text)?;
    Plan::from_document(&document, &mut Names::default())
}

fn refusal(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

const FULL: &str = r#"
runtime = "smol"

[letters]
store = "letters.sqlite"
keep = "30d"

[admission]
connecting_max = 8

[defaults.backoff]
initial = "250ms"
max = "10s"

[defaults.decode]
format = "text"

[[connection]]
name = "trades"
url = ["ws://a.example/ws", "ws://user:word@b.example/ws?key=value"]
ready = ['{"op":"subscribe"}', { expect = "subscribed" }, '{"op":"resume","from":${next}}']
resume = { sequence = "/seq", start = 7 }
headers = { X-Key = "value" }
subprotocols = ["v2", "v1"]
subprotocol_required = true
stale_after = "1m"
keepalive = "off"
[connection.backoff]
initial = "1s"
[connection.decode]
format = "json"
invalid_max = 3
dead_letter = true
sample_bytes = "1KiB"
[connection.classification.close]
1008 = "retry"
[connection.outbound]
when_full = "coalesce"
coalesce = "/symbol"
acknowledge = { request = "/id", reply = "/re/id" }
[connection.processor]
command = ["sh", "-c", "exit"]
order = { key = "/symbol" }
workers = { max = 8 }
[connection.retry]
attempts_max = 5

[[connection]]
url = "ws://c.example/feed"
"#;

#[test]
fn defaults_lie_under_each_connection() {
    let plan = read(FULL).unwrap();
    assert_eq!(plan.runtime, Some(RuntimeName::Smol));
    assert_eq!(plan.admission.connecting_max.get(), 8);
    assert_eq!(plan.letters.keep, Some(Duration::from_secs(30 * 86_400)));
    let [trades, feed] = &plan.connections[..] else {
        panic!("two connections")
    };
    assert_eq!((&*trades.name, trades.urls.len()), ("trades", 2));
    let backoff = |plan: &ConnectionPlan| {
        let backoff = &plan.settings.backoff;
        (backoff.initial.as_millis(), backoff.max.as_secs())
    };
    assert_eq!(backoff(trades), (1_000, 10));
    assert_eq!(backoff(feed), (250, 10));
    assert_eq!(feed.name, "c.example/feed");
    assert!(trades.settings.keepalive.is_none() && feed.settings.keepalive.is_some());
    assert_eq!(trades.settings.invalid.invalid_max, 3);
    let parts = trades.parts().unwrap();
    assert_eq!(parts.hooks.ready.len(), 3);
    assert_eq!(parts.hooks.resume.unwrap().start, 7);
    assert!(parts.hooks.decode.is_some());
    assert_eq!(trades.settings.invalid.sample_bytes, 1_024);
    let order = Message::text(r#"{"symbol":"a","id":7}"#);
    let key = |key: &'static str| Some(bytes::Bytes::from_static(key.as_bytes()));
    assert_eq!(parts.hooks.coalesce.unwrap().key(&order), key("a"));
    let acknowledge = parts.hooks.acknowledge.unwrap();
    assert_eq!(acknowledge.request(&order), key("7"));
    let reply = br#"{"id":1,"re":{"id":"7"}}"#;
    let reply = MessageRef::new(Kind::Text, reply, 1, Instant::ORIGIN);
    assert_eq!(acknowledge.reply(reply), key("7"));
    assert_eq!(parts.target.endpoints().len(), 2);
    assert_eq!(parts.target.subprotocols().len(), 2);
}

#[test]
fn each_format_says_what_kind_of_fault_a_message_has() {
    let fault = |format: &str, kind, payload: &[u8]| {
        let text =
            format!("[[connection]]\nurl = \"ws://a\"\n[connection.decode]\nformat = \"{format}\"");
        let parts = read(&text).unwrap().connections[0].parts().unwrap();
        let message = MessageRef::new(kind, payload, 1, Instant::ORIGIN);
        let decode = parts.hooks.decode?;
        decode.decode(message).err().map(|invalid| invalid.kind)
    };
    let wrong_type = Some(InvalidKind::WrongType);
    assert_eq!(fault("text", Kind::Binary, b"a"), wrong_type);
    assert_eq!(fault("text", Kind::Text, b"a"), None);
    let malformed = Some(InvalidKind::Malformed);
    assert_eq!(fault("json", Kind::Text, b"a"), malformed);
    assert_eq!(fault("json", Kind::Text, b"{}"), None);
    assert_eq!(fault("json", Kind::Binary, b"{}"), None);
    assert_eq!(fault("none", Kind::Binary, b"a"), None);
}

#[test]
fn what_is_printed_is_a_configuration_that_means_the_same() {
    for text in [
        FULL,
        "",
        "[[connection]]\nurl = \"ws://a\"\n[connection.backoff]\nprofile = \"spread\"\nmax = \"200s\"\n",
    ] {
        let printed = print(&read(text).unwrap()).unwrap();
        let again = print(&read(&printed).unwrap()).unwrap();
        assert_eq!(printed, again);
    }
    let printed = print(&read(FULL).unwrap()).unwrap();
    for expected in [
        "count_max = 1024",
        "verdict_timeout = \"30s\"",
        "key = \"/symbol\"",
        "format = \"json\"",
        "sample_bytes = \"1KiB\"",
        "sample_bytes = \"0B\"",
        "1008 = \"retry\"",
        "start = 7",
        "keepalive = \"off\"",
        "initial = \"250ms\"",
        "upgrade = \"5s\"",
        "connecting_max = 8",
    ] {
        assert!(printed.contains(expected), "{expected} in\n{printed}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let connection = "[[connection]]\nurl = \"ws://a\"\n";
    let table = [
        ("runtme = \"tokio\"\n".to_owned(), 1, "runtme", "runtime"),
        (
            format!("{connection}keep_alive = \"off\"\n"),
            3,
            "connection.keep_alive",
            "connection.keepalive",
        ),
        (
            format!("{connection}[connection.backof]\nmax = \"1s\"\n"),
            3,
            "connection.backof",
            "connection.backoff",
        ),
        (
            format!("{connection}[connection.backoff]\nmaximum = \"1s\"\n"),
            4,
            "connection.backoff.maximum",
            "connection.backoff.max",
        ),
        (
            format!("{connection}connecting_max = 3\n"),
            3,
            "connection.connecting_max",
            "admission.connecting_max",
        ),
        (
            format!("{connection}stable_after = \"1s\"\n"),
            3,
            "connection.stable_after",
            "connection.backoff.stable_after",
        ),
        (
            "[defaults.batch]\n\ncount = 3\n".to_owned(),
            3,
            "defaults.batch.count",
            "defaults.batch.count_max",
        ),
        (
            "[defaults]\nurl = \"ws://a\"\n".to_owned(),
            2,
            "defaults.url",
            "connection.url",
        ),
        (
            "[[connections]]\nurl = \"ws://a\"\n".to_owned(),
            1,
            "connections",
            "connection",
        ),
        (
            format!("{connection}resume = {{ sequence = \"/seq\", strat = 1 }}\n"),
            3,
            "connection.resume.strat",
            "connection.resume.start",
        ),
        (
            format!("{connection}[connection.tls]\nroot = \"native\"\n"),
            4,
            "connection.tls.root",
            "connection.tls.roots",
        ),
        (
            format!("{connection}[connection.decode]\nform = \"json\"\n"),
            4,
            "connection.decode.form",
            "connection.decode.format",
        ),
    ];
    for (text, line, key, nearest) in table {
        let expected = format!("f.toml:{line}: unknown key `{key}`; did you mean `{nearest}`?");
        assert_eq!(refusal(&text), expected);
    }
}

#[test]
fn keys_of_later_versions_are_told_from_typing_errors() {
    let table = [(
        "[[connection]]\nurl = \"ws://a\"\n[connection.proxy]\nurl = \"\"\n",
        "f.toml:3: unknown key `connection.proxy`: it is not in this version",
    )];
    for (text, expected) in table {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn a_bad_value_is_refused_with_its_place() {
    let table = [
        ("runtime = \"tokyo\"", 1, "runtime", "tokyo"),
        (
            "[admission]\nconnecting_max = 0",
            2,
            "admission.connecting_max",
            "nonzero",
        ),
        (
            "[[connection]]\nname = \"x\"",
            1,
            "connection.url",
            "missing",
        ),
        ("[[connection]]\nurl = []", 2, "connection.url", "empty"),
        (
            "[[connection]]\nurl = [\n\"ws://a\",\n\"https://b\"]",
            4,
            "connection.url[1]",
            "`https`",
        ),
        (
            "[[connection]]\nurl = \"wss://a\"\n[connection.tls]\nroots = \"/no/such.pem\"",
            4,
            "connection.tls.roots",
            "/no/such.pem: ",
        ),
        (
            "[defaults.tls]\nroots = \"/dev/null\"\n[[connection]]\nurl = \"ws://a\"",
            2,
            "defaults.tls.roots",
            "/dev/null: there is no certificate",
        ),
        (
            "[[connection]]\nurl = \"wss://a\"\ntls = { roots = \"\" }",
            3,
            "connection.tls.roots",
            "`platform`, or a PEM file",
        ),
        (
            "[[connection]]\nurl = \"wss://a\"\n[connection.tls]\nclient_certificate = \"/no/such.pem\"",
            4,
            "connection.tls.client_certificate",
            "/no/such.pem: ",
        ),
        (
            "[[connection]]\nurl = \"http://a\"",
            2,
            "connection.url",
            "`http`",
        ),
        (
            "[[connection]]\nurl = 3",
            2,
            "connection.url",
            "expected a URL",
        ),
        (
            "[connection]\nurl = \"ws://a\"",
            1,
            "connection",
            "[[connection]]",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\n[connection.backoff]\ninitial = \"5\"",
            4,
            "connection.backoff.initial",
            "no unit",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\n[connection.backoff]\nmax = \"0s\"",
            4,
            "connection.backoff.max",
            "",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\n[connection.backoff]\ninitial = \"1m\"",
            3,
            "connection.backoff.max",
            "smaller than `backoff.initial`",
        ),
        (
            "[defaults.backoff]\nfactor = 0.5\n[[connection]]\nurl = \"ws://a\"",
            2,
            "defaults.backoff.factor",
            "from 1",
        ),
        (
            "[defaults.backoff]\ninitial = \"20s\"\n[[connection]]\nurl = \"ws://a\"\n[connection.backoff]\nmax = \"1s\"",
            6,
            "connection.backoff.max",
            "smaller",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nready = [\"ok\",\n \"${later}\"]",
            4,
            "connection.ready[1]",
            "${later}",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nready = [\"${next}\"]",
            3,
            "connection.ready[0]",
            "no `resume`",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nready = [{ expects = \"x\" }]",
            3,
            "connection.ready[0]",
            "expect",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nresume = { sequence = \"seq\" }",
            3,
            "connection.resume.sequence",
            "JSON pointer",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\n[connection.decode]\nformat = \"xml\"",
            4,
            "connection.decode.format",
            "xml",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\n[connection.headers]\nX = \"a\\r\\nb\"",
            4,
            "connection.headers.X",
            "",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nsubprotocols = [\"a b\"]",
            3,
            "connection.subprotocols[0]",
            "",
        ),
        (
            "[[connection]]\nurl = \"ws://a\"\nsubprotocol_required = true",
            3,
            "connection.subprotocol_required",
            "no `subprotocols`",
        ),
        (
            "[[connection]]\nname = \"x\"\nurl = \"ws://a\"\n[[connection]]\nname = \"x\"\nurl = \"ws://b\"",
            5,
            "connection.name",
            "another connection",
        ),
    ];
    for (text, line, key, words) in table {
        let message = refusal(text);
        let start = format!("f.toml:{line}: `{key}` ");
        assert!(message.starts_with(&start), "{message}\nfor\n{text}");
        assert!(message.contains(words), "{message}\nfor\n{text}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn where_keys_are_found_is_checked_with_the_policy_that_needs_it() {
    let table = [
        (
            "coalesce = \"/a\"",
            "f.toml:4: `connection.outbound.coalesce` is wrong: it needs `when_full = \"coalesce\"` beside it",
        ),
        (
            "when_full = \"coalesce\"\ncoalesce = \"a\"",
            "f.toml:5: `connection.outbound.coalesce` is wrong: a JSON pointer starts with `/`, such as \"/seq\"",
        ),
        (
            "acknowledge = { request = \"/id\" }",
            "f.toml:4: `connection.outbound.acknowledge` is wrong: missing field `reply`",
        ),
        (
            "acknowledge = { request = \"/id\", reply = \"/~\" }",
            "f.toml:4: `connection.outbound.acknowledge.reply` is wrong: `~` in a JSON pointer is written `~0`, and `/` is written `~1`",
        ),
    ];
    for (lines, expected) in table {
        let text = format!("[[connection]]\nurl = \"ws://a\"\n[connection.outbound]\n{lines}\n");
        assert_eq!(refusal(&text), expected);
    }
    let problem = refusal("[[connection]]\nurl = \"ws://a\"\noutbound.when_full = \"coalesce\"\n");
    assert!(problem.contains("no `coalesce` hook"), "{problem}");
    let common = "[defaults.outbound]\nwhen_full = \"coalesce\"\n[[connection]]\nurl = \"ws://a\"\noutbound.coalesce = \"/a\"\n";
    assert!(read(common).is_ok());
}

#[test]
fn letters_are_kept_for_ever_unless_a_time_is_named() {
    let keep = |text: &str| read(text).unwrap().letters.keep;
    assert_eq!(keep("letters.store = \"s\""), None);
    assert_eq!(keep("letters = { store = \"s\", keep = \"off\" }"), None);
    assert_eq!(
        refusal("letters.keep = \"1h\""),
        "f.toml:1: `letters.keep` needs `store` beside it"
    );
    let refused = refusal("[letters]\nstore = \"s\"\nkeep = \"soon\"");
    assert!(
        refused.starts_with("f.toml:3: `letters.keep` "),
        "{refused}"
    );
}
