//! A set of many connections whose sockets are arrays: what a message costs beside how many there are.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without any"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ropewalk_benches::peer::text_frame;
use ropewalk_benches::subjects::Many;
use ropewalk_benches::work::letters;

/// Shares no divisor with any of the numbers of connections.
const STRIDE: usize = 3_989;

fn set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(1));
    let frame = text_frame(&letters(128));
    let text = String::from_utf8(letters(128)).expect("it is ASCII");
    for connections in [1, 100, 10_000] {
        let mut many = Many::open(connections);
        // No connection lies beside the one before, and each has its turn.
        let mut turns = (0..connections)
            .cycle()
            .map(|turn| turn * STRIDE % connections);
        let mut turn = move || turns.next().unwrap_or(0);
        group.bench_function(format!("receive/{connections}"), |bencher| {
            bencher.iter(|| many.receive(turn(), &frame));
        });
        group.bench_function(format!("receive while busy/{connections}"), |bencher| {
            bencher.iter(|| {
                let connection = turn();
                many.receive_while_busy(connection, &frame);
                many.ask_for_next(connection);
            });
        });
        group.bench_function(format!("send/{connections}"), |bencher| {
            bencher.iter(|| black_box(many.send(turn(), &text)));
        });
        group.bench_function(format!("nothing to do/{connections}"), |bencher| {
            bencher.iter(|| black_box(many.next_timeout()));
        });
    }
}

criterion_group!(suite, set);
criterion_main!(suite);
