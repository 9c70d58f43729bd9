//! Many short sequences of commands and faults about the two queues, every rule checked after every step.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;

use ropewalk_conformance::sim::{inbound_life, short_life};

/// What must have happened at least once.
const OUTBOUND: [&str; 15] = [
    "outcome written",
    "outcome acknowledged",
    "outcome interrupted",
    "outcome not_sent",
    "outcome expired",
    "outcome dropped",
    "dropped oldest",
    "dropped newest",
    "dropped coalesced",
    "refused full",
    "refused offline",
    "refused to wait",
    "overtook",
    "sent again",
    "reply taken over",
];

/// The same of what is received.
const INBOUND: [&str; 24] = [
    "message acknowledged",
    "message rejected",
    "message exhausted",
    "message filtered",
    "message filtered into a letter",
    "tried again",
    "letter redriven",
    "letter tried again",
    "letter acknowledged",
    "letter failed again",
    "batch of several",
    "batch lingered",
    "batch hurried",
    "inbound full",
    "calls at once",
    "no call to be had",
    "more workers",
    "fewer workers",
    "least workers after a rest",
    "dropped at the end",
    "verdict after the end",
    "gap",
    "end protocol",
    "end transport",
];

fn check(seeds: Range<u64>, live: fn(u64) -> BTreeSet<String>, marks: &[&str]) {
    let found: BTreeSet<_> = seeds.flat_map(live).collect();
    let missing: Vec<_> = marks
        .iter()
        .filter(|mark| !found.contains(**mark))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn every_message_has_the_one_end_that_it_may_have() {
    check(0..2_000, short_life, &OUTBOUND);
}

#[test]
#[ignore = "a hundred thousand lives take too long for every day: `.ci/run` plays them in release"]
fn every_message_has_the_one_end_that_it_may_have_in_very_many_lives() {
    check(2_000..102_000, short_life, &OUTBOUND);
}

#[test]
fn every_received_message_has_its_turn_and_one_end() {
    check(0..2_000, inbound_life, &INBOUND);
}

#[test]
#[ignore = "a hundred thousand lives take too long for every day: `.ci/run` plays them in release"]
fn every_received_message_has_its_turn_and_one_end_in_very_many_lives() {
    check(2_000..102_000, inbound_life, &INBOUND);
}
