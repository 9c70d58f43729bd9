//! What is compared. Of everything here, less is better.

use serde::Serialize;

use crate::work::{Done, Work};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Nanoseconds of processor time a message.
    CpuPerMessage,
    /// Microseconds from a message to its echo: the median.
    RoundTrip50,
    /// The 99th percentile.
    RoundTrip99,
    /// The 99.9th percentile.
    RoundTrip999,
    /// Bytes of memory a connection.
    MemoryPerConnection,
    /// How often the process goes to sleep in a second.
    SleepsPerSecond,
    /// Microseconds of processor time a connection.
    CpuPerConnection,
    /// Microseconds on the wall a connection.
    WallPerConnection,
    /// Milliseconds on the wall.
    Wall,
    /// System calls a message.
    CallsPerMessage,
    /// Bytes of frames that the peer received, a message.
    WireBytes,
}

impl Measure {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuPerMessage => "ns of CPU a message",
            Self::RoundTrip50 => "µs there and back, p50",
            Self::RoundTrip99 => "p99",
            Self::RoundTrip999 => "p99.9",
            Self::MemoryPerConnection => "bytes a connection",
            Self::SleepsPerSecond => "sleeps a second",
            Self::CpuPerConnection => "µs of CPU a connection",
            Self::WallPerConnection => "µs of time a connection",
            Self::Wall => "ms until all are back",
            Self::CallsPerMessage => "system calls a message",
            Self::WireBytes => "bytes a message on the wire",
        }
    }

    /// What came of one round.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a measurement has no sixteen digits"
    )]
    pub fn of(self, work: Work, done: &Done) -> f64 {
        let messages = work.messages().max(done.seen.messages) as f64;
        let connections = work.connections() as f64;
        let round_trip = |which: usize| {
            let nanos = done.round_trip_nanos.map(|nanos| nanos[which]);
            nanos.map_or(f64::NAN, |nanos| nanos as f64 / 1e3)
        };
        match self {
            Self::CpuPerMessage => done.cpu_nanos as f64 / messages,
            Self::RoundTrip50 => round_trip(0),
            Self::RoundTrip99 => round_trip(1),
            Self::RoundTrip999 => round_trip(2),
            Self::MemoryPerConnection => done.memory_bytes as f64 / connections,
            Self::SleepsPerSecond => done.sleeps as f64 / (done.wall_nanos as f64 / 1e9),
            Self::CpuPerConnection => done.cpu_nanos as f64 / 1e3 / connections,
            Self::WallPerConnection => done.wall_nanos as f64 / 1e3 / connections,
            Self::Wall => done.wall_nanos as f64 / 1e6,
            Self::CallsPerMessage => done.calls.map_or(f64::NAN, |calls| calls as f64 / messages),
            Self::WireBytes => done
                .wire_bytes
                .map_or(f64::NAN, |bytes| bytes as f64 / messages),
        }
    }
}

/// One measure of one contestant over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// What it is of.
    pub measure: Measure,
    /// The middle round; of an even number the lower of the two.
    pub median: f64,
    /// The best round.
    pub min: f64,
    /// The worst round.
    pub max: f64,
    /// The median of each round's ratio to what the best peer on the same runtime did in that round.
    pub ratio: Option<f64>,
    /// The same to the bare read loop on the same runtime, where there is one.
    pub loop_ratio: Option<f64>,
}

/// The middle one; of an even number the lower of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The median of the ratios, pair by pair.
pub(super) fn paired_ratio(own: &[f64], peer: &[f64]) -> f64 {
    let ratios: Vec<_> = own.iter().zip(peer).map(|(own, peer)| own / peer).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_and_the_lower_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_that_of_rounds_which_stood_beside_each_other() {
        // A slow round slows both: the ratio of the medians would be another.
        let ratio = paired_ratio(&[1.0, 20.0, 3.0], &[2.0, 40.0, 3.0]);
        assert!((ratio - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn each_measure_divides_by_what_it_is_about() {
        let done = Done {
            cpu_nanos: 5_000,
            wall_nanos: 2_000_000_000,
            memory_bytes: 4_096,
            sleeps: 7,
            calls: Some(20),
            wire_bytes: Some(50),
            ..Done::default()
        };
        let ten = Work::Receive {
            bytes: 1,
            messages: 10,
        };
        let two = Work::Idle { connections: 2 };
        for (measure, work, value) in [
            (Measure::CpuPerMessage, ten, 500.0),
            (Measure::CallsPerMessage, ten, 2.0),
            (Measure::WireBytes, ten, 5.0),
            (Measure::MemoryPerConnection, two, 2_048.0),
            (Measure::SleepsPerSecond, two, 3.5),
            (Measure::CpuPerConnection, two, 2.5),
            (Measure::WallPerConnection, two, 1_000_000.0),
            (Measure::Wall, two, 2_000.0),
        ] {
            let found = measure.of(work, &done);
            assert!((found - value).abs() < 1e-9, "{measure:?}: {found}");
        }
    }
}
