//! What a program can do about stored letters.

use std::num::NonZeroU32;

use super::keeper::{Keeper, Task};
use super::{Change, Filter, HistoryEntry, LetterId, LetterStore, StoreError, StoredLetter};
use crate::letters::Letters;
use crate::oneshot::oneshot;
use ropewalk_core::Bytes;

/// How the letters of a fleet with a store have fared, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// Messages that became letters: `taken = stored + waiting + dropped`.
    pub taken: u64,
    /// Committed to the store.
    pub stored: u64,
    /// Not yet in the store.
    pub waiting: u64,
    /// Given up, because too many waited or the fleet ended first.
    pub dropped: u64,
    /// How often the store failed.
    pub failures: u64,
    /// Letters that were redriven and processed, or sent.
    pub delivered: u64,
    /// How often a redriven letter failed again.
    pub failed_again: u64,
}

/// Nothing could be done about letters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LettersError {
    /// The fleet was built without [`FleetBuilder::letter_store`](crate::FleetBuilder::letter_store).
    #[error("the fleet has no store of dead letters")]
    NoStore,
    /// The fleet has ended.
    #[error("the fleet has ended")]
    Ended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Manual intervention, for a fleet with a store. Each of these waits for the store. All are cancel safe in that what
/// was asked for is done or not done as a whole; dropped, a future leaves that open.
impl Letters {
    /// The stored letters that the filter lets through.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn list(&self, filter: Filter) -> Result<Vec<StoredLetter>, LettersError> {
        self.ask(move |store| store.list(&filter)).await
    }

    /// One letter and what happened to it; `None` if there is none of this id.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn show(
        &self,
        id: LetterId,
    ) -> Result<Option<(StoredLetter, Vec<HistoryEntry>)>, LettersError> {
        let find = move |store: &mut dyn LetterStore| {
            let Some(letter) = store.get(id)? else {
                return Ok(None);
            };
            Ok(Some((letter, store.history(id)?)))
        };
        self.ask(find).await
    }

    /// Sends letters back that wait or are held: received ones to their connection's consumer, in the order in which
    /// they were received, the others to the server. Returns those that it applied to. A letter is delivered once if
    /// nothing interrupts it, and at least once otherwise: one whose process ended while it was on its way goes out
    /// again when a fleet opens a connection of the same name with the same store.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn retry(&self, ids: Vec<LetterId>) -> Result<Vec<LetterId>, LettersError> {
        self.change(ids, Change::Retry).await
    }

    /// Puts another payload in the place of the letter's own, which is kept beside it. It must wait or be held.
    /// Whether it did.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn edit(&self, id: LetterId, payload: Bytes) -> Result<bool, LettersError> {
        let edited = self.change(vec![id], Change::Edit(payload)).await?;
        Ok(!edited.is_empty())
    }

    /// Gives letters up. They stay in the store, as a record. Returns those that it applied to.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn discard(&self, ids: Vec<LetterId>) -> Result<Vec<LetterId>, LettersError> {
        self.change(ids, Change::Discard).await
    }

    /// Keeps letters from being redriven until [`retry`](Self::retry) names them. Returns those that it applied to.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn hold(&self, ids: Vec<LetterId>) -> Result<Vec<LetterId>, LettersError> {
        self.change(ids, Change::Hold).await
    }

    /// [Retries](Self::retry) every letter that waits; from now on so many letters go back a second, over all
    /// connections (before the first call: 100). Returns how many there are.
    ///
    /// # Errors
    /// [`LettersError`]
    pub async fn redrive(&self, rate: NonZeroU32) -> Result<u64, LettersError> {
        let (done, answer) = oneshot();
        self.keeper()?.leave(Task::RedriveAll { rate, done });
        Ok(answer.await.ok_or(LettersError::Ended)??)
    }

    /// Looks into the store for letters that somebody else has marked for a retry, such as another process; if a rate
    /// is given, so many letters go back a second from now on.
    ///
    /// # Errors
    /// [`LettersError::NoStore`]
    pub fn refresh(&self, rate: Option<NonZeroU32>) -> Result<(), LettersError> {
        self.keeper()?.leave(Task::Refresh(rate));
        Ok(())
    }

    /// How the letters have fared; `None` without a store.
    pub fn counts(&self) -> Option<LetterCounts> {
        self.keeper.as_ref().map(Keeper::counts)
    }

    async fn change(
        &self,
        ids: Vec<LetterId>,
        change: Change,
    ) -> Result<Vec<LetterId>, LettersError> {
        let (done, answer) = oneshot();
        self.keeper()?.leave(Task::Change { ids, change, done });
        Ok(answer.await.ok_or(LettersError::Ended)??)
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn LetterStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, LettersError> {
        let (done, answer) = oneshot();
        let task = Task::Ask(Box::new(move |store| done.keep(ask(store))));
        self.keeper()?.leave(task);
        Ok(answer.await.ok_or(LettersError::Ended)??)
    }

    fn keeper(&self) -> Result<&Keeper, LettersError> {
        self.keeper.as_ref().ok_or(LettersError::NoStore)
    }
}
