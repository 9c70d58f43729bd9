//! Dead letters of [Ropewalk](ropewalk_driver) in one SQLite file, so that they outlive the process.
//!
//! ```no_run
//! use ropewalk_driver::{FleetBuilder, Runtime};
//! use ropewalk_letters::SqliteStore;
//!
//! fn with_store<R: Runtime>(builder: FleetBuilder<R>) -> Result<FleetBuilder<R>, Box<dyn std::error::Error>> {
//!     Ok(builder.letter_store(SqliteStore::open("letters.sqlite")?))
//! }
//! ```
//!
//! A letter that was reported as stored ([`EventKind::LetterStored`](ropewalk_driver::EventKind)) is in the file whatever
//! happens to the process or the machine afterwards, as far as the disk keeps its word: the file has a write-ahead log,
//! and each commit is synchronised (`synchronous=FULL`).

#![forbid(unsafe_code)]

mod numbers;
mod rows;
mod schema;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ropewalk_driver::{
    Change, Filter, HistoryEntry, LetterId, LetterRecord, LetterState, LetterStore, StoreError,
    StoredLetter,
};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use rows::{direction_name, history, kind_name, letter, time_text};

/// How long to wait for another process that writes to the file.
const BUSY: Duration = Duration::from_secs(5);

/// Dead letters in an SQLite file. Several processes may open the same one, such as a fleet and the command
/// `ropewalk letters`.
///
/// If the file becomes unusable for a while, such as on a full disk, calls fail until it is usable again.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// `None` while the file cannot be opened.
    connection: Option<Connection>,
    /// How long delivered and discarded letters are kept.
    keep: Option<Duration>,
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A later version of this crate wrote it.
    #[error(
        "{path} has schema version {found}, and this version of ropewalk reads up to {known}: use a newer ropewalk",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: i64,
        /// The latest version that this crate knows.
        known: i64,
    },
    /// It is a file, and holds something else.
    #[error("{} is not a store of dead letters", .0.display())]
    Foreign(PathBuf),
    /// There is no such file, and none was to be made.
    #[error("there is no store {}", .0.display())]
    Missing(PathBuf),
    /// The system or SQLite refused; it may go better another time.
    #[error("cannot use {path}: {error}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was said.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SqliteStore {
    /// Opens a store; makes one that only its owner can read if there is no file.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let connection = connect(&path)?;
        Ok(Self {
            path,
            connection: Some(connection),
            keep: None,
        })
    }

    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_existing(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        if path.is_file() {
            Self::open(path)
        } else {
            Err(OpenError::Missing(path))
        }
    }

    /// A store that is opened when it is first used. Until that succeeds, calls fail.
    pub fn open_later(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            connection: None,
            keep: None,
        }
    }

    /// Deletes letters that have been delivered or discarded for longer than `keep`, with their history, a thousand at most
    /// whenever others are stored. Default: they are kept for ever. Their ids are not used again.
    #[must_use]
    pub fn keep_settled(mut self, keep: Duration) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path).map_err(|error| StoreError::Failed(Box::new(error)))?,
        };
        let result = work(&mut connection);
        // After a failure the file is opened afresh: it may have been replaced, or become writable.
        if result.is_ok() {
            self.connection = Some(connection);
        }
        result.map_err(|error| StoreError::Failed(Box::new(error)))
    }

    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let unusable = |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Unusable {
        path: path.to_owned(),
        error,
    };
    if !path.exists() {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(|error| unusable(error.into()))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| unusable(error.into()))?;
    connection
        .busy_timeout(BUSY)
        .map_err(|error| unusable(error.into()))?;
    schema::prepare(&mut connection, path)?;
    Ok(connection)
}

fn delete_settled(transaction: &Transaction<'_>, before: SystemTime) -> rusqlite::Result<()> {
    let mut select = transaction.prepare(rows::SETTLED)?;
    let ids = select.query_map([time_text(before)], |row| row.get::<_, i64>(0))?;
    for id in ids.collect::<rusqlite::Result<Vec<_>>>()? {
        for part in rows::DELETE {
            transaction.prepare(part)?.execute([id])?;
        }
    }
    Ok(())
}

impl LetterStore for SqliteStore {
    fn append(
        &mut self,
        letters: &[LetterRecord],
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        let settled_before = self.keep.and_then(|keep| at.checked_sub(keep));
        self.in_transaction(|transaction| {
            if let Some(before) = settled_before {
                delete_settled(transaction, before)?;
            }
            let mut insert = transaction.prepare(rows::INSERT)?;
            let mut note = transaction.prepare(rows::NOTE)?;
            let mut ids = Vec::with_capacity(letters.len());
            for letter in letters {
                let id = insert.insert(params![
                    &*letter.connection,
                    &*letter.endpoint,
                    letter.generation,
                    letter.seq.cast_signed(),
                    direction_name(letter.direction),
                    letter.stage.name(),
                    &*letter.reason,
                    letter.attempts,
                    time_text(letter.received_at),
                    time_text(letter.first_failed_at),
                    LetterState::Waiting.name(),
                    kind_name(letter.kind),
                    &letter.payload[..],
                ])?;
                note.execute(params![id, time_text(at), "stored", &*letter.reason])?;
                ids.push(LetterId(id.cast_unsigned()));
            }
            Ok(ids)
        })
    }

    fn list(&mut self, filter: &Filter) -> Result<Vec<StoredLetter>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare(rows::LIST)?;
            let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
            // No state's word is a part of another's.
            let states: Vec<_> = filter.states.iter().map(|state| state.name()).collect();
            let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
            let wanted = params![after, filter.connection, states.join(","), limit];
            select.query_map(wanted, letter)?.collect()
        })
    }

    fn get(&mut self, id: LetterId) -> Result<Option<StoredLetter>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare(rows::GET)?;
            let mut found = select.query_map([id.0.cast_signed()], letter)?;
            found.next().transpose()
        })
    }

    fn history(&mut self, id: LetterId) -> Result<Vec<HistoryEntry>, StoreError> {
        self.with(|connection| {
            let mut select = connection.prepare(rows::HISTORY)?;
            select.query_map([id.0.cast_signed()], history)?.collect()
        })
    }

    fn change(
        &mut self,
        ids: &[LetterId],
        change: &Change,
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        self.in_transaction(|transaction| {
            let mut state = transaction.prepare("SELECT state FROM letters WHERE id = ?1")?;
            let mut note = transaction.prepare(rows::NOTE)?;
            let mut changed = Vec::new();
            for &id in ids {
                let key = id.0.cast_signed();
                let mut found = state.query_map([key], |row| rows::state(row.get_ref(0)?))?;
                let Some(from) = found.next().transpose()? else {
                    continue;
                };
                let Some(to) = change.leads_to(from) else {
                    continue;
                };
                let is_settled = !LetterState::UNDECIDED.contains(&to);
                transaction.execute(
                    "UPDATE letters SET state = ?2, settled_at = ?3 WHERE id = ?1",
                    params![key, to.name(), is_settled.then(|| time_text(at))],
                )?;
                if let Change::Edit(payload) = change {
                    transaction.execute(
                        "UPDATE letters SET edited = ?2 WHERE id = ?1",
                        params![key, &payload[..]],
                    )?;
                }
                if let Change::Failed { reason, attempts } = change {
                    transaction.execute(
                        "UPDATE letters SET reason = ?2, attempts = attempts + ?3 WHERE id = ?1",
                        params![key, &**reason, attempts],
                    )?;
                }
                note.execute(params![key, time_text(at), change.name(), change.detail()])?;
                changed.push(id);
            }
            Ok(changed)
        })
    }

    fn retrying(&mut self, connection: &str) -> Result<Vec<LetterId>, StoreError> {
        self.with(|database| {
            let mut select = database.prepare(rows::RETRYING)?;
            let ids = select.query_map([connection], |row| row.get::<_, i64>(0))?;
            ids.map(|id| Ok(LetterId(id?.cast_unsigned()))).collect()
        })
    }
}
