//! permessage-deflate in both directions (RFC 7692).
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ropewalk_benches::subjects::Compressed;

fn deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    for bytes in [128, 1 << 10, 16 << 10] {
        let mut compressed = Compressed::new(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("inflate/{bytes}"), |bencher| {
            bencher.iter(|| black_box(compressed.inflate()));
        });
        group.bench_function(format!("deflate/{bytes}"), |bencher| {
            bencher.iter(|| black_box(compressed.deflate()));
        });
    }
}

criterion_group!(suite, deflate);
criterion_main!(suite);
