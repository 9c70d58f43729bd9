//! A batch before anybody has it.

use std::fmt;

use triomphe::{Arc, UniqueArc};

use super::{Batch, Contents, LaneNumber, Shared};
use crate::ids::ConnectionId;
use crate::settings::BatchPolicy;
use crate::time::Instant;

/// A batch that can still change. Its place in memory is that of the batch which it becomes.
pub(crate) struct Draft {
    shared: UniqueArc<Shared>,
}

/// What of a draft changes while messages come.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    pub(crate) contents: &'a mut Contents,
    /// It is not to wait for more.
    pub(crate) is_urgent: &'a mut bool,
}

impl Filling<'_> {
    /// If no more fits in, there is nothing to wait for.
    pub(crate) fn note_fullness(&mut self, policy: &BatchPolicy) {
        *self.is_urgent |= self.contents.is_full(policy);
    }
}

impl Draft {
    /// Messages that a socket brought, to be handed out for the first time.
    pub(crate) fn new(contents: Contents, generation: u32) -> Self {
        let shared = Shared {
            connection: ConnectionId {
                index: 0,
                generation: 0,
            },
            generation,
            attempt: 1,
            first_failed_at: None,
            letter: None,
            lane: 0,
            is_urgent: false,
            handed_at: Instant::ORIGIN,
            contents,
        };
        Self {
            shared: UniqueArc::new(shared),
        }
    }

    /// A batch that is done with, emptied; `None` if anybody else has it.
    pub(crate) fn of_spare(batch: Batch) -> Option<Self> {
        let mut shared = Arc::try_unique(batch.shared).ok()?;
        (shared.attempt, shared.first_failed_at, shared.letter) = (1, None, None);
        shared.is_urgent = false;
        shared.contents.empty();
        Some(Self { shared })
    }

    /// To fill it with what the socket of this generation brings: no other's messages are in it.
    pub(crate) fn fill(&mut self, generation: u32) -> Filling<'_> {
        let Shared {
            generation: own,
            contents,
            is_urgent,
            ..
        } = &mut *self.shared;
        *own = generation;
        Filling {
            contents,
            is_urgent,
        }
    }

    /// Messages of `batch` that are to be tried again.
    pub(crate) fn tried_before(mut self, batch: &Batch, first_failed_at: Instant) -> Self {
        let shared = &mut self.shared;
        shared.attempt = batch.attempt().saturating_add(1);
        shared.first_failed_at = Some(first_failed_at);
        shared.letter = batch.letter();
        self
    }

    /// The dead letter that its one message comes from.
    pub(crate) fn of_letter(mut self, letter: u64) -> Self {
        self.shared.letter = Some(letter);
        self
    }

    /// It is not to wait for more.
    pub(crate) fn mark_urgent(&mut self) {
        self.shared.is_urgent = true;
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.shared.is_urgent
    }

    pub(crate) fn generation(&self) -> u32 {
        self.shared.generation
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.shared.contents
    }

    pub(crate) fn contents_mut(&mut self) -> &mut Contents {
        &mut self.shared.contents
    }

    /// The batch for `connection`'s consumer.
    pub(crate) fn hand_out(
        mut self,
        connection: ConnectionId,
        now: Instant,
        lane: LaneNumber,
    ) -> Batch {
        let shared = &mut self.shared;
        (shared.connection, shared.handed_at, shared.lane) = (connection, now, lane);
        Batch {
            shared: self.shared.shareable(),
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("contents", &self.shared.contents)
            .finish_non_exhaustive()
    }
}
