//! One message at a time, there and back: the time of each.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn echo(criterion: &mut Criterion) {
    on_every_runtime(criterion, "echo", Of::Time, |messages| Work::Echo {
        bytes: 128,
        messages,
    });
}

criterion_group!(suite, echo);
criterion_main!(suite);
