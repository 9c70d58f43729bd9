//! Random faults over many seeds, every rule checked after every step, and recovery when they end.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;

use ropewalk_conformance::sim::{Weather, storm};

/// What must have happened at least once in a few hundred storms, or the simulator has gone blind.
const MARKS: [&str; 63] = [
    "state waiting_for_slot",
    "state resolving",
    "state connecting",
    "state upgrading",
    "state readying",
    "state open",
    "state closing",
    "state backoff",
    "state paused",
    "state closed",
    "state gave_up",
    "class Retry",
    "class Resource",
    "class Reauth",
    "class Strike",
    "class GiveUp",
    "gave up Strikes",
    "gave up Terminal",
    "end local",
    "end peer",
    "end protocol",
    "end transport",
    "end upgrade",
    "end timeout",
    "reason transport:refused",
    "reason transport:reset",
    "reason transport:eof",
    "reason transport:resource",
    "reason timeout:connect",
    "reason timeout:upgrade",
    "reason timeout:ready",
    "reason timeout:stale",
    "reason timeout:keepalive_timeout",
    "agreed permessage-deflate",
    "agreed permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
    "outcome written",
    "outcome acknowledged",
    "outcome interrupted",
    "outcome not_sent",
    "outcome expired",
    "dropped oldest",
    "dropped newest",
    "dropped coalesced",
    "refused full",
    "refused offline",
    "refused to wait",
    "overtook",
    "sent again",
    "reply taken over",
    "message acknowledged",
    "message rejected",
    "message exhausted",
    "tried again",
    "letter redriven",
    "letter tried again",
    "letter acknowledged",
    "letter failed again",
    "batch of several",
    "calls at once",
    "more workers",
    "fewer workers",
    "dropped at the end",
    "no call to be had",
];

/// Lives through storms and checks that nothing that can happen failed to.
fn check(seeds: Range<u64>) {
    let mut marks = BTreeSet::new();
    for seed in seeds {
        marks.extend(storm(seed, Weather::Storm).marks);
    }
    let missing: Vec<_> = MARKS
        .iter()
        .filter(|mark| !marks.contains(**mark))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

// In parts, for machines with more than one processor.

#[test]
fn every_rule_holds_in_storms_1_of_3() {
    check(0..250);
}

#[test]
fn every_rule_holds_in_storms_2_of_3() {
    check(250..500);
}

#[test]
fn every_rule_holds_in_storms_3_of_3() {
    check(500..750);
}

#[test]
fn what_lives_when_the_faults_end_recovers() {
    let mut survivors = 0;
    for seed in 0..250 {
        survivors += storm(seed, Weather::Rain).survivors;
    }
    assert!(
        survivors >= 250,
        "only {survivors} connections lived to recover"
    );
}

#[test]
fn one_seed_gives_one_storm_twice() {
    for seed in 2_000..2_015 {
        let (first, second) = (storm(seed, Weather::Storm), storm(seed, Weather::Storm));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.marks, second.marks, "seed {seed}");
    }
}
