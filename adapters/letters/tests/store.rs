//! What every store of letters must do, and what the file adds.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use ropewalk_driver::{
    Bytes, Change, Direction, Filter, Kind, LetterId, LetterRecord, LetterState, LetterStore,
    MemoryBounds, MemoryStore, Stage, StoreError, WhenFull,
};
use ropewalk_letters::{OpenError, SqliteStore};

/// A file of its own that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("ropewalk-letters-{}-{name}", std::process::id());
        let scratch = Self(std::env::temp_dir().join(name));
        scratch.clear();
        scratch
    }

    fn clear(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000 + seconds, 123_456_000)
}

fn record(connection: &str, seq: u64) -> LetterRecord {
    LetterRecord {
        connection: connection.into(),
        endpoint: "wss://a.example/ws".into(),
        generation: 3,
        seq,
        direction: Direction::Inbound,
        stage: Stage::Business,
        reason: "no".into(),
        attempts: 4,
        received_at: at(seq),
        first_failed_at: at(seq + 1),
        kind: Kind::Binary,
        payload: Bytes::from_static(b"\0\xff'; DROP TABLE letters; --"),
    }
}

fn all() -> Filter {
    Filter {
        states: LetterState::ALL.to_vec(),
        ..Filter::default()
    }
}

fn ids(store: &mut dyn LetterStore, filter: &Filter) -> Vec<u64> {
    let letters = store.list(filter).unwrap();
    letters.iter().map(|letter| letter.id.0).collect()
}

fn on_both(name: &str, check: impl Fn(&mut dyn LetterStore)) {
    check(&mut MemoryStore::default());
    let file = Scratch::new(name);
    check(&mut SqliteStore::open(&file.0).unwrap());
}

#[test]
fn a_letter_comes_back_as_it_was() {
    on_both("same", |store| {
        let mut outbound = record("b", u64::from(u32::MAX) + 7);
        outbound.direction = Direction::Outbound;
        outbound.stage = Stage::Network;
        outbound.kind = Kind::Text;
        let records = [record("a \"'", 1), outbound];
        let stored = store.append(&records, at(9)).unwrap();
        assert_eq!(stored, [LetterId(1), LetterId(2)]);
        for (id, record) in stored.into_iter().zip(records) {
            let letter = store.get(id).unwrap().unwrap();
            assert_eq!(
                (letter.record, letter.state),
                (record, LetterState::Waiting)
            );
        }
        assert_eq!(store.get(LetterId(3)).unwrap(), None);
        let history = store.history(LetterId(1)).unwrap();
        assert_eq!(
            (history.len(), &*history[0].what, history[0].at),
            (1, "stored", at(9))
        );
    });
}

#[test]
fn each_change_applies_where_it_means_something_and_is_noted() {
    on_both("changes", |store| {
        let failed = Change::Failed {
            reason: "still no".into(),
            attempts: 2,
        };
        let id = store.append(&[record("a", 1)], at(0)).unwrap()[0];
        let steps = [
            (failed.clone(), false, LetterState::Waiting),
            (Change::Hold, true, LetterState::Held),
            (Change::Hold, false, LetterState::Held),
            (
                Change::Edit(Bytes::from_static(b"new")),
                true,
                LetterState::Held,
            ),
            (Change::Retry, true, LetterState::Retrying),
            (
                Change::Edit(Bytes::from_static(b"late")),
                false,
                LetterState::Retrying,
            ),
            (failed, true, LetterState::Waiting),
            (Change::Discard, true, LetterState::Discarded),
            (Change::Retry, false, LetterState::Discarded),
        ];
        for (change, applies, state) in steps {
            let changed = store.change(&[id, LetterId(99)], &change, at(5)).unwrap();
            assert_eq!(!changed.is_empty(), applies, "{change:?}");
            assert_eq!(store.get(id).unwrap().unwrap().state, state, "{change:?}");
        }
        let letter = store.get(id).unwrap().unwrap();
        assert_eq!(letter.payload(), "new");
        assert_eq!(
            letter.record.payload,
            record("a", 1).payload,
            "the first payload is kept"
        );
        assert_eq!(
            (&*letter.record.reason, letter.record.attempts),
            ("still no", 6)
        );
        let history = store.history(id).unwrap();
        let words: Vec<_> = history.iter().map(|entry| &*entry.what).collect();
        assert_eq!(
            words,
            ["stored", "hold", "edit", "retry", "failed", "discard"]
        );
        assert_eq!(&*history[4].detail, "still no");
    });
}

#[test]
fn lists_are_filtered_and_go_on_where_they_ended() {
    on_both("lists", |store| {
        let records: Vec<_> = (1..=6)
            .map(|seq| record(if seq % 2 == 0 { "a" } else { "b" }, seq))
            .collect();
        store.append(&records, at(0)).unwrap();
        store
            .change(&[LetterId(2)], &Change::Discard, at(1))
            .unwrap();
        store.change(&[LetterId(3)], &Change::Hold, at(1)).unwrap();
        assert_eq!(ids(store, &Filter::default()), [1, 3, 4, 5, 6]);
        assert_eq!(ids(store, &all()), [1, 2, 3, 4, 5, 6]);
        let mut of_a = all();
        of_a.connection = Some("a".into());
        assert_eq!(ids(store, &of_a), [2, 4, 6]);
        let mut page = all();
        (page.after, page.limit) = (2, 3);
        assert_eq!(ids(store, &page), [3, 4, 5]);
    });
}

#[test]
fn letters_are_retried_in_the_order_in_which_they_were_received() {
    on_both("order", |store| {
        // They failed in another order, and the second process counted from 1 again.
        let mut later = record("a", 1);
        later.received_at = at(100);
        let records = [record("a", 5), later, record("b", 2), record("a", 3)];
        let ids = store.append(&records, at(0)).unwrap();
        assert_eq!(store.retrying("a").unwrap(), []);
        store.change(&ids, &Change::Retry, at(1)).unwrap();
        assert_eq!(store.retrying("a").unwrap(), [4, 1, 2].map(LetterId));
    });
}

#[test]
fn a_full_memory_keeps_what_its_policy_says() {
    let table = [
        (WhenFull::DropOldest, &[2, 3][..], 1),
        (WhenFull::DropNewest, &[1, 2], 1),
        (WhenFull::Refuse, &[1, 2], 0),
    ];
    for (when_full, kept, dropped) in table {
        let mut store = MemoryStore::new(MemoryBounds {
            letters_max: NonZeroUsize::new(2).unwrap(),
            when_full,
            ..MemoryBounds::default()
        });
        for seq in 1..=2 {
            store.append(&[record("a", seq)], at(0)).unwrap();
        }
        let third = store.append(&[record("a", 3)], at(0));
        assert_eq!(
            matches!(third, Err(StoreError::Full)),
            when_full == WhenFull::Refuse
        );
        assert_eq!(ids(&mut store, &all()), kept);
        assert_eq!(store.dropped(), dropped);
        // Those about which all is decided give way first, and are no loss.
        store
            .change(&[LetterId(2)], &Change::Discard, at(1))
            .unwrap();
        let id = store.append(&[record("a", 4)], at(0)).unwrap()[0];
        assert_eq!(
            ids(&mut store, &all()),
            [kept.iter().copied().find(|id| *id != 2).unwrap(), id.0]
        );
        assert_eq!(store.dropped(), dropped);
    }
}

#[test]
fn letters_outlive_the_process_and_two_may_have_the_file_open() {
    let file = Scratch::new("outlive");
    let mut writer = SqliteStore::open(&file.0).unwrap();
    writer.append(&[record("a", 1)], at(0)).unwrap();
    let mut reader = SqliteStore::open_existing(&file.0).unwrap();
    assert_eq!(ids(&mut reader, &all()), [1]);
    reader
        .change(&[LetterId(1)], &Change::Retry, at(1))
        .unwrap();
    assert_eq!(writer.retrying("a").unwrap(), [LetterId(1)]);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file.0).unwrap());
        assert_eq!(mode & 0o077, 0, "others may not read it");
    }
}

#[test]
fn a_file_that_is_no_store_of_this_version_is_refused_in_words() {
    let file = Scratch::new("foreign");
    assert!(matches!(
        SqliteStore::open_existing(&file.0),
        Err(OpenError::Missing(_))
    ));
    std::fs::write(&file.0, "a diary, not a database, though it is long enough").unwrap();
    assert!(matches!(
        SqliteStore::open(&file.0),
        Err(OpenError::Foreign(_))
    ));
    file.clear();
    let other = rusqlite::Connection::open(&file.0).unwrap();
    other
        .execute_batch("CREATE TABLE diary (day TEXT)")
        .unwrap();
    assert!(matches!(
        SqliteStore::open(&file.0),
        Err(OpenError::Foreign(_))
    ));
    drop(other);
    file.clear();
    drop(SqliteStore::open(&file.0).unwrap());
    let newer = rusqlite::Connection::open(&file.0).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    drop(newer);
    let refused = SqliteStore::open(&file.0).unwrap_err();
    assert!(
        refused.to_string().contains("schema version 2"),
        "{refused}"
    );
}

#[test]
fn a_store_that_could_not_be_opened_works_once_it_can() {
    let file = Scratch::new("later");
    std::fs::create_dir(&file.0).unwrap();
    let mut store = SqliteStore::open_later(&file.0);
    assert!(matches!(
        store.append(&[record("a", 1)], at(0)),
        Err(StoreError::Failed(_))
    ));
    std::fs::remove_dir(&file.0).unwrap();
    assert_eq!(
        store.append(&[record("a", 1)], at(0)).unwrap(),
        [LetterId(1)]
    );
}

/// What the child of the next test does: it stores letters for ever, and says so after each commit.
const CHILD: &str = "ROPEWALK_LETTERS_CHILD";

#[test]
fn every_letter_reported_as_stored_survives_a_kill() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mut store = SqliteStore::open(path).unwrap();
        for seq in (1..).step_by(3) {
            let group = [0, 1, 2].map(|more| record("a", seq + more));
            for id in store.append(&group, SystemTime::now()).unwrap() {
                println!("stored {id}");
            }
        }
    }
    let file = Scratch::new("killed");
    let mut reported = 0;
    for lines in [1, 40, 95] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "every_letter_reported_as_stored_survives_a_kill",
                "--nocapture",
            ])
            .env(CHILD, &file.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said: Vec<u64> = Vec::new();
        let note = |said: &mut Vec<u64>, line: &str| {
            said.extend(
                line.strip_prefix("stored ")
                    .and_then(|id| id.parse::<u64>().ok()),
            );
        };
        while said.len() < lines {
            note(&mut said, &output.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        // What it said before it died counts as well; the last line may be cut.
        let mut rest: Vec<_> = output.map_while(Result::ok).collect();
        rest.pop();
        rest.iter().for_each(|line| note(&mut said, line));
        child.wait().unwrap();
        reported += said.len();
        let database = rusqlite::Connection::open(&file.0).unwrap();
        let verdict: String = database
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(verdict, "ok");
        let mut store = SqliteStore::open(&file.0).unwrap();
        for id in said {
            let letter = store.get(LetterId(id)).unwrap();
            assert_eq!(
                letter.map(|letter| letter.state),
                Some(LetterState::Waiting),
                "{id}"
            );
        }
    }
    assert!(reported >= 136);
}

#[test]
fn numbers_go_on_where_a_run_ended_and_leave_some_out_after_one_that_did_not() {
    let file = Scratch::new("numbers");
    let mut store = SqliteStore::open(&file.0).unwrap();
    assert_eq!(store.begin_numbering(["a", "b"]).unwrap(), [0, 0]);
    store.end_numbering([("a", 17), ("b", 0)]).unwrap();
    assert_eq!(store.begin_numbering(["b", "a", "c"]).unwrap(), [0, 17, 0]);
    // That run vanishes.
    drop(store);
    let mut store = SqliteStore::open(&file.0).unwrap();
    let block = 1 << 40;
    let begun = store.begin_numbering(["a", "b", "c"]).unwrap();
    assert_eq!(begun, [17 + block, block, block]);
}

#[test]
fn what_was_settled_long_ago_goes_when_others_are_stored() {
    let file = Scratch::new("settled");
    let mut store = SqliteStore::open(&file.0)
        .unwrap()
        .keep_settled(Duration::from_secs(100));
    let letters: Vec<_> = (1..=4).map(|seq| record("a", seq)).collect();
    let ids_of = |store: &mut SqliteStore| ids(store, &all());
    let stored = store.append(&letters, at(0)).unwrap();
    let mut settle = |id: usize, changes: &[Change], seconds| {
        for change in changes {
            assert_eq!(
                store.change(&[stored[id]], change, at(seconds)).unwrap(),
                [stored[id]]
            );
        }
    };
    settle(0, &[Change::Retry, Change::Delivered], 10);
    settle(1, &[Change::Discard], 11);
    settle(2, &[Change::Hold], 1);
    store.append(&[record("a", 5)], at(110)).unwrap();
    assert_eq!(ids_of(&mut store), [1, 2, 3, 4, 5]);
    store.append(&[record("a", 6)], at(111)).unwrap();
    assert_eq!(ids_of(&mut store), [2, 3, 4, 5, 6]);
    assert_eq!(store.history(stored[0]).unwrap(), []);
    store.append(&[record("a", 7)], at(10_000)).unwrap();
    // What nobody has decided stays.
    assert_eq!(ids_of(&mut store), [3, 4, 5, 6, 7]);
}
