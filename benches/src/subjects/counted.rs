//! What instructions are counted of.

use std::hint::black_box;

use super::{Codec, Compressed, Many, Timers};
use crate::peer::text_frame;
use crate::work::letters;

/// Something that is done again and again.
pub struct Counted {
    /// Its name in the baseline.
    pub name: &'static str,
    /// Sets it up, and does it so often.
    pub run: fn(u64),
}

/// How many messages come while a consumer is busy with one batch. Both numbers of times are multiples of it.
const BUSY_FOR: u64 = 25;

/// Everything whose instructions are counted.
pub const COUNTED: &[Counted] = &[
    Counted {
        name: "codec/decode/128",
        run: |times| decode(128, times),
    },
    Counted {
        name: "codec/decode/16384",
        run: |times| decode(16 << 10, times),
    },
    Counted {
        name: "codec/decode/128-in-pieces",
        run: |times| {
            let mut codec = Codec::new(128, 1);
            for _ in 0..times {
                black_box(codec.decode_in_pieces(100));
            }
        },
    },
    Counted {
        name: "codec/encode/128",
        run: |times| {
            let mut codec = Codec::new(128, 1);
            for _ in 0..times {
                black_box(codec.encode(1));
            }
        },
    },
    Counted {
        name: "codec/inflate/1024",
        run: |times| {
            let mut compressed = Compressed::new(1 << 10);
            for _ in 0..times {
                black_box(compressed.inflate());
            }
        },
    },
    Counted {
        name: "codec/deflate/1024",
        run: |times| {
            let mut compressed = Compressed::new(1 << 10);
            for _ in 0..times {
                black_box(compressed.deflate());
            }
        },
    },
    Counted {
        name: "set/receive/1",
        run: |times| receive(1, 128, 1, times),
    },
    Counted {
        name: "set/receive/1000",
        run: |times| receive(1_000, 128, 1, times),
    },
    Counted {
        name: "set/receive-while-busy/1",
        run: |times| {
            let mut many = Many::open(1);
            let frame = text_frame(&letters(128));
            for number in 1..=times {
                many.receive_while_busy(0, &frame);
                if number % BUSY_FOR == 0 {
                    many.ask_for_next(0);
                }
            }
            many.ask_for_next(0);
            assert_eq!(many.delivered(), times, "all arrived");
        },
    },
    Counted {
        name: "set/send/1000",
        run: |times| {
            let mut many = Many::open(1_000);
            let text = String::from_utf8(letters(128)).expect("it is ASCII");
            for at in (0..1_000).cycle().take(count(times)) {
                black_box(many.send(at, &text));
            }
        },
    },
    Counted {
        name: "set/send-packed/100-at-once",
        run: |times| {
            let mut many = Many::open(1);
            let text = String::from_utf8(letters(128)).expect("it is ASCII");
            for _ in 0..times {
                black_box(many.send_packed(0, &text, 100));
            }
        },
    },
    Counted {
        name: "timers/postpone/10000",
        run: |times| {
            let mut timers = Timers::new(10_000);
            for _ in 0..times {
                timers.postpone();
            }
        },
    },
    Counted {
        name: "timers/meet/10000",
        run: |times| {
            let mut timers = Timers::new(10_000);
            for _ in 0..times {
                black_box(timers.meet());
            }
        },
    },
    Counted {
        name: "batching/64-at-once",
        run: |times| receive(1, 128, 64, times),
    },
    Counted {
        name: "batching/7-long-at-once",
        run: |times| receive(1, 16 << 10, 7, times),
    },
];

fn count(times: u64) -> usize {
    usize::try_from(times).unwrap_or(usize::MAX)
}

fn decode(bytes: usize, times: u64) {
    let mut codec = Codec::new(bytes, 1);
    for _ in 0..times {
        black_box(codec.decode());
    }
}

/// Messages that arrive so many at once, at connections in turn.
fn receive(connections: usize, bytes: usize, at_once: usize, times: u64) {
    let mut many = Many::open(connections);
    let block = text_frame(&letters(bytes)).repeat(at_once);
    for at in (0..connections).cycle().take(count(times)) {
        many.receive(at, &block);
    }
    assert_eq!(many.delivered(), times * at_once as u64, "all arrived");
}
