//! Letters as rows.

use std::time::SystemTime;

use humantime::{format_rfc3339_micros, parse_rfc3339};
use ropewalk_driver::{
    Bytes, Direction, HistoryEntry, Kind, LetterId, LetterRecord, LetterState, Stage, StoredLetter,
};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Error, Result, Row};

pub(crate) const INSERT: &str = "
INSERT INTO letters (connection, endpoint, generation, seq, direction, stage, reason, attempts, received_at,
    first_failed_at, state, kind, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

pub(crate) const NOTE: &str =
    "INSERT INTO history (letter, at, what, detail) VALUES (?1, ?2, ?3, ?4)";

pub(crate) const LIST: &str = "
SELECT * FROM letters
WHERE id > ?1 AND (?2 IS NULL OR connection = ?2) AND instr(?3, state) > 0 ORDER BY id LIMIT ?4";

pub(crate) const GET: &str = "SELECT * FROM letters WHERE id = ?1";

pub(crate) const HISTORY: &str =
    "SELECT at, what, detail FROM history WHERE letter = ?1 ORDER BY rowid";

pub(crate) const RETRYING: &str = "
SELECT id FROM letters WHERE state = 'retrying' AND connection = ?1 ORDER BY received_at, seq, id";

pub(crate) const SETTLED: &str =
    "SELECT id FROM letters WHERE settled_at < ?1 ORDER BY settled_at LIMIT 1000";

/// The parts of a letter, in the order in which they can go.
pub(crate) const DELETE: [&str; 2] = [
    "DELETE FROM history WHERE letter = ?1",
    "DELETE FROM letters WHERE id = ?1",
];

pub(crate) fn letter(row: &Row<'_>) -> Result<StoredLetter> {
    Ok(StoredLetter {
        id: LetterId(row.get::<_, i64>("id")?.cast_unsigned()),
        state: state(row.get_ref("state")?)?,
        edited: row.get::<_, Option<Vec<u8>>>("edited")?.map(Bytes::from),
        record: LetterRecord {
            connection: row.get::<_, String>("connection")?.into(),
            endpoint: row.get::<_, String>("endpoint")?.into(),
            generation: row.get("generation")?,
            seq: row.get::<_, i64>("seq")?.cast_unsigned(),
            direction: one_of(
                row.get_ref("direction")?,
                &[Direction::Inbound, Direction::Outbound],
                direction_name,
            )?,
            stage: one_of(
                row.get_ref("stage")?,
                &[Stage::Network, Stage::Protocol, Stage::Business],
                Stage::name,
            )?,
            reason: row.get::<_, String>("reason")?.into(),
            attempts: row.get("attempts")?,
            received_at: time(row.get_ref("received_at")?)?,
            first_failed_at: time(row.get_ref("first_failed_at")?)?,
            kind: one_of(row.get_ref("kind")?, &[Kind::Text, Kind::Binary], kind_name)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>("payload")?),
        },
    })
}

pub(crate) fn history(row: &Row<'_>) -> Result<HistoryEntry> {
    Ok(HistoryEntry {
        at: time(row.get_ref(0)?)?,
        what: row.get::<_, String>(1)?.into(),
        detail: row.get::<_, String>(2)?.into(),
    })
}

pub(crate) fn state(value: ValueRef<'_>) -> Result<LetterState> {
    one_of(value, &LetterState::ALL, LetterState::name)
}

/// RFC 3339 in UTC with microseconds: it sorts as time does.
pub(crate) fn time_text(time: SystemTime) -> String {
    format_rfc3339_micros(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

pub(crate) fn direction_name(direction: Direction) -> &'static str {
    direction.name()
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
    }
}

fn time(value: ValueRef<'_>) -> Result<SystemTime> {
    parse_rfc3339(value.as_str()?).map_err(|error| broken(Box::new(error)))
}

fn one_of<T: Copy>(value: ValueRef<'_>, all: &[T], name: fn(T) -> &'static str) -> Result<T> {
    let word = value.as_str()?;
    let found = all.iter().find(|known| name(**known) == word);
    found
        .copied()
        .ok_or_else(|| broken(format!("`{word}` is not a word that it may be").into()))
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::from(FromSqlError::Other(error))
}
