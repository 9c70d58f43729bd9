//! Dead letters that go back to their connection's consumer.

mod pair;

use pair::{Pair, text};
use ropewalk_core::settings::{Order, ProcessorSettings, WorkerBounds};
use ropewalk_core::{
    Batch, Bytes, Consumer, Fate, Hooks, Input, Kind, PerKey, Redrive, Settings, Shutdown, Verdict,
};

fn redrive(pair: &mut Pair, letter: u64, payload: &'static str) {
    let redrive = Redrive {
        connection: pair.id,
        letter,
        generation: 7,
        seq: 40 + letter,
        kind: Kind::Text,
        payload: Bytes::from_static(payload.as_bytes()),
    };
    pair.handle(Input::Redrive(Box::new(redrive)));
}

fn processed() -> Pair {
    let mut pair = Pair::with(Settings::default(), Hooks::default(), Consumer::Process, 1);
    pair.open();
    pair
}

fn next(pair: &mut Pair) -> Batch {
    pair.batches.remove(0)
}

#[test]
fn a_letter_stands_behind_what_came_before_it_and_is_counted_apart() {
    let mut pair = processed();
    pair.receive(&text("first"));
    pair.receive(&text("second"));
    redrive(&mut pair, 1, "again");
    pair.receive(&text("third"));
    let mut seen = Vec::new();
    while !pair.batches.is_empty() {
        let batch = next(&mut pair);
        for message in &batch {
            seen.push((message.text().unwrap().to_owned(), batch.letter()));
        }
        pair.handle(Input::Judged(batch.ack()));
        pair.ask();
    }
    let expected = [
        ("first", None),
        ("second", None),
        ("again", Some(1)),
        ("third", None),
    ];
    let expected = expected.map(|(text, letter)| (text.to_owned(), letter));
    assert_eq!(seen, expected);
    assert_eq!(pair.fates, [(1, Fate::Delivered)]);
    let counters = pair.set.counters(pair.id).unwrap();
    assert_eq!(
        (counters.received, counters.redriven, counters.delivered),
        (3, 1, 4)
    );
    pair.set.check_invariants();
}

#[test]
fn a_letter_that_fails_again_is_the_same_letter_and_not_another() {
    let mut pair = processed();
    redrive(&mut pair, 1, "again");
    let batch = next(&mut pair);
    assert_eq!((batch.generation(), batch.get(0).unwrap().seq()), (7, 41));
    pair.handle(Input::Judged(batch.refuse_all(&Verdict::retry())));
    pair.ask();
    assert_eq!(pair.fates, [], "a retry is not the end");
    pair.advance(Settings::default().retry.max);
    let batch = next(&mut pair);
    assert_eq!((batch.letter(), batch.attempt()), (Some(1), 2));
    pair.handle(Input::Judged(
        batch.refuse_all(&Verdict::reject("still no")),
    ));
    let failed = Fate::Failed {
        reason: "still no".into(),
        attempts: 2,
    };
    assert_eq!(pair.fates, [(1, failed)]);
    assert_eq!(pair.letters, []);
    pair.set.check_invariants();
}

#[test]
fn a_puller_has_a_letter_when_it_is_handed_over() {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.open();
    redrive(&mut pair, 9, "again");
    assert_eq!(pair.texts(), ["again"]);
    assert_eq!(pair.fates, [(9, Fate::Delivered)]);
    pair.set.check_invariants();
}

/// A processor that takes `calls` batches at once; a message's key is its first byte.
fn at_once(order: Order, calls: u16) -> Pair {
    let settings = Settings {
        processor: ProcessorSettings {
            workers: WorkerBounds {
                min: calls,
                max: calls,
            },
            order,
        },
        ..Settings::default()
    };
    let per_key = PerKey::new(|message| message.as_bytes().first().copied());
    let hooks = Hooks {
        per_key: Some(per_key),
        ..Hooks::default()
    };
    let mut pair = Pair::with(settings, hooks, Consumer::Process, 1);
    for _ in 0..calls {
        pair.ask();
    }
    pair.open();
    pair
}

fn texts(pair: &Pair) -> Vec<(&str, Option<u64>)> {
    let batches = pair.batches.iter();
    batches
        .flat_map(|batch| {
            batch
                .iter()
                .map(|it| (it.text().expect("text"), batch.letter()))
        })
        .collect()
}

#[test]
fn a_letter_waits_for_its_key_and_for_no_other() {
    // So many lanes that these two keys do not share one.
    let mut pair = at_once(Order::PerKey, 16);
    pair.receive(&text("a1"));
    let a1 = next(&mut pair);
    pair.receive(&text("a2"));
    redrive(&mut pair, 1, "a-again");
    pair.receive(&text("a3"));
    redrive(&mut pair, 2, "b-again");
    assert_eq!(texts(&pair), [("b-again", Some(2))]);
    let mut seen = Vec::new();
    let mut batch = a1;
    loop {
        pair.batches.clear();
        pair.handle(Input::Judged(batch.ack()));
        pair.ask();
        if pair.batches.is_empty() {
            break;
        }
        let texts = texts(&pair).into_iter();
        seen.extend(texts.map(|(text, letter)| (text.to_owned(), letter)));
        batch = next(&mut pair);
    }
    let expected = [("a2", None), ("a-again", Some(1)), ("a3", None)];
    assert_eq!(
        seen,
        expected.map(|(text, letter)| (text.to_owned(), letter))
    );
    assert_eq!(pair.fates, [(1, Fate::Delivered)]);
    pair.set.check_invariants();
}

#[test]
fn a_letter_without_order_is_the_same_letter_at_its_retry() {
    let mut pair = at_once(Order::None, 3);
    redrive(&mut pair, 1, "first");
    redrive(&mut pair, 2, "second");
    pair.receive(&text("new"));
    let expected = [("first", Some(1)), ("second", Some(2)), ("new", None)];
    assert_eq!(texts(&pair), expected);
    let first = next(&mut pair);
    pair.handle(Input::Judged(first.refuse_all(&Verdict::retry())));
    pair.ask();
    let second = next(&mut pair);
    pair.handle(Input::Judged(second.ack()));
    assert_eq!(pair.fates, [(2, Fate::Delivered)]);
    pair.batches.clear();
    pair.advance(Settings::default().retry.max);
    assert_eq!(texts(&pair), [("first", Some(1))]);
    let first = next(&mut pair);
    assert_eq!(first.attempt(), 2);
    pair.handle(Input::Judged(first.ack()));
    assert_eq!(pair.fates, [(2, Fate::Delivered), (1, Fate::Delivered)]);
    pair.set.check_invariants();
}

#[test]
fn a_letter_that_nobody_took_before_the_end_has_no_fate() {
    let mut pair = processed();
    pair.receive(&text("busy"));
    redrive(&mut pair, 1, "again");
    let connection = pair.id;
    pair.set.remove(pair.now, connection, Shutdown::Abort);
    pair.drain();
    assert_eq!(pair.fates, []);
    let counters = pair.removed[0].counters;
    assert_eq!((counters.dropped, counters.redriven), (2, 1));
    assert!(counters.are_conserved());
}
