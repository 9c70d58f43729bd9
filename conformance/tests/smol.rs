//! Every scenario over sockets, on smol.
#![forbid(unsafe_code)]

use ropewalk_conformance::harness::check_all;
use ropewalk_conformance::scenario::Scenario;
use ropewalk_smol::Smol;

#[test]
fn every_scenario_gives_the_trace_in_its_file() {
    let scenarios = Scenario::all().unwrap();
    if let Err(problems) = check_all::<Smol, _>(&scenarios, || ()) {
        panic!("{}", problems.join("\n\n"));
    }
}
