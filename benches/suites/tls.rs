//! The same as `receive`, over TLS.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

mod over_sockets;

use criterion::{Criterion, criterion_group, criterion_main};
use over_sockets::{Of, on_every_runtime};
use ropewalk_benches::work::Work;

fn tls(criterion: &mut Criterion) {
    on_every_runtime(criterion, "tls", Of::Time, |messages| Work::ReceiveTls {
        bytes: 128,
        messages,
    });
}

criterion_group!(suite, tls);
criterion_main!(suite);
