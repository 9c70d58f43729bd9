//! What became of every number of a feed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::server::FeedReport;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The processor acknowledged it.
    Delivered,
    /// It was refused by the schema.
    Filtered,
    /// It became a dead letter.
    Dead,
}

/// The fates of one feed's messages, noted by the application as they come to pass and independently of the
/// library's own counters.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, which starts from 1.
    fates: Vec<Fates>,
    /// How many numbers have at least one fate.
    known: u64,
    /// Messages without a number that could be theirs.
    strange: u64,
    replies: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fates {
    delivered: u32,
    filtered: u32,
    dead: u32,
}

impl Fates {
    fn all(self) -> u32 {
        self.delivered + self.filtered + self.dead
    }
}

/// A ledger held against what the server has produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Fates noted, each kind.
    pub(super) delivered: u64,
    pub(super) filtered: u64,
    pub(super) dead: u64,
    /// The server's replies to requests to resume, which have no numbers.
    pub(super) replies: u64,
    /// Numbers up to the server's last without any fate.
    pub(super) lost: Vec<u64>,
    /// Fates beyond the first of a number.
    pub(super) duplicates: u64,
    /// Messages whose fate is not the one that their kind calls for, and numbers that the server never sent.
    pub(super) misjudged: u64,
}

/// No feed comes near this in a demo; a larger number is a fault of its message.
const NUMBER_MAX: u64 = 1 << 28;

impl Ledger {
    /// Notes a fate. `None` is a message in which no number could be found.
    pub(super) fn note(&self, number: Option<u64>, fate: Fate) {
        let mut state = self.lock();
        let index = number
            .filter(|number| *number <= NUMBER_MAX)
            .and_then(|number| number.checked_sub(1))
            .and_then(|index| usize::try_from(index).ok());
        let Some(index) = index else {
            state.strange += 1;
            return;
        };
        if state.fates.len() <= index {
            state.fates.resize(index + 1, Fates::default());
        }
        let fates = &mut state.fates[index];
        let first = fates.all() == 0;
        match fate {
            Fate::Delivered => fates.delivered += 1,
            Fate::Filtered => fates.filtered += 1,
            Fate::Dead => fates.dead += 1,
        }
        state.known += u64::from(first);
    }

    /// Notes a reply that the processor acknowledged.
    pub(super) fn note_reply(&self) {
        self.lock().replies += 1;
    }

    /// How many different numbers have met their fate.
    pub(super) fn known(&self) -> u64 {
        self.lock().known
    }

    /// Holds the ledger against the server's books.
    pub(super) fn audit(&self, feed: &FeedReport) -> Audit {
        let state = self.lock();
        let mut audit = Audit {
            replies: state.replies,
            misjudged: state.strange,
            ..Audit::default()
        };
        let noted = state.fates.len() as u64;
        for number in 1..=feed.last.max(noted) {
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            let fates = state.fates.get(index).copied().unwrap_or_default();
            audit.delivered += u64::from(fates.delivered);
            audit.filtered += u64::from(fates.filtered);
            audit.dead += u64::from(fates.dead);
            audit.duplicates += u64::from(fates.all().saturating_sub(1));
            let (right, wrong) = match expected(feed, number) {
                Some(Fate::Delivered) => (fates.delivered, fates.filtered + fates.dead),
                Some(Fate::Filtered) => (fates.filtered, fates.delivered + fates.dead),
                Some(Fate::Dead) => (fates.dead, fates.delivered + fates.filtered),
                None => {
                    audit.misjudged += u64::from(fates.all());
                    continue;
                }
            };
            audit.misjudged += u64::from(wrong);
            if right + wrong == 0 {
                audit.lost.push(number);
            }
        }
        audit
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fate that a message was made for; `None` for one that was never made.
fn expected(feed: &FeedReport, number: u64) -> Option<Fate> {
    if number > feed.last {
        None
    } else if feed.malformed.contains(&number) {
        Some(Fate::Filtered)
    } else if feed.poison.contains(&number) {
        Some(Fate::Dead)
    } else {
        Some(Fate::Delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> FeedReport {
        FeedReport {
            last: 5,
            ticks: 3,
            malformed: [2].into(),
            poison: [4].into(),
            ..FeedReport::default()
        }
    }

    fn ledger(fates: &[(u64, Fate)]) -> Ledger {
        let ledger = Ledger::default();
        for (number, fate) in fates {
            ledger.note(Some(*number), *fate);
        }
        ledger
    }

    const WHOLE: [(u64, Fate); 5] = [
        (1, Fate::Delivered),
        (2, Fate::Filtered),
        (4, Fate::Dead),
        (5, Fate::Delivered),
        (3, Fate::Delivered),
    ];

    #[test]
    fn a_whole_feed_has_lost_nothing() {
        let ledger = ledger(&WHOLE);
        assert_eq!(ledger.known(), 5);
        let expected = Audit {
            delivered: 3,
            filtered: 1,
            dead: 1,
            ..Audit::default()
        };
        assert_eq!(ledger.audit(&feed()), expected);
    }

    #[test]
    fn a_missing_number_is_lost_wherever_it_is() {
        for missing in 0..WHOLE.len() {
            let mut fates = WHOLE.to_vec();
            let (number, _) = fates.remove(missing);
            assert_eq!(ledger(&fates).audit(&feed()).lost, [number]);
        }
        assert_eq!(ledger(&[]).audit(&feed()).lost, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_second_fate_is_a_duplicate_and_a_wrong_one_is_misjudged() {
        let mut fates = WHOLE.to_vec();
        fates.push((1, Fate::Delivered));
        fates.push((2, Fate::Delivered));
        let audit = ledger(&fates).audit(&feed());
        assert_eq!((audit.duplicates, audit.misjudged), (2, 1));
        assert_eq!(ledger(&fates).known(), 5);
    }

    #[test]
    fn numbers_that_were_never_sent_are_misjudged() {
        let mut fates = WHOLE.to_vec();
        fates.extend([
            (0, Fate::Delivered),
            (6, Fate::Delivered),
            (u64::MAX, Fate::Dead),
        ]);
        let ledger = ledger(&fates);
        ledger.note(None, Fate::Filtered);
        let audit = ledger.audit(&feed());
        assert_eq!((audit.misjudged, audit.lost.len()), (4, 0));
    }
}
