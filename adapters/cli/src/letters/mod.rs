//! `ropewalk letters`: dead letters, as a person decides about them.

mod record;
mod words;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use ropewalk_driver::{
    Bytes, Change, Filter, Kind, LetterId, LetterState, LetterStore, StoreError, StoredLetter,
};
use ropewalk_letters::SqliteStore;

use crate::Failure;
use crate::args::{LettersCommand, ListArguments, Marking};
use crate::control;

/// How many letters are in memory at once.
const PAGE: usize = 64;

/// Does what was asked, on the file; a running fleet is told of it.
pub(crate) fn run(command: &LettersCommand) -> Result<ExitCode, Failure> {
    match command {
        LettersCommand::List(list) => self::list(list),
        LettersCommand::Export(export) => {
            let mut store = open(&export.store)?;
            let filter = Filter {
                states: LetterState::ALL.to_vec(),
                ..Filter::default()
            };
            print_json(&mut store, filter, &export.ids, Detail::WithHistory)
        }
        LettersCommand::Show(show) => self::show(&show.store, &show.ids, show.form()),
        LettersCommand::Retry(marking) => mark(marking, &Change::Retry, Tell::Fleet),
        LettersCommand::Hold(marking) => mark(marking, &Change::Hold, Tell::Nobody),
        LettersCommand::Discard(marking) => mark(marking, &Change::Discard, Tell::Nobody),
        LettersCommand::Edit(edit) => {
            let payload = match &edit.data {
                Some(data) => data.clone().into_bytes(),
                None => {
                    let mut payload = Vec::new();
                    let read = io::stdin().read_to_end(&mut payload);
                    read.map_err(|error| {
                        Failure::runtime(format_args!("cannot read standard input: {error}"))
                    })?;
                    payload
                }
            };
            let mut store = open(&edit.store)?;
            check_text(&mut store, LetterId(edit.id), &payload)?;
            let marking = Marking {
                store: edit.store.clone(),
                ids: vec![edit.id],
                json: edit.json,
            };
            mark_in(&mut store, &marking, &Change::Edit(payload.into()))
        }
        LettersCommand::Redrive(redrive) => {
            let mut store = open(&redrive.store)?;
            let marked = mark_waiting(&mut store).map_err(Failure::runtime)?;
            control::refresh(&redrive.store, redrive.rate);
            if redrive.json {
                print(&format!("{{\"retrying\":{marked}}}\n"));
            } else {
                print(&format!("{marked} letters are to be retried\n"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether what is shown is for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Words,
    Json,
}

/// How much of a letter is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Letter,
    WithHistory,
}

/// Whether a fleet that runs with the store is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tell {
    Nobody,
    Fleet,
}

fn open(path: &Path) -> Result<SqliteStore, Failure> {
    SqliteStore::open_existing(path).map_err(Failure::usage)
}

fn list(list: &ListArguments) -> Result<ExitCode, Failure> {
    let mut store = open(&list.store)?;
    let filter = Filter {
        states: list.states(),
        connection: list.connection.clone(),
        ..Filter::default()
    };
    if list.json {
        return print_json(&mut store, filter, &list.ids, Detail::Letter);
    }
    let mut table = words::table();
    let mut count = 0_u64;
    each(&mut store, filter, &list.ids, |_, letter| {
        count += 1;
        table.row(words::row(letter));
        Ok(())
    })?;
    if count > 0 {
        print(&format!("{table}\n"));
    } else {
        print("no letters\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(path: &Path, ids: &[u64], form: Form) -> Result<ExitCode, Failure> {
    let mut store = open(path)?;
    let mut status = ExitCode::SUCCESS;
    for (number, id) in ids.iter().enumerate() {
        let found = store.get(LetterId(*id)).map_err(Failure::runtime)?;
        let Some(letter) = found else {
            crate::complain(format_args!("there is no letter {id}"));
            status = ExitCode::from(crate::FAILURE);
            continue;
        };
        let history = store.history(letter.id).map_err(Failure::runtime)?;
        match form {
            Form::Json => print(&record::line(&letter, Some(&history))),
            Form::Words => {
                let space = if number > 0 { "\n" } else { "" };
                print(&format!("{space}{}", words::full(&letter, &history)));
            }
        }
    }
    Ok(status)
}

fn print_json(
    store: &mut SqliteStore,
    filter: Filter,
    ids: &[u64],
    detail: Detail,
) -> Result<ExitCode, Failure> {
    each(store, filter, ids, |store, letter| {
        let line = match detail {
            Detail::Letter => record::line(letter, None),
            Detail::WithHistory => record::line(letter, Some(&store.history(letter.id)?)),
        };
        print(&line);
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `see` with each letter that the filter lets through and, if ids are given, that is one of those.
fn each(
    store: &mut SqliteStore,
    mut filter: Filter,
    ids: &[u64],
    mut see: impl FnMut(&mut SqliteStore, &StoredLetter) -> Result<(), StoreError>,
) -> Result<(), Failure> {
    filter.limit = PAGE;
    loop {
        let page = store.list(&filter).map_err(Failure::runtime)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        filter.after = last.id.0;
        for letter in &page {
            if ids.is_empty() || ids.contains(&letter.id.0) {
                see(store, letter).map_err(Failure::runtime)?;
            }
        }
    }
}

fn mark(marking: &Marking, change: &Change, tell: Tell) -> Result<ExitCode, Failure> {
    let mut store = open(&marking.store)?;
    let status = mark_in(&mut store, marking, change)?;
    if tell == Tell::Fleet {
        control::refresh(&marking.store, None);
    }
    Ok(status)
}

fn mark_in(
    store: &mut SqliteStore,
    marking: &Marking,
    change: &Change,
) -> Result<ExitCode, Failure> {
    let ids: Vec<_> = marking.ids.iter().copied().map(LetterId).collect();
    let changed = store
        .change(&ids, change, SystemTime::now())
        .map_err(Failure::runtime)?;
    let mut status = ExitCode::SUCCESS;
    for id in ids {
        let state = store.get(id).map_err(Failure::runtime)?;
        let state = state.map(|letter| letter.state);
        let is_changed = changed.contains(&id);
        if !is_changed {
            status = ExitCode::from(crate::FAILURE);
        }
        if marking.json {
            print(&record::changed_line(
                id,
                state,
                change.name(),
                is_changed.into(),
            ));
            continue;
        }
        match (state, is_changed) {
            (Some(state), true) => print(&format!("letter {id}: {}, now {state}\n", change.name())),
            (Some(state), false) => {
                crate::complain(format_args!("letter {id} is {state}: no {}", change.name()));
            }
            (None, _) => crate::complain(format_args!("there is no letter {id}")),
        }
    }
    Ok(status)
}

/// A text stays a text.
fn check_text(store: &mut SqliteStore, id: LetterId, payload: &[u8]) -> Result<(), Failure> {
    let letter = store.get(id).map_err(Failure::runtime)?;
    let is_text = letter.is_some_and(|letter| letter.record.kind == Kind::Text);
    if is_text && std::str::from_utf8(payload).is_err() {
        let problem =
            format!("letter {id} is a text message, and what it is to become is not UTF-8");
        return Err(Failure::usage(problem));
    }
    Ok(())
}

fn mark_waiting(store: &mut SqliteStore) -> Result<usize, StoreError> {
    let mut filter = Filter {
        states: vec![LetterState::Waiting],
        limit: PAGE,
        ..Filter::default()
    };
    let mut marked = 0;
    loop {
        let page = store.list(&filter)?;
        let ids: Vec<_> = page.iter().map(|letter| letter.id).collect();
        let Some(last) = ids.last() else {
            return Ok(marked);
        };
        filter.after = last.0;
        marked += store.change(&ids, &Change::Retry, SystemTime::now())?.len();
    }
}

/// Whoever closed the pipe has seen enough.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// What stands for a payload in JSON.
fn data(kind: Kind, payload: &Bytes) -> (&'static str, String) {
    match (kind, std::str::from_utf8(payload)) {
        (Kind::Text, Ok(text)) => ("text", text.to_owned()),
        (Kind::Text | Kind::Binary, _) => ("binary", data_encoding::BASE64.encode(payload)),
    }
}
