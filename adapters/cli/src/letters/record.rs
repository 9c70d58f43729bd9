//! Letters as JSON lines.

use std::time::SystemTime;

use ropewalk_driver::{HistoryEntry, LetterId, LetterState, StoredLetter};
use serde::Serialize;

use super::data;
use crate::records::wall_text;

#[derive(Serialize)]
struct Record<'a> {
    id: u64,
    connection: &'a str,
    endpoint: &'a str,
    generation: u32,
    seq: u64,
    direction: &'static str,
    stage: &'static str,
    reason: &'a str,
    attempts: u32,
    received_at: String,
    first_failed_at: String,
    state: &'static str,
    r#type: &'static str,
    data: String,
    /// What a retry takes instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Entry<'a>>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    at: String,
    what: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

/// What a change came to for one letter.
#[derive(Serialize)]
struct Changed {
    id: u64,
    change: &'static str,
    applied: Applied,
    /// `null` if there is no such letter.
    state: Option<&'static str>,
}

/// Whether a change was done.
#[derive(Serialize)]
#[serde(into = "bool")]
#[derive(Clone, Copy)]
pub(super) struct Applied(bool);

impl From<bool> for Applied {
    fn from(applied: bool) -> Self {
        Self(applied)
    }
}

impl From<Applied> for bool {
    fn from(applied: Applied) -> Self {
        applied.0
    }
}

/// One letter, and its history if that is given.
pub(super) fn line(letter: &StoredLetter, history: Option<&[HistoryEntry]>) -> String {
    let record = &letter.record;
    let (kind, data_text) = data(record.kind, &record.payload);
    json(&Record {
        id: letter.id.0,
        connection: &record.connection,
        endpoint: &record.endpoint,
        generation: record.generation,
        seq: record.seq,
        direction: record.direction.name(),
        stage: record.stage.name(),
        reason: &record.reason,
        attempts: record.attempts,
        received_at: time(record.received_at),
        first_failed_at: time(record.first_failed_at),
        state: letter.state.name(),
        r#type: kind,
        data: data_text,
        edited: letter
            .edited
            .as_ref()
            .map(|payload| data(record.kind, payload).1),
        history: history.map(|entries| entries.iter().map(entry).collect()),
    })
}

pub(super) fn changed_line(
    id: LetterId,
    state: Option<LetterState>,
    change: &'static str,
    applied: Applied,
) -> String {
    json(&Changed {
        id: id.0,
        change,
        applied,
        state: state.map(LetterState::name),
    })
}

fn entry(entry: &HistoryEntry) -> Entry<'_> {
    Entry {
        at: time(entry.at),
        what: &entry.what,
        detail: &entry.detail,
    }
}

fn json(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("strings and numbers are JSON");
    line.push('\n');
    line
}

fn time(time: SystemTime) -> String {
    wall_text(time)
}
