//! What the file looks like.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::OpenError;

/// The version of the tables below, kept as SQLite's `user_version`.
const VERSION: i64 = 1;

/// Marks the file as ours: `RWLK`, kept as SQLite's `application_id`.
const APPLICATION: i64 = 0x5257_4c4b;

const TABLES: &str = "
CREATE TABLE letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connection TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    direction TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    received_at TEXT NOT NULL,
    first_failed_at TEXT NOT NULL,
    state TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    edited BLOB,
    settled_at TEXT
) STRICT;
CREATE INDEX letters_to_retry ON letters (connection, received_at, seq, id) WHERE state = 'retrying';
CREATE INDEX letters_settled ON letters (settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE history (
    letter INTEGER NOT NULL REFERENCES letters (id),
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX history_of_letter ON history (letter);
CREATE TABLE numbers (
    connection TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Sets the connection up, and the file if it is empty.
pub(crate) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
        Some(_) | None => OpenError::Unusable {
            path: path.to_owned(),
            error: Box::new(error),
        },
    };
    let found = state(connection).map_err(failed)?;
    match found {
        Found::Ours(VERSION) => {}
        Found::Ours(found) if found > VERSION => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
        Found::Ours(_) | Found::Other => return Err(OpenError::Foreign(path.to_owned())),
        Found::Nothing => create(connection).map_err(failed)?,
    }
    // The log stays a file of a few megabytes, and every commit is on the disk before it is told.
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(failed)
}

enum Found {
    Ours(i64),
    Other,
    Nothing,
}

fn state(connection: &Connection) -> rusqlite::Result<Found> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    if number("application_id")? == APPLICATION {
        return Ok(Found::Ours(number("user_version")?));
    }
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
    Ok(if tables == 0 {
        Found::Nothing
    } else {
        Found::Other
    })
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if matches!(state(&transaction)?, Found::Nothing) {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    }
    transaction.commit()
}
