//! What each side knows of a connection's messages, in bits and counts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Ending;

/// A set of numbers from 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    words: Vec<u64>,
}

impl Numbers {
    /// Adds a number; whether it was there before.
    pub(crate) fn insert(&mut self, number: u64) -> Was {
        let (word, bit) = place(number);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let was = self.words[word] & bit;
        self.words[word] |= bit;
        if was == 0 { Was::New } else { Was::Known }
    }

    pub(crate) fn len(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// How many numbers up to this one are not here and are such that `concerns`.
    pub(crate) fn lacks(&self, to: u64, concerns: impl Fn(u64) -> bool) -> u64 {
        let lacks = |number: &u64| {
            let (word, bit) = place(*number);
            concerns(*number) && self.words.get(word).is_none_or(|word| word & bit == 0)
        };
        (1..=to).filter(lacks).count() as u64
    }

    /// How many numbers are in both.
    pub(crate) fn common(&self, other: &Self) -> u64 {
        let both = self.words.iter().zip(&other.words);
        both.map(|(one, other)| u64::from((one & other).count_ones()))
            .sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Was {
    New,
    Known,
}

fn place(number: u64) -> (usize, u64) {
    let index = number.saturating_sub(1);
    (
        usize::try_from(index / 64).unwrap_or(usize::MAX),
        1 << (index % 64),
    )
}

/// What the server knows of one connection.
#[derive(Debug, Default)]
pub(crate) struct ServerBook {
    state: Mutex<ServerPage>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ServerPage {
    /// Sockets accepted.
    pub(crate) sockets: u64,
    /// The highest number that any socket carried.
    pub(crate) high: u64,
    /// Outbound: the numbers that came.
    pub(crate) received: Numbers,
    /// Numbers that a later socket carried again, and rightly.
    pub(crate) repeated: u64,
    /// Numbers that came again although they are not marked, or on the same socket.
    pub(crate) duplicates: u64,
    /// Messages that were not the ones that had to come next.
    pub(crate) misplaced: u64,
    /// Messages that were not as they were made.
    pub(crate) broken: u64,
    /// Inbound: what each socket carried to its end, and how it ended; `None` if the client ended it.
    pub(crate) carried: Vec<(u64, u64, Option<Ending>)>,
    /// How often each ending was really inflicted, in the order of [`Ending::ALL`].
    pub(crate) endings: [u64; Ending::ALL.len()],
    /// What went wrong with the server itself.
    pub(crate) problems: Vec<String>,
}

impl ServerBook {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ServerPage> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerPage {
    /// Counts an ending that is about to be inflicted.
    pub(crate) fn count(&mut self, ending: Ending) {
        if let Some(at) = Ending::ALL.iter().position(|each| *each == ending) {
            self.endings[at] += 1;
        }
    }
}

/// What the client knows of one connection at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientPage {
    /// Outbound messages by their outcome.
    pub(crate) written: Numbers,
    pub(crate) interrupted: Numbers,
    pub(crate) not_sent: Numbers,
    pub(crate) acknowledged: Numbers,
    /// How many messages it says the server may have twice.
    pub(crate) resent: u64,
    /// Outcomes that a message cannot have here, and replies that are not its own.
    pub(crate) strange: u64,
    /// Inbound messages, each counted once.
    pub(crate) received: u64,
    /// Inbound messages with a number that was not above all before.
    pub(crate) repeated: u64,
    /// Numbers that were passed over, from the first to the last, and whether another socket had come in between.
    pub(crate) gaps: Vec<(u64, u64, Seam)>,
    /// The last number that came.
    pub(crate) last: u64,
    /// How it ended, if not as asked for; and laws of the library's own counters that do not hold.
    pub(crate) problems: Vec<String>,
}

/// Where a gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seam {
    BetweenSockets,
    WithinSocket,
}
