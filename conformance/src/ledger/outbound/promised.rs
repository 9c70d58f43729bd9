//! Outcomes that are due, and those that were told.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::Outcome;

/// One outcome a message, told once.
#[derive(Debug, Default)]
pub(super) struct Promised {
    outcomes: BTreeMap<u64, Outcome>,
    due: BTreeSet<u64>,
}

impl Promised {
    pub(super) fn add(&mut self, number: u64, outcome: Outcome) {
        self.outcomes.insert(number, outcome);
        self.due.insert(number);
    }

    pub(super) fn knows(&self, number: u64) -> bool {
        self.outcomes.contains_key(&number)
    }

    pub(super) fn told(&mut self, number: u64, outcome: &Outcome) -> Result<(), String> {
        let expected = self.outcomes.get(&number);
        if expected != Some(outcome) {
            return Err(format!(
                "message {number} is {outcome:?}, expected {expected:?} (S1)"
            ));
        }
        if !self.due.remove(&number) {
            return Err(format!("message {number} ended twice (S1)"));
        }
        Ok(())
    }

    pub(super) fn all_told(&self) -> Result<(), String> {
        match self.due.first() {
            Some(number) => Err(format!(
                "nobody was told that message {number} is {:?}",
                self.outcomes[number]
            )),
            None => Ok(()),
        }
    }
}
