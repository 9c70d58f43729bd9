//! Every scenario over sockets, on tokio.
#![forbid(unsafe_code)]

use ropewalk_conformance::harness::check_all;
use ropewalk_conformance::scenario::Scenario;
use ropewalk_tokio::Tokio;

#[test]
fn every_scenario_gives_the_trace_in_its_file() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let scenarios = Scenario::all().unwrap();
    if let Err(problems) = check_all::<Tokio, _>(&scenarios, || runtime.enter()) {
        panic!("{}", problems.join("\n\n"));
    }
}
