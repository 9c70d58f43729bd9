//! A stored letter and what may be done to it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ropewalk_core::{Bytes, Direction, Kind, Stage};

/// Names a letter in its store; never reused. Counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message that could not be delivered or processed, as a store keeps it: with times that mean something to
/// another process too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterRecord {
    /// The connection's name, by which it is found again when the letter is redriven.
    pub connection: Arc<str>,
    /// The endpoint in use when it failed, without secrets.
    pub endpoint: Box<str>,
    /// The socket it came over; for an outbound message, the last one that was tried.
    pub generation: u32,
    /// The message's number within its connection and process.
    pub seq: u64,
    /// Which way it was going.
    pub direction: Direction,
    /// On which level it failed.
    pub stage: Stage,
    /// Why it failed the last time.
    pub reason: Box<str>,
    /// How often it was tried, redriving included.
    pub attempts: u32,
    /// When it was received, or accepted for sending.
    pub received_at: SystemTime,
    /// When it failed for the first time.
    pub first_failed_at: SystemTime,
    /// Text or binary.
    pub kind: Kind,
    /// The payload, untouched.
    pub payload: Bytes,
}

/// A letter in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its name.
    pub id: LetterId,
    /// What it is about.
    pub record: LetterRecord,
    /// What is to become of it.
    pub state: LetterState,
    /// What somebody put in the place of the payload; it is what is sent or processed when the letter is retried.
    pub edited: Option<Bytes>,
}

impl StoredLetter {
    /// The payload that a retry takes.
    pub fn payload(&self) -> &Bytes {
        self.edited.as_ref().unwrap_or(&self.record.payload)
    }
}

/// What is to become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LetterState {
    /// Nobody has decided.
    Waiting,
    /// Somebody has looked and wants it left alone: [redriving all](crate::Letters::redrive) passes it by.
    Held,
    /// It goes back to its connection, in this process or, if that ends first, in the next that opens the store.
    Retrying,
    /// Somebody has decided that it is worth nothing.
    Discarded,
    /// It was processed, or sent, after all.
    Delivered,
}

impl LetterState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Held,
        Self::Retrying,
        Self::Discarded,
        Self::Delivered,
    ];

    /// The states in which something may still become of a letter.
    pub const UNDECIDED: [Self; 3] = [Self::Waiting, Self::Held, Self::Retrying];

    /// The word that records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Retrying => "retrying",
            Self::Discarded => "discarded",
            Self::Delivered => "delivered",
        }
    }
}

impl fmt::Display for LetterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something done to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Leave it alone.
    Hold,
    /// Try it again.
    Retry,
    /// Put this in the place of its payload, which is kept beside it.
    Edit(Bytes),
    /// Give it up.
    Discard,
    /// It was processed or sent.
    Delivered,
    /// It was tried again, so many times, and failed for this reason.
    Failed {
        /// Why.
        reason: Box<str>,
        /// How often it was tried.
        attempts: u32,
    },
}

impl Change {
    /// The state of a letter after the change; `None` if the change means nothing in the state that it is in.
    ///
    /// A letter that was delivered or discarded stays that; but when one was on its way while it was held or
    /// discarded, its delivery counts.
    pub fn leads_to(&self, from: LetterState) -> Option<LetterState> {
        use LetterState::{Delivered, Discarded, Held, Retrying, Waiting};
        match (self, from) {
            (Self::Hold, Waiting | Retrying) => Some(Held),
            (Self::Retry, Waiting | Held) => Some(Retrying),
            (Self::Edit(_), Waiting | Held) => Some(from),
            (Self::Discard, Waiting | Held | Retrying) => Some(Discarded),
            (Self::Delivered, Waiting | Held | Retrying | Discarded) => Some(Delivered),
            (Self::Failed { .. }, Retrying) => Some(Waiting),
            (
                Self::Hold
                | Self::Retry
                | Self::Edit(_)
                | Self::Discard
                | Self::Delivered
                | Self::Failed { .. },
                _,
            ) => None,
        }
    }

    /// The word for it in a letter's history.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Retry => "retry",
            Self::Edit(_) => "edit",
            Self::Discard => "discard",
            Self::Delivered => "delivered",
            Self::Failed { .. } => "failed",
        }
    }

    /// What else a letter's history says of it.
    pub fn detail(&self) -> &str {
        match self {
            Self::Failed { reason, .. } => reason,
            Self::Hold | Self::Retry | Self::Edit(_) | Self::Discard | Self::Delivered => "",
        }
    }
}

/// One line of a letter's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When.
    pub at: SystemTime,
    /// What was done: `stored`, or the [name of a change](Change::name).
    pub what: Box<str>,
    /// Why, if there is more to say.
    pub detail: Box<str>,
}

/// Which letters to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only letters in these states. Default: those [about which nothing is decided](LetterState::UNDECIDED).
    pub states: Vec<LetterState>,
    /// Only letters of this connection. Default: of all.
    pub connection: Option<String>,
    /// Only letters with a larger id: how to go on from the last of a list. Default: 0.
    pub after: u64,
    /// The most letters to list. Default: 1,000.
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            states: LetterState::UNDECIDED.to_vec(),
            connection: None,
            after: 0,
            limit: 1_000,
        }
    }
}

impl Filter {
    /// Whether the letter is one of those.
    pub fn admits(&self, letter: &StoredLetter) -> bool {
        letter.id.0 > self.after
            && self.states.contains(&letter.state)
            && self
                .connection
                .as_ref()
                .is_none_or(|name| **name == *letter.record.connection)
    }
}
