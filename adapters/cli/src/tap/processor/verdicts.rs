//! The verdicts on the messages of one batch, as they come in.

use ropewalk_core::{Batch, Verdict};

use super::answer::{Answer, Nonsense, Opinion};

/// A batch's messages with what is known of each.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// The messages' numbers, which grow.
    seqs: Vec<u64>,
    standings: Vec<Standing>,
    missing: usize,
    tries: Tries,
}

/// Whether there is another try after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tries {
    More,
    /// None: the last one was this.
    None {
        this: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Unasked,
    Asked,
    Judged(Verdict),
}

impl Verdicts {
    pub(super) fn new(batch: &Batch, retries_max: u32) -> Self {
        let seqs: Vec<_> = batch.iter().map(ropewalk_core::MessageRef::seq).collect();
        Self {
            standings: vec![Standing::Unasked; seqs.len()],
            missing: seqs.len(),
            seqs,
            tries: match batch.attempt() {
                this if this > retries_max => Tries::None { this },
                _ => Tries::More,
            },
        }
    }

    pub(super) fn tries(&self) -> Tries {
        self.tries
    }

    /// How many messages have no verdict.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// The first message at or after `from` that has no verdict.
    pub(super) fn next_missing(&self, from: usize) -> Option<usize> {
        let left = self.standings.get(from..)?;
        let found = left.iter().position(|standing| match standing {
            Standing::Unasked | Standing::Asked => true,
            Standing::Judged(_) => false,
        });
        Some(from + found?)
    }

    /// Whether the message is acknowledged.
    pub(super) fn is_accepted(&self, index: usize) -> bool {
        self.standings[index] == Standing::Judged(Verdict::Ack)
    }

    /// Notes that a child is being told of the message.
    pub(super) fn ask(&mut self, index: usize) {
        if self.standings[index] == Standing::Unasked {
            self.standings[index] = Standing::Asked;
        }
    }

    /// Notes that whoever was asked is gone.
    pub(super) fn forget_questions(&mut self) {
        for standing in &mut self.standings {
            match standing {
                Standing::Asked => *standing = Standing::Unasked,
                Standing::Unasked | Standing::Judged(_) => {}
            }
        }
    }

    /// Takes a child's answer.
    pub(super) fn answer(&mut self, answer: Answer) -> Result<(), Nonsense> {
        let Answer {
            seq,
            opinion,
            reason,
        } = answer;
        let Ok(index) = self.seqs.binary_search(&seq) else {
            return Err(Nonsense::Unasked(seq));
        };
        match self.standings[index] {
            Standing::Asked => {}
            Standing::Unasked => return Err(Nonsense::Unasked(seq)),
            Standing::Judged(_) => return Err(Nonsense::Twice(seq)),
        }
        let verdict = match (opinion, reason, self.tries) {
            (Opinion::Ack, _, _) => Verdict::Ack,
            (Opinion::Reject, reason, _) => {
                Verdict::reject(reason.as_deref().unwrap_or("the processor rejected it"))
            }
            // The verdict itself has no place for a reason, and the letter has.
            (Opinion::Retry { .. }, Some(reason), Tries::None { this }) => Verdict::reject(
                format_args!("{reason}; still asked for a retry at its try {this}"),
            ),
            (Opinion::Retry { after }, _, _) => Verdict::Retry { after },
        };
        self.judge(index, verdict);
        Ok(())
    }

    /// Judges a message that has no verdict.
    pub(super) fn judge(&mut self, index: usize, verdict: Verdict) {
        match self.standings[index] {
            Standing::Judged(_) => {}
            Standing::Unasked | Standing::Asked => {
                self.standings[index] = Standing::Judged(verdict);
                self.missing -= 1;
            }
        }
    }

    /// Judges all messages that have no verdict.
    pub(super) fn judge_rest(&mut self, verdict: &Verdict) {
        for index in 0..self.standings.len() {
            self.judge(index, verdict.clone());
        }
    }

    /// The verdicts in the messages' order. None is missing.
    pub(super) fn finish(self) -> impl Iterator<Item = Verdict> {
        self.standings.into_iter().map(|standing| match standing {
            Standing::Judged(verdict) => verdict,
            Standing::Unasked | Standing::Asked => {
                unreachable!("a call ends when every message is judged")
            }
        })
    }
}
