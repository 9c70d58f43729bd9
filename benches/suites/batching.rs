//! Messages that arrive together, from the socket's bytes to the consumer's batch.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ropewalk_benches::peer::text_frame;
use ropewalk_benches::subjects::Many;
use ropewalk_benches::work::letters;

fn batching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batching");
    for bytes in [128, 4 << 10] {
        for at_once in [1, 16, 256] {
            let block = text_frame(&letters(bytes)).repeat(at_once);
            let mut many = Many::open(1);
            group.throughput(Throughput::Elements(at_once as u64));
            group.bench_function(format!("{at_once} of {bytes} B"), |bencher| {
                bencher.iter(|| many.receive(0, &block));
            });
        }
    }
}

criterion_group!(suite, batching);
criterion_main!(suite);
