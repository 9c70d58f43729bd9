//! The deadlines of many connections.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ropewalk_benches::subjects::Timers;

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    for connections in [1, 100, 1_000, 15_000] {
        let mut timers = Timers::new(connections);
        group.bench_function(format!("postpone/{connections}"), |bencher| {
            bencher.iter(|| timers.postpone());
        });
        let mut timers = Timers::new(connections);
        group.bench_function(format!("meet/{connections}"), |bencher| {
            bencher.iter(|| black_box(timers.meet()));
        });
    }
}

criterion_group!(suite, timers);
criterion_main!(suite);
