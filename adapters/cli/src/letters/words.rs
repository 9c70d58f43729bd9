//! Letters for people.

use std::fmt::Write;

use ropewalk_driver::{HistoryEntry, StoredLetter};

use super::data;
use crate::records::wall_text;
use crate::table::{Align, Table};

/// How much of a reason fits into a table, in characters.
const REASON: usize = 60;

/// The headings of a list.
pub(super) fn table() -> Table<8> {
    Table::new([
        ("id", Align::Right),
        ("state", Align::Left),
        ("connection", Align::Left),
        ("message", Align::Right),
        ("direction", Align::Left),
        ("stage", Align::Left),
        ("first failed", Align::Left),
        ("reason", Align::Left),
    ])
}

pub(super) fn row(letter: &StoredLetter) -> [String; 8] {
    let record = &letter.record;
    [
        letter.id.to_string(),
        letter.state.to_string(),
        record.connection.escape_debug().to_string(),
        record.seq.to_string(),
        record.direction.name().to_owned(),
        record.stage.name().to_owned(),
        // Seconds are enough for a person.
        wall_text(record.first_failed_at)[..19].replace('T', " "),
        shortened(&record.reason),
    ]
}

/// Everything about a letter, on many lines.
pub(super) fn full(letter: &StoredLetter, history: &[HistoryEntry]) -> String {
    let record = &letter.record;
    let (kind, payload) = data(record.kind, &record.payload);
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name:<13}{value}").expect("a string takes everything");
    };
    line("letter", &letter.id);
    line("state", &letter.state);
    line("connection", &record.connection.escape_debug());
    line("endpoint", &record.endpoint);
    line("generation", &record.generation);
    line("message", &record.seq);
    line("direction", &record.direction.name());
    line("stage", &record.stage.name());
    line("reason", &record.reason.escape_debug());
    line("attempts", &record.attempts);
    line("received", &wall_text(record.received_at));
    line("first failed", &wall_text(record.first_failed_at));
    line(
        "payload",
        &format_args!("{} bytes, {kind}", record.payload.len()),
    );
    line("", &payload.escape_debug());
    if let Some(edited) = &letter.edited {
        line("edited", &format_args!("{} bytes", edited.len()));
        line("", &data(record.kind, edited).1.escape_debug());
    }
    for entry in history {
        let detail = entry.detail.escape_debug();
        line(
            "history",
            &format_args!("{} {} {detail}", wall_text(entry.at), entry.what),
        );
    }
    text
}

fn shortened(reason: &str) -> String {
    let escaped = reason.escape_debug().to_string();
    match escaped.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}
