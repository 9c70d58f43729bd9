//! Messages that come to a thousand connections in turn: the processor time of each, since the peer sets the pace.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn fan_in(criterion: &mut Criterion) {
    on_every_runtime(criterion, "fan_in", Of::Processor, |messages| Work::Paced {
        connections: 1_000,
        messages,
    });
}

criterion_group!(suite, fan_in);
criterion_main!(suite);
