//! Every scenario over sockets, on async-std.
#![forbid(unsafe_code)]

use ropewalk_async_std::AsyncStd;
use ropewalk_conformance::harness::check_all;
use ropewalk_conformance::scenario::Scenario;

#[test]
fn every_scenario_gives_the_trace_in_its_file() {
    let scenarios = Scenario::all().unwrap();
    if let Err(problems) = check_all::<AsyncStd, _>(&scenarios, || ()) {
        panic!("{}", problems.join("\n\n"));
    }
}
