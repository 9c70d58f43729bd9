//! Letters that end with the process.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::SystemTime;

use super::{
    Change, Filter, HistoryEntry, LetterId, LetterRecord, LetterState, LetterStore, StoreError,
    StoredLetter,
};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    bounds: MemoryBounds,
    letters: BTreeMap<LetterId, Kept>,
    bytes: usize,
    last: u64,
    dropped: u64,
}

/// How much a [`MemoryStore`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// The most letters. Default: 10,000.
    pub letters_max: NonZeroUsize,
    /// The most bytes of payload. Default: 64 MiB. A letter larger than that is kept alone.
    pub bytes_max: NonZeroUsize,
    /// What gives way at the bounds. Letters that were delivered or discarded go first in any case. Default: the oldest.
    pub when_full: WhenFull,
}

/// What gives way when a [`MemoryStore`] is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The oldest letter, and it is [counted](MemoryStore::dropped).
    #[default]
    DropOldest,
    /// The new letter: it is given an id and forgotten, and counted.
    DropNewest,
    /// Nothing: the new letters are refused, so that they wait in the fleet's queue until there is room.
    Refuse,
}

#[derive(Debug)]
struct Kept {
    letter: StoredLetter,
    history: Vec<HistoryEntry>,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self {
            letters_max: NonZeroUsize::MIN.saturating_add(10_000 - 1),
            bytes_max: NonZeroUsize::MIN.saturating_add((64 << 20) - 1),
            when_full: WhenFull::DropOldest,
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new(bounds: MemoryBounds) -> Self {
        Self {
            bounds,
            letters: BTreeMap::new(),
            bytes: 0,
            last: 0,
            dropped: 0,
        }
    }

    /// How many undecided letters gave way to others.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn fits(&self, letters: usize, bytes: usize) -> bool {
        let count = self.letters.len() + letters;
        count <= 1
            || (count <= self.bounds.letters_max.get()
                && self.bytes.saturating_add(bytes) <= self.bounds.bytes_max.get())
    }

    /// Forgets letters about which all is decided until these fit.
    fn clear_decided(&mut self, letters: usize, bytes: usize) {
        while !self.fits(letters, bytes) {
            let decided = |(id, kept): (&LetterId, &Kept)| {
                (!LetterState::UNDECIDED.contains(&kept.letter.state)).then_some(*id)
            };
            let Some(id) = self.letters.iter().find_map(decided) else {
                return;
            };
            self.forget(id);
        }
    }

    fn forget(&mut self, id: LetterId) {
        if let Some(kept) = self.letters.remove(&id) {
            self.bytes -= size(&kept.letter);
        }
    }

    fn insert(&mut self, record: LetterRecord, at: SystemTime) -> LetterId {
        self.last += 1;
        let id = LetterId(self.last);
        let bytes = record.payload.len();
        self.clear_decided(1, bytes);
        while !self.fits(1, bytes) {
            self.dropped += 1;
            match self.bounds.when_full {
                WhenFull::DropOldest => {
                    if let Some((&oldest, _)) = self.letters.first_key_value() {
                        self.forget(oldest);
                    }
                }
                WhenFull::DropNewest | WhenFull::Refuse => return id,
            }
        }
        self.bytes += bytes;
        let kept = Kept {
            letter: StoredLetter {
                id,
                record,
                state: LetterState::Waiting,
                edited: None,
            },
            history: vec![entry(at, "stored", "")],
        };
        self.letters.insert(id, kept);
        id
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MemoryBounds::default())
    }
}

impl LetterStore for MemoryStore {
    fn append(
        &mut self,
        letters: &[LetterRecord],
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        if self.bounds.when_full == WhenFull::Refuse {
            let bytes = letters.iter().map(|letter| letter.payload.len()).sum();
            self.clear_decided(letters.len(), bytes);
            if !self.fits(letters.len(), bytes) {
                return Err(StoreError::Full);
            }
        }
        let ids = letters.iter().map(|letter| self.insert(letter.clone(), at));
        Ok(ids.collect())
    }

    fn list(&mut self, filter: &Filter) -> Result<Vec<StoredLetter>, StoreError> {
        let letters = self.letters.values().map(|kept| &kept.letter);
        let admitted = letters.filter(|letter| filter.admits(letter));
        Ok(admitted.take(filter.limit).cloned().collect())
    }

    fn get(&mut self, id: LetterId) -> Result<Option<StoredLetter>, StoreError> {
        Ok(self.letters.get(&id).map(|kept| kept.letter.clone()))
    }

    fn history(&mut self, id: LetterId) -> Result<Vec<HistoryEntry>, StoreError> {
        let kept = self.letters.get(&id);
        Ok(kept.map_or_else(Vec::new, |kept| kept.history.clone()))
    }

    fn change(
        &mut self,
        ids: &[LetterId],
        change: &Change,
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        let mut changed = Vec::new();
        for id in ids {
            let Some(kept) = self.letters.get_mut(id) else {
                continue;
            };
            let Some(state) = change.leads_to(kept.letter.state) else {
                continue;
            };
            self.bytes -= size(&kept.letter);
            kept.letter.state = state;
            match change {
                Change::Edit(payload) => kept.letter.edited = Some(payload.clone()),
                Change::Failed { reason, attempts } => {
                    kept.letter.record.reason.clone_from(reason);
                    let record = &mut kept.letter.record;
                    record.attempts = record.attempts.saturating_add(*attempts);
                }
                Change::Hold | Change::Retry | Change::Discard | Change::Delivered => {}
            }
            self.bytes += size(&kept.letter);
            kept.history.push(entry(at, change.name(), change.detail()));
            changed.push(*id);
        }
        Ok(changed)
    }

    fn retrying(&mut self, connection: &str) -> Result<Vec<LetterId>, StoreError> {
        let letters = self.letters.values().map(|kept| &kept.letter);
        let mut found: Vec<_> = letters
            .filter(|letter| {
                letter.state == LetterState::Retrying && *letter.record.connection == *connection
            })
            .map(|letter| (letter.record.received_at, letter.record.seq, letter.id))
            .collect();
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, _, id)| id).collect())
    }
}

fn size(letter: &StoredLetter) -> usize {
    letter.record.payload.len() + letter.edited.as_ref().map_or(0, ropewalk_core::Bytes::len)
}

fn entry(at: SystemTime, what: &str, detail: &str) -> HistoryEntry {
    HistoryEntry {
        at,
        what: what.into(),
        detail: detail.into(),
    }
}
