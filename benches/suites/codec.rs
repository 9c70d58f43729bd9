//! Frames in and out, without a connection.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ropewalk_benches::subjects::Codec;

/// As many as a read of 64 KiB brings of small ones.
const FRAMES: usize = 500;

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for bytes in [16, 128, 4 << 10, 64 << 10] {
        let frames = (FRAMES * 128 / bytes).clamp(1, FRAMES);
        let mut codec = Codec::new(bytes, frames);
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(format!("decode/{bytes}"), |bencher| {
            bencher.iter(|| black_box(codec.decode()));
        });
        group.bench_function(format!("decode in pieces of 1,448/{bytes}"), |bencher| {
            bencher.iter(|| black_box(codec.decode_in_pieces(1_448)));
        });
        group.bench_function(format!("encode/{bytes}"), |bencher| {
            bencher.iter(|| black_box(codec.encode(frames)));
        });
    }
}

criterion_group!(suite, codec);
criterion_main!(suite);
