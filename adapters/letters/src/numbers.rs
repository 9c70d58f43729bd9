//! Numbers of messages that no later run uses again.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::{SqliteStore, StoreError};

/// How many numbers a run that does not end as it should is taken to have used. A message a microsecond
/// takes twelve days for that, and what follows a hundred such ends in a row still is an exact number in JSON.
const BLOCK: u64 = 1 << 40;

impl SqliteStore {
    /// Begins a run: the number after which each of these connections may number its messages
    /// ([`Hooks::numbered_after`](ropewalk_driver::Hooks::numbered_after)), zero for one that is new. Until
    /// [`end_numbering`](Self::end_numbering) says how many it was, a run counts as having used 2⁴⁰ numbers.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was noted.
    pub fn begin_numbering<'n>(
        &mut self,
        connections: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<u64>, StoreError> {
        self.in_transaction(|transaction| {
            let begin = |connection| {
                let last = last(transaction, connection)?;
                note(transaction, connection, last.saturating_add(BLOCK))?;
                Ok(last)
            };
            connections.into_iter().map(begin).collect()
        })
    }

    /// Ends a run: the number of the last message of each connection.
    ///
    /// # Errors
    /// [`StoreError`]; then the next run leaves numbers out, and uses none twice.
    pub fn end_numbering<'n>(
        &mut self,
        last: impl IntoIterator<Item = (&'n str, u64)>,
    ) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            last.into_iter()
                .try_for_each(|(connection, last)| note(transaction, connection, last))
        })
    }
}

fn last(transaction: &Transaction<'_>, connection: &str) -> rusqlite::Result<u64> {
    let mut select = transaction.prepare("SELECT last FROM numbers WHERE connection = ?1")?;
    let last: Option<i64> = select
        .query_row([connection], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

fn note(transaction: &Transaction<'_>, connection: &str, last: u64) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare("INSERT OR REPLACE INTO numbers (connection, last) VALUES (?1, ?2)")?;
    insert.execute(params![connection, last.cast_signed()])?;
    Ok(())
}
