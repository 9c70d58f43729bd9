//! A feed: numbered messages that come in bursts.
//!
//! A message is a function of the seed, the feed and the number, and the time of each burst is one of the
//! seed and the feed. So a feed's history is its last number, and nobody has to run for it to grow.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::gate::lock;
use super::noise::{between, mix};

const RATE_MIN: u64 = 50;
const RATE_MAX: u64 = 200;
const BURST_MAX: u64 = 15;

/// One feed.
pub(super) struct Feed {
    seed: u64,
    number: u64,
    pace: Mutex<Pace>,
}

struct Pace {
    last: u64,
    bursts: u64,
    /// `None` once the feed rests.
    next_at: Option<Instant>,
}

/// How far a feed has come.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// The last number produced; 0 before the first.
    pub(super) last: u64,
    /// When there will be more, unless the feed rests.
    pub(super) next_at: Option<Instant>,
}

/// What a processor is to make of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ordinary one.
    Tick,
    /// Valid JSON of the wrong schema: `price` is a string.
    Malformed,
    /// One that the processor wants to see twice.
    Busy,
    /// One that the processor never takes.
    Poison,
}

/// What a feed has produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FeedReport {
    /// The last number produced; 0 if none was.
    pub(crate) last: u64,
    /// How many ordinary messages there are.
    pub(crate) ticks: u64,
    /// The numbers of the malformed messages.
    pub(crate) malformed: BTreeSet<u64>,
    /// The numbers of the messages to be retried.
    pub(crate) busy: BTreeSet<u64>,
    /// The numbers of the messages to be rejected.
    pub(crate) poison: BTreeSet<u64>,
}

impl Feed {
    /// A feed that begins to produce at `now`.
    pub(super) fn new(seed: u64, number: u64, now: Instant) -> Self {
        Self {
            seed,
            number,
            pace: Mutex::new(Pace {
                last: 0,
                bursts: 0,
                next_at: Some(now),
            }),
        }
    }

    /// Produces what is due at `now`.
    pub(super) fn progress(&self, now: Instant) -> Progress {
        let mut pace = lock(&self.pace);
        while let Some(at) = pace.next_at.filter(|at| *at <= now) {
            let (size, gap) = self.burst(pace.bursts);
            pace.bursts += 1;
            pace.last += size;
            pace.next_at = Some(at + gap);
        }
        Progress {
            last: pace.last,
            next_at: pace.next_at,
        }
    }

    /// Produces what is due at `now`, and nothing after that.
    pub(super) fn rest(&self, now: Instant) {
        self.progress(now);
        lock(&self.pace).next_at = None;
    }

    /// The text of a message.
    pub(super) fn message(&self, number: u64) -> String {
        let noise = self.noise(2, number);
        let (whole, cents) = (50 + noise % 100, noise / 100 % 100);
        let (kind, price) = match self.kind(number) {
            Kind::Tick => ("tick", format!("{whole}.{cents:02}")),
            Kind::Malformed => ("tick", r#""oops""#.to_owned()),
            Kind::Busy => ("busy", format!("{whole}.{cents:02}")),
            Kind::Poison => ("poison", format!("{whole}.{cents:02}")),
        };
        format!(r#"{{"seq":{number},"kind":"{kind}","price":{price}}}"#)
    }

    /// What a message is: 1 in 200 malformed, 1 in 300 busy, 1 in 500 poison.
    pub(super) fn kind(&self, number: u64) -> Kind {
        match self.noise(1, number) % 3000 {
            0..15 => Kind::Malformed,
            15..25 => Kind::Busy,
            25..31 => Kind::Poison,
            _ => Kind::Tick,
        }
    }

    /// What the feed has produced until `now`.
    pub(super) fn report(&self, now: Instant) -> FeedReport {
        let mut report = FeedReport {
            last: self.progress(now).last,
            ..FeedReport::default()
        };
        for number in 1..=report.last {
            match self.kind(number) {
                Kind::Tick => report.ticks += 1,
                Kind::Malformed => _ = report.malformed.insert(number),
                Kind::Busy => _ = report.busy.insert(number),
                Kind::Poison => _ = report.poison.insert(number),
            }
        }
        report
    }

    /// The size of the burst with this index, and the time from it to the next.
    fn burst(&self, index: u64) -> (u64, Duration) {
        let rate = RATE_MIN + self.noise(3, 0) % (RATE_MAX - RATE_MIN + 1);
        let size = 1 + self.noise(4, index) % BURST_MAX;
        let fair = Duration::from_millis(size * 1000 / rate).max(Duration::from_millis(1));
        (
            size,
            between(self.noise(5, index), fair / 2, fair.mul_f64(1.5)),
        )
    }

    fn noise(&self, purpose: u64, number: u64) -> u64 {
        mix([self.seed, self.number, purpose, number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_the_same_however_often_it_is_looked_at() {
        let start = Instant::now();
        let (often, once) = (Feed::new(7, 3, start), Feed::new(7, 3, start));
        for millisecond in 0..2000 {
            often.progress(start + Duration::from_millis(millisecond));
        }
        let end = start + Duration::from_secs(2);
        assert_eq!(often.report(end), once.report(end));
        assert_eq!(often.message(17), once.message(17));
    }

    #[test]
    fn rate_is_between_fifty_and_two_hundred_a_second() {
        let start = Instant::now();
        for number in 0..50 {
            let feed = Feed::new(1, number, start);
            let last = feed.progress(start + Duration::from_secs(60)).last;
            assert!((45 * 60..=220 * 60).contains(&last), "{last}");
        }
    }

    #[test]
    fn resting_feed_produces_no_more() {
        let start = Instant::now();
        let feed = Feed::new(1, 1, start);
        feed.rest(start + Duration::from_secs(1));
        let later = feed.progress(start + Duration::from_secs(9));
        assert_eq!(
            later.last,
            Feed::new(1, 1, start)
                .progress(start + Duration::from_secs(1))
                .last
        );
        assert!(later.next_at.is_none());
    }

    #[test]
    fn text_of_each_message_is_of_its_kind() {
        let start = Instant::now();
        let feed = Feed::new(2, 0, start);
        let report = feed.report(start + Duration::from_secs(200));
        assert!(
            !report.malformed.is_empty() && !report.busy.is_empty() && !report.poison.is_empty()
        );
        let odd = report.malformed.len() + report.busy.len() + report.poison.len();
        assert_eq!(report.last, report.ticks + odd as u64);
        for number in 1..=report.last {
            let value: serde_json::Value = serde_json::from_str(&feed.message(number)).unwrap();
            assert_eq!(value["seq"], number);
            assert_eq!(
                value["price"].is_string(),
                report.malformed.contains(&number)
            );
            assert_eq!(value["kind"] == "busy", report.busy.contains(&number));
            assert_eq!(value["kind"] == "poison", report.poison.contains(&number));
        }
    }
}
