//! Letters and fates that are due, and those that were told.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::{DeadLetter, Fate, Instant, Stage, Verdict};

use super::standing::Held;

/// One letter a message, and one fate a letter.
#[derive(Debug, Default)]
pub(super) struct Owed {
    letters: BTreeMap<u64, Failed>,
    fates: BTreeMap<u64, Option<Failed>>,
    /// Messages that were filtered and are dead letters.
    protocol: BTreeSet<u64>,
}

/// How a message ended that its processor did not accept.
#[derive(Debug)]
struct Failed {
    held: Held,
    first_failed_at: Instant,
    /// `None` if the core finds the words.
    reason: Option<Box<str>>,
}

impl Owed {
    pub(super) fn failed(&mut self, now: Instant, held: Held, verdict: &Verdict) {
        let reason = match verdict {
            Verdict::Reject(reason) => Some(reason.clone()),
            Verdict::Ack | Verdict::Retry { .. } => None,
        };
        let failed = Failed {
            first_failed_at: held.first_failed_at.unwrap_or(now),
            reason,
            held,
        };
        match failed.held.letter {
            Some(letter) => drop(self.fates.insert(letter, Some(failed))),
            None => drop(self.letters.insert(failed.held.seq, failed)),
        }
    }

    pub(super) fn delivered(&mut self, letter: u64) {
        self.fates.insert(letter, None);
    }

    /// A letter of the stage at which processors fail.
    pub(super) fn told(&mut self, letter: &DeadLetter) -> Result<(), String> {
        let Some(Failed {
            held,
            first_failed_at,
            reason,
        }) = self.letters.remove(&letter.seq)
        else {
            return Err(format!(
                "a letter of message {}, which is not owed one (S3)",
                letter.seq
            ));
        };
        let is_right = letter.stage == Stage::Business
            && letter.generation == held.generation
            && letter.attempts == held.attempts
            && letter.received_at == held.at
            && letter.first_failed_at == first_failed_at
            && letter.kind == held.kind
            && letter.payload[..] == held.payload[..]
            && reason.is_none_or(|reason| reason == letter.reason);
        if is_right {
            Ok(())
        } else {
            Err(format!("{letter:?} is not the record of {held:?} (S3)"))
        }
    }

    pub(super) fn told_fate(&mut self, letter: u64, fate: &Fate) -> Result<(), String> {
        let owed = self
            .fates
            .remove(&letter)
            .ok_or_else(|| format!("a fate of letter {letter}, which has none"))?;
        let is_right = match (&owed, fate) {
            (None, Fate::Delivered) => true,
            (Some(failed), Fate::Failed { reason, attempts }) => {
                let is_it = |expected: &str| *expected == **reason;
                *attempts == failed.held.attempts && failed.reason.as_deref().is_none_or(is_it)
            }
            (None, Fate::Failed { .. }) | (Some(_), Fate::Delivered) => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(format!(
                "the fate of letter {letter} is {fate:?}, not {owed:?}"
            ))
        }
    }

    /// A letter of a message that does not decode.
    pub(super) fn told_filtered(&mut self, seq: u64) -> Result<(), String> {
        if self.protocol.insert(seq) {
            Ok(())
        } else {
            Err(format!("a second letter of message {seq} (S3)"))
        }
    }

    pub(super) fn filtered_letters(&self) -> u64 {
        self.protocol.len() as u64
    }

    pub(super) fn all_told(&self) -> Result<(), String> {
        if let Some(seq) = self.letters.keys().next() {
            return Err(format!("message {seq} failed and left no letter (S3)"));
        }
        match self.fates.keys().next() {
            Some(letter) => Err(format!("nobody was told the fate of letter {letter}")),
            None => Ok(()),
        }
    }
}
