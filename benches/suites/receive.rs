//! Messages of one connection, as fast as they come: the time of each.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn receive(criterion: &mut Criterion) {
    on_every_runtime(criterion, "receive", Of::Time, |messages| Work::Receive {
        bytes: 128,
        messages,
    });
}

criterion_group!(suite, receive);
criterion_main!(suite);
