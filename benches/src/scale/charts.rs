//! Charts of what was measured.

use super::{Chart, Kind, Measured, Series, Trace};
use crate::compare::median;
use crate::contestants::{Contestant, Part};
use crate::work::{Done, Work};

/// Processor time a message.
#[allow(
    clippy::cast_precision_loss,
    reason = "a measurement has no sixteen digits"
)]
pub fn cost(measured: &[Measured]) -> Chart {
    Chart {
        name: "cost".to_owned(),
        title: "What a message costs, at 200,000 a second over all connections".to_owned(),
        x: "connections",
        y: "ns of processor time a message",
        series: by_contestant(measured, |work, done| {
            let Work::Paced { connections, .. } = work else {
                return None;
            };
            let nanos = done.cpu_nanos as f64 / done.seen.messages as f64;
            Some((connections, nanos))
        }),
    }
}

/// Memory of each idle connection after the first, which has the program's own pages touched as well.
#[allow(
    clippy::cast_precision_loss,
    reason = "a measurement has no sixteen digits"
)]
pub fn memory(measured: &[Measured]) -> Chart {
    let mut series = by_contestant(measured, |work, done| {
        let Work::Idle { connections } = work else {
            return None;
        };
        Some((connections, done.memory_bytes as f64))
    });
    for series in &mut series {
        let [first, rest @ ..] = &series.points[..] else {
            continue;
        };
        let further = rest.iter();
        series.points = further
            .map(|(x, bytes)| (*x, (bytes - first.1) / (x - first.0)))
            .collect();
    }
    Chart {
        name: "memory".to_owned(),
        title: "What an idle connection holds, beyond the first".to_owned(),
        x: "connections",
        y: "bytes of memory a connection",
        series,
    }
}

/// How often idle fleets wake up that ping after so many seconds of silence.
pub fn wake_ups(measured: &[Measured], interval: u64) -> Chart {
    let of = |trace: Trace, what: &str, count: fn(&Done) -> Option<u64>| {
        let chosen: Vec<_> = measured
            .iter()
            .filter(|(job, _)| job.trace == trace)
            .cloned()
            .collect();
        let mut series = by_contestant(&chosen, |work, done| {
            let Work::Pinged {
                connections,
                every_seconds,
                ..
            } = work
            else {
                return None;
            };
            let value = per_second(count(done)?, done);
            (every_seconds == interval).then_some((connections, value))
        });
        for series in &mut series {
            series.name = format!("{}, {what}", series.name);
        }
        series
    };
    let mut series = of(Trace::Off, "sleeps", |done| Some(done.sleeps));
    let mut waits = of(Trace::Waits, "epoll waits", |done| done.calls);
    for series in &mut waits {
        series.kind = Kind::Peer;
    }
    let sizes: Vec<f64> = series.first().map_or_else(Vec::new, |first| {
        first.points.iter().map(|(x, _)| *x).collect()
    });
    series.append(&mut waits);
    series.push(Series {
        name: "pings a second, and one".to_owned(),
        kind: Kind::Bound,
        points: sizes
            .into_iter()
            .map(|x| (x, expected(x, interval)))
            .collect(),
    });
    Chart {
        name: format!("wake-ups-{interval}s"),
        title: format!("How often idle fleets wake up that ping every {interval} s"),
        x: "connections",
        y: "times a second",
        series,
    }
}

/// One wake-up for each ping, and one a second for the shard. The answers are not in it.
#[allow(clippy::cast_precision_loss, reason = "a number of seconds")]
fn expected(connections: f64, interval: u64) -> f64 {
    connections / interval as f64 + 1.0
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a measurement has no sixteen digits"
)]
fn per_second(count: u64, done: &Done) -> f64 {
    count as f64 / (done.wall_nanos as f64 / 1e9)
}

/// What was measured of one contestant at each size, once or more often.
type Sizes = Vec<(usize, Vec<f64>)>;

/// A line for each contestant, in the order of their first appearance; where one did the same again, the median.
#[allow(clippy::cast_precision_loss, reason = "a number of connections")]
fn by_contestant(
    measured: &[Measured],
    point: impl Fn(Work, &Done) -> Option<(usize, f64)>,
) -> Vec<Series> {
    let mut found: Vec<(Contestant, Sizes)> = Vec::new();
    for (job, done) in measured {
        let Some((connections, value)) = point(job.work, done) else {
            continue;
        };
        let at = found.iter().position(|(who, _)| *who == job.who);
        let at = at.unwrap_or_else(|| {
            found.push((job.who, Vec::new()));
            found.len() - 1
        });
        let sizes = &mut found[at].1;
        match sizes.iter_mut().find(|(size, _)| *size == connections) {
            Some((_, values)) => values.push(value),
            None => sizes.push((connections, vec![value])),
        }
    }
    let series = |(who, mut sizes): (Contestant, Sizes)| {
        sizes.sort_by_key(|(size, _)| *size);
        Series {
            name: who.name().to_owned(),
            kind: match who.part() {
                Part::Ropewalk => Kind::Ropewalk,
                Part::Peer => Kind::Peer,
                Part::Bound => Kind::Bound,
            },
            points: sizes
                .iter()
                .map(|(size, values)| (*size as f64, median(values)))
                .collect(),
        }
    };
    found.into_iter().map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Job;
    use crate::work::Seen;

    fn measured(who: Contestant, work: Work, done: Done) -> Measured {
        let trace = match done.calls {
            None => Trace::Off,
            Some(_) => Trace::Waits,
        };
        (Job { who, work, trace }, done)
    }

    #[test]
    fn a_line_has_the_median_of_each_size_in_order() {
        let paced = |connections, cpu_nanos| {
            let work = Work::Paced {
                connections,
                messages: 10,
            };
            let seen = Seen {
                messages: 10,
                ..Seen::default()
            };
            let done = Done {
                cpu_nanos,
                seen,
                ..Done::default()
            };
            measured(Contestant::RopewalkTokio, work, done)
        };
        let idle = |connections, memory_bytes| {
            let done = Done {
                memory_bytes,
                ..Done::default()
            };
            measured(Contestant::BareTokio, Work::Idle { connections }, done)
        };
        let all = [
            paced(100, 90),
            idle(5, 9_096),
            idle(1, 5_096),
            paced(1, 10),
            paced(100, 30),
            paced(100, 50),
        ];
        let cost = cost(&all);
        assert_eq!(cost.series.len(), 1);
        assert_eq!(cost.series[0].points, [(1.0, 1.0), (100.0, 5.0)]);
        assert_eq!(memory(&all).series[0].points, [(5.0, 1_000.0)]);
    }

    #[test]
    fn wake_ups_are_told_by_interval_and_by_how_they_were_counted() {
        let pinged = |every_seconds, sleeps, calls| {
            let work = Work::Pinged {
                connections: 10,
                every_seconds,
                seconds: 2,
            };
            let done = Done {
                sleeps,
                calls,
                wall_nanos: 2_000_000_000,
                ..Done::default()
            };
            measured(Contestant::RopewalkSmol, work, done)
        };
        let all = [
            pinged(5, 8, None),
            pinged(5, 99, Some(12)),
            pinged(20, 7, None),
        ];
        let chart = wake_ups(&all, 5);
        let points: Vec<_> = chart.series.iter().map(|it| it.points.clone()).collect();
        assert_eq!(points, [[(10.0, 4.0)], [(10.0, 6.0)], [(10.0, 3.0)]]);
        assert_eq!(wake_ups(&all, 20).series[0].points, [(10.0, 3.5)]);
    }
}
