//! The wait before the next dial.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ropewalk_benches::subjects::Backoffs;

fn backoff(criterion: &mut Criterion) {
    let mut backoffs = Backoffs::default();
    criterion.bench_function("backoff/next delay", |bencher| {
        bencher.iter(|| black_box(backoffs.next_delay()));
    });
}

criterion_group!(suite, backoff);
criterion_main!(suite);
