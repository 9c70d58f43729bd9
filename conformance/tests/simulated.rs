//! Every scenario in the simulator, over several networks, against the trace in its file.
#![forbid(unsafe_code)]

use ropewalk_conformance::scenario::Scenario;
use ropewalk_conformance::sim::{LinkProfile, run};

/// Plays every scenario that `is_wanted` over the profile, and reports all that differ.
fn check_all(seed: u64, profile: LinkProfile, is_wanted: impl Fn(&Scenario) -> bool) {
    let scenarios = Scenario::all().expect("all files are scenarios");
    assert!(scenarios.len() >= 30);
    let mut problems = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| is_wanted(scenario)) {
        match run(scenario, seed, profile) {
            Ok(trace) => {
                if let Some(difference) = scenario.expected.difference(&trace) {
                    problems.push(format!("{}: {difference}", scenario.name));
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn every_scenario_gives_the_trace_in_its_file() {
    check_all(1, LinkProfile::LOOPBACK, |_| true);
}

#[test]
fn traces_do_not_depend_on_how_bytes_are_cut() {
    check_all(2, LinkProfile::DRIBBLE, |scenario| !scenario.is_heavy());
}

#[test]
fn traces_do_not_depend_on_the_seed() {
    for seed in 3..8 {
        check_all(seed, LinkProfile::LOOPBACK, |scenario| !scenario.is_heavy());
    }
}

#[test]
fn one_seed_gives_one_trace_twice() {
    for scenario in Scenario::all().unwrap().iter().filter(|s| !s.is_heavy()) {
        let play = || run(scenario, 11, LinkProfile::LOOPBACK).unwrap();
        assert_eq!(play(), play(), "{}", scenario.name);
    }
}
