//! What a deadline costs beside how many there are: the core's timers alone.

use std::hint::black_box;
use std::time::Instant;

use super::{Chart, Kind, Series};
use crate::subjects::Timers;

const COUNTS: [u32; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
const TIMES: u32 = 200_000;
/// The quickest of these counts: the others were disturbed.
const REPEATS: usize = 5;

/// Nanoseconds for each deadline that is postponed, and that is met and set anew.
pub fn timers() -> Chart {
    let of = |name: &str, once: fn(&mut Timers)| Series {
        name: name.to_owned(),
        kind: Kind::Ropewalk,
        points: COUNTS
            .map(|count| (f64::from(count), nanos(count, once)))
            .to_vec(),
    };
    Chart {
        name: "timers".to_owned(),
        title: "What a deadline costs".to_owned(),
        x: "deadlines",
        y: "ns each",
        series: vec![
            of("postponed by a message", Timers::postpone),
            of("met, and set anew", |timers| {
                black_box(timers.meet());
            }),
        ],
    }
}

fn nanos(count: u32, once: fn(&mut Timers)) -> f64 {
    let mut timers = Timers::new(count);
    let mut repeat = || {
        let begun = Instant::now();
        for _ in 0..TIMES {
            once(&mut timers);
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..REPEATS).map(|_| repeat()).fold(f64::INFINITY, f64::min)
}
