//! Many short sequences of commands and faults about the outbound queue, every rule checked after every step.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;

use ropewalk_conformance::sim::short_life;

/// What must have happened at least once.
const MARKS: [&str; 15] = [
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

fn check(seeds: Range<u64>) {
    let marks: BTreeSet<_> = seeds.flat_map(short_life).collect();
    let missing: Vec<_> = MARKS
        .iter()
        .filter(|mark| !marks.contains(**mark))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn every_message_has_the_one_end_that_it_may_have() {
    check(0..2_000);
}

#[test]
#[ignore = "a hundred thousand lives take too long for every day: `.ci/run` plays them in release"]
fn every_message_has_the_one_end_that_it_may_have_in_very_many_lives() {
    check(2_000..102_000);
}
