//! What became of every number of a feed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_core::settings::InvalidFate;

use super::server::FeedReport;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The processor acknowledged it.
    Delivered,
    /// It was refused by the schema.
    Filtered,
    /// Its processor refused it, and it became a dead letter.
    Dead,
    /// It was refused by the schema, and became a dead letter besides.
    Kept,
    /// As a dead letter it came back, and its processor acknowledged it.
    Redriven,
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
    delivered: u8,
    filtered: u8,
    dead: u8,
    kept: u8,
    redriven: u8,
}

impl Fates {
    /// How often it met its first fate; what follows a letter is another matter.
    fn all(self) -> u32 {
        u32::from(self.delivered) + u32::from(self.filtered) + u32::from(self.dead)
    }
}

/// A ledger held against what the server has produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Fates noted, each kind.
    pub(super) delivered: u64,
    pub(super) filtered: u64,
    pub(super) dead: u64,
    pub(super) kept: u64,
    pub(super) redriven: u64,
    /// The server's replies to requests to resume, which have no numbers.
    pub(super) replies: u64,
    /// Numbers up to the server's last without any fate.
    pub(super) lost: Vec<u64>,
    /// Fates beyond the first of a number.
    pub(super) duplicates: u64,
    /// Messages whose fate is not the one that their kind calls for, and numbers that the server never sent.
    pub(super) misjudged: u64,
    /// Numbers that should have become a letter and come back, and did not do both.
    pub(super) letters_missing: u64,
    /// Letters, and letters that came back, beyond the first of a number.
    pub(super) letters_repeated: u64,
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
        let before = fates.all();
        let count = match fate {
            Fate::Delivered => &mut fates.delivered,
            Fate::Filtered => &mut fates.filtered,
            Fate::Dead => &mut fates.dead,
            Fate::Kept => &mut fates.kept,
            Fate::Redriven => &mut fates.redriven,
        };
        *count = count.saturating_add(1);
        let is_first = before == 0 && fates.all() > 0;
        state.known += u64::from(is_first);
    }

    /// Notes a reply that the processor acknowledged.
    pub(super) fn note_reply(&self) {
        self.lock().replies += 1;
    }

    /// How many different numbers have met their fate.
    pub(super) fn known(&self) -> u64 {
        self.lock().known
    }

    /// Holds the ledger against the server's books, once all letters were redriven. `invalid` is what was to become of
    /// messages that the schema refuses.
    pub(super) fn audit(&self, feed: &FeedReport, invalid: InvalidFate) -> Audit {
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
            audit.kept += u64::from(fates.kept);
            audit.redriven += u64::from(fates.redriven);
            audit.duplicates += u64::from(fates.all().saturating_sub(1));
            let Some(made_for) = made_for(feed, number) else {
                audit.misjudged += u64::from(fates.all());
                audit.misjudged += u64::from(fates.kept) + u64::from(fates.redriven);
                continue;
            };
            let (right, letters) = match made_for {
                Purpose::Delivery => (fates.delivered, None),
                Purpose::Filter => match invalid {
                    InvalidFate::Count => (fates.filtered, None),
                    InvalidFate::DeadLetter => (fates.filtered, Some(fates.kept)),
                },
                Purpose::Death => (fates.dead, Some(fates.dead)),
            };
            audit.misjudged += u64::from(fates.all() - u32::from(right));
            if fates.all() == 0 {
                audit.lost.push(number);
            }
            match letters {
                Some(letters) => {
                    audit.letters_missing += u64::from(letters == 0 || fates.redriven == 0);
                    audit.letters_repeated += u64::from(letters.saturating_sub(1));
                    audit.letters_repeated += u64::from(fates.redriven.saturating_sub(1));
                }
                None => audit.misjudged += u64::from(fates.kept) + u64::from(fates.redriven),
            }
        }
        audit
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server made a message for.
#[derive(Clone, Copy)]
enum Purpose {
    Delivery,
    Filter,
    Death,
}

/// What a message was made for; `None` for one that was never made.
fn made_for(feed: &FeedReport, number: u64) -> Option<Purpose> {
    if number > feed.last {
        None
    } else if feed.malformed.contains(&number) {
        Some(Purpose::Filter)
    } else if feed.poison.contains(&number) {
        Some(Purpose::Death)
    } else {
        Some(Purpose::Delivery)
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

    const WHOLE: [(u64, Fate); 6] = [
        (1, Fate::Delivered),
        (2, Fate::Filtered),
        (4, Fate::Dead),
        (5, Fate::Delivered),
        (3, Fate::Delivered),
        (4, Fate::Redriven),
    ];

    fn audit(fates: &[(u64, Fate)]) -> Audit {
        ledger(fates).audit(&feed(), InvalidFate::Count)
    }

    #[test]
    fn a_whole_feed_has_lost_nothing() {
        let ledger = ledger(&WHOLE);
        assert_eq!(ledger.known(), 5);
        let expected = Audit {
            delivered: 3,
            filtered: 1,
            dead: 1,
            redriven: 1,
            ..Audit::default()
        };
        assert_eq!(ledger.audit(&feed(), InvalidFate::Count), expected);
    }

    #[test]
    fn every_letter_is_to_come_back_once() {
        let letters = |fates: &[(u64, Fate)]| {
            let audit = audit(fates);
            (
                audit.letters_missing,
                audit.letters_repeated,
                audit.misjudged,
            )
        };
        assert_eq!(letters(&WHOLE), (0, 0, 0));
        assert_eq!(letters(&WHOLE[..5]), (1, 0, 0));
        let and = |fate| [&WHOLE[..], &[fate]].concat();
        assert_eq!(letters(&and((4, Fate::Redriven))), (0, 1, 0));
        assert_eq!(letters(&and((1, Fate::Redriven))), (0, 0, 1));
        assert_eq!(letters(&and((2, Fate::Kept))), (0, 0, 1));
    }

    #[test]
    fn where_invalid_messages_are_kept_they_are_to_come_back_once() {
        let letters = |fates: &[(u64, Fate)]| {
            let audit = ledger(fates).audit(&feed(), InvalidFate::DeadLetter);
            (
                audit.letters_missing,
                audit.letters_repeated,
                audit.misjudged,
            )
        };
        let mut fates = WHOLE.to_vec();
        assert_eq!(letters(&fates), (1, 0, 0));
        fates.push((2, Fate::Redriven));
        assert_eq!(letters(&fates), (1, 0, 0), "it was never a letter");
        fates.push((2, Fate::Kept));
        assert_eq!(letters(&fates), (0, 0, 0));
        fates.push((2, Fate::Kept));
        assert_eq!(letters(&fates), (0, 1, 0));
    }

    #[test]
    fn a_missing_number_is_lost_wherever_it_is() {
        for missing in 0..5 {
            let mut fates = WHOLE.to_vec();
            let (number, _) = fates.remove(missing);
            assert_eq!(audit(&fates).lost, [number]);
        }
        assert_eq!(audit(&[]).lost, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_second_fate_is_a_duplicate_and_a_wrong_one_is_misjudged() {
        let mut fates = WHOLE.to_vec();
        fates.push((1, Fate::Delivered));
        fates.push((2, Fate::Delivered));
        let seen = audit(&fates);
        assert_eq!((seen.duplicates, seen.misjudged), (2, 1));
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
        let audit = ledger.audit(&feed(), InvalidFate::Count);
        assert_eq!((audit.misjudged, audit.lost.len()), (4, 0));
    }
}
