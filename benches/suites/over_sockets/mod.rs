//! What the suites that go over sockets share: Ropewalk on each runtime, in this process, and the peer in its own.

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use ropewalk_benches::contestants::{Contestant, on_one_thread};
use ropewalk_benches::peer::Running;
use ropewalk_benches::work::Work;

/// What is measured.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "each suite measures one of them")]
pub(crate) enum Of {
    /// Time on the wall.
    Time,
    /// Processor time of this process.
    Processor,
}

/// Fewer messages would measure how a connection is opened.
const MESSAGES_MIN: u64 = 20_000;

/// Measures one message of the work that `work` gives for so many of them, or one connection if it is about those.
pub(crate) fn on_every_runtime(
    criterion: &mut Criterion,
    name: &str,
    of: Of,
    work: impl Fn(u64) -> Work,
) {
    on_one_thread().expect("this program starts again");
    let peer = Running::start(Path::new(env!("CARGO_BIN_EXE_compare"))).expect("the peer starts");
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    for (runtime, contestant) in [
        ("tokio", Contestant::RopewalkTokio),
        ("smol", Contestant::RopewalkSmol),
        ("async-std", Contestant::RopewalkAsyncStd),
    ] {
        group.bench_function(runtime, |bencher| {
            bencher.iter_custom(|times| {
                let work = work(times.max(MESSAGES_MIN));
                let done = contestant
                    .work(work, peer.address())
                    .expect("the work is done");
                assert!(work.is_all(done.seen), "other messages: {:?}", done.seen);
                let nanos = match of {
                    Of::Time => done.wall_nanos,
                    Of::Processor => done.cpu_nanos,
                };
                let units = match work.messages() {
                    0 => work.connections() as u64,
                    messages => messages,
                };
                let all = u128::from(nanos) * u128::from(times) / u128::from(units);
                Duration::from_nanos(u64::try_from(all).unwrap_or(u64::MAX))
            });
        });
    }
}
