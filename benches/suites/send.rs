//! Messages to the peer, until it has them all: the time of each.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn send(criterion: &mut Criterion) {
    on_every_runtime(criterion, "send", Of::Time, |messages| Work::Send {
        bytes: 128,
        messages,
    });
}

criterion_group!(suite, send);
criterion_main!(suite);
