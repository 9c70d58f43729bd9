use std::path::Path;

use super::*;
use crate::script::{Greeting, Step};

const GOOD: &str = r#"
title "What a scenario looks like"
connection a keepalive=50ms/60ms outbound.items_max=4   # a comment
connection a consumer=process backoff.delays=["120ms","130ms"]
ready a send "login"
ready a expect "ok" refused "denied"
on a#1 refuse
on a#2 upgrade
on a#2 send text "x y"
on a#3+ upgrade "X-Extra: 1"
send a "hello"
until a end
until a received 2
until a#2 served
trace a: waiting_for_slot end(peer:1000:"bye now") ready
received a: #1:"x y"
"#;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(Path::new("x.scn"), text)
}

#[test]
fn every_part_of_a_scenario_is_read() {
    let scenario = parse(GOOD).unwrap();
    let plan = scenario.connection("a").unwrap();
    let keepalive = plan.settings.keepalive.unwrap();
    assert_eq!(keepalive.interval, Duration::from_millis(50));
    assert_eq!(keepalive.timeout, Duration::from_millis(60));
    assert_eq!(plan.settings.outbound.items_max, 4);
    assert_eq!(plan.settings.backoff.delays.len(), 2);
    assert_eq!(plan.consumer, Consumer::Process);
    assert_eq!(plan.ready.len(), 2);
    assert_eq!(plan.dial(1).greeting, Greeting::Refuse);
    assert_eq!(plan.dial(2).steps.len(), 2);
    assert_eq!(
        plan.dial(9).steps,
        [Step::Upgrade(vec!["X-Extra: 1".into()])]
    );
    assert_eq!(scenario.story.len(), 4);
    let tokens = scenario.expected.strand("a", crate::trace::Aspect::States);
    assert_eq!(tokens[1], r#"end(peer:1000:"bye now")"#);
}

#[test]
fn a_dial_without_a_plan_is_accepted_and_echoed() {
    let scenario = parse("title \"x\"\nconnection a").unwrap();
    assert_eq!(scenario.connections[0].dial(4), server::echo_plan());
}

#[test]
fn an_error_names_the_file_the_line_and_what_is_wrong() {
    for (text, line, part) in [
        ("connection a", 0, "no `title`"),
        ("title \"x\"", 0, "no `connection`"),
        ("title \"x\"\nconnection a b", 2, "not `KEY=VALUE`"),
        (
            "title \"x\"\nconnection a\nconnection a bakoff.max=1s",
            3,
            "bakoff",
        ),
        (
            "title \"x\"\nconnection a backoff.max=1",
            2,
            "backoff.max=1",
        ),
        (
            "title \"x\"\nconnection a batch.count_max=0",
            2,
            "batch.count_max",
        ),
        (
            "title \"x\"\nconnection a\non b#1 upgrade",
            3,
            "no connection `b`",
        ),
        (
            "title \"x\"\nconnection a\non a#1 dance",
            3,
            "no step `dance`",
        ),
        (
            "title \"x\"\nconnection a\non a#1 close x",
            3,
            "not a close code",
        ),
        ("title \"x\"\nconnection a\nfly a", 3, "no step `fly`"),
        ("title \"x\"\nconnection a\nsend a \"x", 3, "not closed"),
        (
            "title \"x\"\nconnection a\ntrace b: open",
            3,
            "no connection `b`",
        ),
        ("title \"x\"\nconnection a host=y", 2, "sim-only"),
        ("title \"x\"\nconnection a\non a#1 blackhole", 0, "sim-only"),
        (
            "title \"x\"\nconnection a\nready a send \"${nxt}\"",
            3,
            "nxt",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.problem.contains(part), "{text}: {error}");
        assert!(error.to_string().starts_with("x.scn:"), "{error}");
    }
}
