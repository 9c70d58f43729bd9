//! What lies in the store of dead letters, and how it gets out.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ropewalk_driver::{
    Filter, LetterState, Letters, LettersError, MemoryBounds, MemoryStore, Runtime, StoredLetter,
};
use serde::Serialize;

use crate::deadline::sleep;
use crate::table::{Align, Table};

/// How many letters are shown.
const SHOWN: usize = 10;

/// How much of a payload is shown.
const PAYLOAD_SHOWN: usize = 44;

/// How much of a reason is shown.
const REASON_SHOWN: usize = 48;

/// How long redriving is to take.
const REDRIVE: Duration = Duration::from_secs(2);

/// The library's own rate, which fewer letters do not fall below.
const RATE_MIN: u64 = 100;

/// How much longer it may take.
const GRACE: Duration = Duration::from_secs(10);

/// How often is looked at whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// No demo that somebody watches has so many letters.
const LETTERS_MAX: usize = 1_000_000;
const BYTES_MAX: usize = 1 << 30;

/// The letters that wait for somebody's decision.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) kinds: Vec<Kind>,
    first: Vec<StoredLetter>,
}

/// Letters that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Kind {
    pub(super) stage: &'static str,
    pub(super) reason: String,
    pub(super) count: u64,
}

/// How the letters fared, as the store and the ledgers know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LettersOutcome {
    /// Letters that were committed to the store.
    pub(super) stored: u64,
    /// Letters that the store lacks, because there were too many.
    pub(super) dropped: u64,
    /// How they failed.
    pub(super) kinds: Vec<Kind>,
    /// How many went back to their processors, and how many a second.
    pub(super) redriven: u64,
    pub(super) rate: u32,
    /// Letters in the state `delivered` at the end, and those in any other.
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    /// How often a redriven letter failed again.
    pub(super) failed_again: u64,
    /// Messages that should have been a letter and come back, and did not do both.
    pub(super) missing: u64,
    /// Letters, and letters that came back, beyond the first of a message.
    pub(super) repeated: u64,
}

/// A store that lasts as long as the demo.
pub(super) fn store() -> MemoryStore {
    let mut bounds = MemoryBounds::default();
    bounds.letters_max = bounds.letters_max.saturating_add(LETTERS_MAX);
    bounds.bytes_max = bounds.bytes_max.saturating_add(BYTES_MAX);
    MemoryStore::new(bounds)
}

/// Waits until so many letters are in the store, or it is clear that they never will be.
pub(super) async fn stored<R: Runtime>(letters: &Letters, wanted: u64) {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        let counts = letters.counts().unwrap_or_default();
        if counts.stored + counts.dropped >= wanted && counts.waiting == 0 {
            return;
        }
        sleep::<R>(LOOK_EVERY).await;
    }
}

/// A rate at which so many letters are gone within a time that a person waits for.
pub(super) fn rate(letters: u64) -> NonZeroU32 {
    let rate = letters.div_ceil(REDRIVE.as_secs()).max(RATE_MIN);
    u32::try_from(rate)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MAX)
}

/// Sends all back that wait, and waits until each was delivered or has failed again. `show` is told how many are
/// through, now and then. Returns how many went.
///
/// # Errors
/// There is no store, or it failed.
pub(super) async fn redrive<R: Runtime>(
    letters: &Letters,
    rate: NonZeroU32,
    mut show: impl AsyncFnMut(u64),
) -> Result<u64, LettersError> {
    let begun = Instant::now();
    let all = letters.redrive(rate).await?;
    let fair = Duration::from_secs(all.div_ceil(u64::from(rate.get())));
    loop {
        let counts = letters.counts().unwrap_or_default();
        let through = counts.delivered + counts.failed_again;
        show(through).await;
        if through >= all || begun.elapsed() > fair + GRACE {
            return Ok(all);
        }
        sleep::<R>(LOOK_EVERY).await;
    }
}

impl Listing {
    /// Reads the store.
    ///
    /// # Errors
    /// There is none, or it failed.
    pub(super) async fn read(letters: &Letters) -> Result<Self, LettersError> {
        let mut all = letters.list(everything(LetterState::UNDECIDED)).await?;
        let mut kinds: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
        for letter in &all {
            let record = &letter.record;
            let kind = (record.stage.name(), record.reason.to_string());
            *kinds.entry(kind).or_default() += 1;
        }
        all.truncate(SHOWN);
        let kinds = kinds.into_iter().map(|((stage, reason), count)| Kind {
            stage,
            reason,
            count,
        });
        Ok(Self {
            kinds: kinds.collect(),
            first: all,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.count).sum()
    }
}

impl LettersOutcome {
    /// Reads the store at the end.
    ///
    /// # Errors
    /// There is none, or it failed.
    pub(super) async fn read(
        letters: &Letters,
        listing: Listing,
        redriven: u64,
        rate: NonZeroU32,
    ) -> Result<Self, LettersError> {
        let all = letters.list(everything(LetterState::ALL)).await?;
        let is_delivered = |letter: &&StoredLetter| letter.state == LetterState::Delivered;
        let delivered = all.iter().filter(is_delivered).count() as u64;
        let counts = letters.counts().unwrap_or_default();
        Ok(Self {
            stored: counts.stored,
            dropped: counts.dropped,
            kinds: listing.kinds,
            redriven,
            rate: rate.get(),
            delivered,
            waiting: all.len() as u64 - delivered,
            failed_again: counts.failed_again,
            missing: 0,
            repeated: 0,
        })
    }

    /// Whether each letter came back once and was processed.
    pub(super) fn is_sound(&self) -> bool {
        self.dropped == 0
            && self.waiting == 0
            && self.failed_again == 0
            && self.missing == 0
            && self.repeated == 0
            && self.delivered == self.stored
    }
}

fn everything<const N: usize>(states: [LetterState; N]) -> Filter {
    Filter {
        states: states.to_vec(),
        limit: usize::MAX,
        ..Filter::default()
    }
}

impl fmt::Display for Listing {
    /// How many failed how, and the first few. Ends with a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() {
            return writeln!(f, "no dead letters");
        }
        let columns = [
            ("dead letters", Align::Right),
            ("stage", Align::Left),
            ("reason", Align::Left),
        ];
        let mut table = Table::new(columns);
        for kind in &self.kinds {
            table.row([
                kind.count.to_string(),
                kind.stage.to_owned(),
                clipped(&kind.reason, REASON_SHOWN),
            ]);
        }
        writeln!(f, "{table}\n")?;
        let columns = [
            ("letter", Align::Right),
            ("connection", Align::Left),
            ("stage", Align::Left),
            ("payload", Align::Left),
        ];
        let mut table = Table::new(columns);
        for letter in &self.first {
            table.row([
                letter.id.to_string(),
                letter.record.connection.to_string(),
                letter.record.stage.name().to_owned(),
                clipped(
                    &String::from_utf8_lossy(&letter.record.payload),
                    PAYLOAD_SHOWN,
                ),
            ]);
        }
        let more = self.len() - self.first.len() as u64;
        if more > 0 {
            table.row([
                "…".into(),
                format!("and {more} more"),
                String::new(),
                String::new(),
            ]);
        }
        writeln!(f, "{table}")
    }
}

impl fmt::Display for LettersOutcome {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} letters stored, {} redriven at {} a second, {} delivered",
            self.stored, self.redriven, self.rate, self.delivered
        )?;
        if !self.is_sound() {
            let Self {
                dropped,
                waiting,
                failed_again,
                missing,
                repeated,
                ..
            } = self;
            write!(
                f,
                "; dropped {dropped}, waiting {waiting}, failed again {failed_again}, missing {missing}, \
                 repeated {repeated}"
            )?;
        }
        Ok(())
    }
}

fn clipped(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max - 1).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_gone_in_two_seconds_and_few_at_the_usual_rate() {
        for (letters, expected) in [(0, 100), (200, 100), (201, 101), (5_000, 2_500)] {
            assert_eq!(rate(letters).get(), expected);
        }
    }

    #[test]
    fn each_way_of_not_coming_back_once_is_unsound() {
        let sound = LettersOutcome {
            stored: 3,
            redriven: 3,
            delivered: 3,
            ..LettersOutcome::default()
        };
        assert!(sound.is_sound());
        let spoil: [fn(&mut LettersOutcome); 6] = [
            |it| it.dropped = 1,
            |it| it.waiting = 1,
            |it| it.failed_again = 1,
            |it| it.missing = 1,
            |it| it.repeated = 1,
            |it| it.delivered = 2,
        ];
        for spoil in spoil {
            let mut spoilt = sound.clone();
            spoil(&mut spoilt);
            assert!(!spoilt.is_sound(), "{spoilt:?}");
        }
    }

    #[test]
    fn long_payloads_are_clipped_by_characters() {
        assert_eq!(clipped("äöü", 3), "äöü");
        assert_eq!(clipped("äöüß", 3), "äö…");
    }
}
