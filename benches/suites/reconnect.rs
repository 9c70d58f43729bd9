//! Fifty dropped connections until all are back: the processor time of each, since the library sets the pace.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn reconnect(criterion: &mut Criterion) {
    on_every_runtime(criterion, "reconnect", Of::Processor, |_| Work::Recover {
        connections: 50,
    });
}

criterion_group!(suite, reconnect);
criterion_main!(suite);
