//! Where dead letters are kept so that a person or a program can decide about them.
//!
//! The parts: `record` (what is kept and what may be done to it), `memory` (a store), `keeper` (what
//! waits for it), `clerk` (the thread before it), `lanes` (which letters go back to which connection, and when), `desk` (what
//! a program sees).

mod clerk;
mod desk;
mod keeper;
mod lanes;
mod memory;
mod queue;
mod record;

pub use desk::{LetterCounts, LettersError};
pub(crate) use keeper::Keeper;
pub use memory::{MemoryBounds, MemoryStore, WhenFull};
pub use queue::{QueuePolicy, StoreQueue};
pub use record::{Change, Filter, HistoryEntry, LetterId, LetterRecord, LetterState, StoredLetter};

use std::error::Error;
use std::time::SystemTime;

/// Keeps dead letters.
///
/// A fleet gives it a thread of its own, so its methods may block; no socket waits for them. Each method is one
/// commit: what it has returned `Ok` for must be there after a crash, if the store is one that outlives a process.
pub trait LetterStore: Send + 'static {
    /// Adds letters, all or none, each in the state [`LetterState::Waiting`]; returns their ids in the same order.
    ///
    /// # Errors
    /// [`StoreError`]; the same letters are offered again later.
    fn append(
        &mut self,
        letters: &[LetterRecord],
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError>;

    /// The letters that the filter lets through, by id.
    ///
    /// # Errors
    /// [`StoreError`]
    fn list(&mut self, filter: &Filter) -> Result<Vec<StoredLetter>, StoreError>;

    /// One letter; `None` if there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`]
    fn get(&mut self, id: LetterId) -> Result<Option<StoredLetter>, StoreError>;

    /// What happened to a letter, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    fn history(&mut self, id: LetterId) -> Result<Vec<HistoryEntry>, StoreError>;

    /// Does something to letters and notes it in their history, all or none; returns the ids of those that it was done
    /// to. Letters that do not exist, and those in whose state the change means nothing ([`Change::leads_to`]), are
    /// left out.
    ///
    /// # Errors
    /// [`StoreError`]
    fn change(
        &mut self,
        ids: &[LetterId],
        change: &Change,
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError>;

    /// The letters of a connection that are to be tried again, in the order in which their messages were received, or
    /// accepted for sending.
    ///
    /// # Errors
    /// [`StoreError`]
    fn retrying(&mut self, connection: &str) -> Result<Vec<LetterId>, StoreError>;
}

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It has as many letters as it may.
    #[error("the store of dead letters is full")]
    Full,
    /// It failed; the words name the cause.
    #[error("the store of dead letters: {0}")]
    Failed(Box<dyn Error + Send + Sync>),
}
