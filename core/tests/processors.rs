//! Processors whose calls run at once: what stays in order, and how many there are.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

mod pair;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use pair::{Pair, text};
use proptest::prelude::*;
use ropewalk_core::admission::{Answer, Calls, Ticket};
use ropewalk_core::settings::{Order, ProcessorSettings, WorkerBounds};
use ropewalk_core::{
    Batch, Consumer, EventKind, Hooks, Input, Judged, MessageRef, PerKey, Settings, Shutdown,
    TransportError, TransportErrorKind, Verdict,
};

/// The key of a message of these tests: its first byte.
fn key(message: MessageRef<'_>) -> Option<u8> {
    message.as_bytes().first().copied()
}

fn settings(order: Order, max: u16) -> Settings {
    let mut settings = Settings {
        processor: ProcessorSettings {
            workers: WorkerBounds { min: max, max },
            order,
        },
        ..Settings::default()
    };
    settings.backoff.initial = Duration::from_millis(10);
    settings.backoff.floor = Duration::from_millis(1);
    settings
}

fn opened(settings: Settings) -> Pair {
    let hooks = Hooks {
        per_key: Some(PerKey::new(key)),
        ..Hooks::default()
    };
    let places = settings.processor.workers.max;
    let mut pair = Pair::with(settings, hooks, Consumer::Process, 1);
    pair.stop_asking();
    for _ in 1..places {
        pair.ask();
    }
    pair.open();
    pair
}

/// Gives the batch back, and asks for another in its place.
fn judge(pair: &mut Pair, batch: Batch, verdict: impl FnMut(MessageRef<'_>) -> Verdict) {
    pair.handle(Input::JudgedAndAsk(batch.judge(verdict)));
}

fn ack(pair: &mut Pair, batch: Batch) {
    judge(pair, batch, |_| Verdict::Ack);
}

fn taken(pair: &mut Pair) -> Vec<Batch> {
    std::mem::take(&mut pair.batches)
}

fn texts(batch: &Batch) -> Vec<String> {
    batch
        .iter()
        .map(|it| it.text().unwrap().to_owned())
        .collect()
}

#[test]
fn a_strict_processor_has_one_batch_however_often_it_asks() {
    let mut pair = opened(settings(Order::Strict, 4));
    for message in ["a1", "b1", "a2"] {
        pair.receive(&text(message));
    }
    let [first] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&first), ["a1"]);
    ack(&mut pair, first);
    let [second] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&second), ["b1", "a2"]);
}

#[test]
fn verdicts_see_to_the_message_of_which_only_a_part_is_here() {
    let mut pair = opened(settings(Order::Strict, 1));
    let next = text("a2");
    pair.receive(&[&text("a1")[..], &next[..3]].concat());
    let [first] = taken(&mut pair).try_into().unwrap();
    // From now on somebody waits for the rest: what a set knows of its connections is checked after each input.
    ack(&mut pair, first);
    pair.receive(&next[3..]);
    let [second] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&second), ["a2"]);
}

#[test]
fn without_order_calls_run_at_once_and_a_retry_holds_back_nobody() {
    let mut pair = opened(settings(Order::None, 3));
    for message in ["a1", "a2", "a3", "a4"] {
        pair.receive(&text(message));
    }
    let [first, second, third] = taken(&mut pair).try_into().unwrap();
    let after = Duration::from_millis(100);
    judge(&mut pair, second, |_| Verdict::retry_after(after));
    let [fourth] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&fourth), ["a4"]);
    for batch in [first, third, fourth] {
        ack(&mut pair, batch);
    }
    assert!(taken(&mut pair).is_empty());
    pair.advance(after);
    let [again] = taken(&mut pair).try_into().unwrap();
    assert_eq!((texts(&again), again.attempt()), (vec!["a2".into()], 2));
    ack(&mut pair, again);
    let counters = pair.set.counters(pair.id).unwrap();
    assert_eq!((counters.delivered, counters.in_flight_in), (4, 0));
}

#[test]
fn a_retry_holds_back_the_messages_of_its_key_and_no_others() {
    let mut pair = opened(settings(Order::PerKey, 16));
    pair.receive(&text("a1"));
    pair.receive(&text("b1"));
    let [a, b] = taken(&mut pair).try_into().unwrap();
    pair.receive(&[text("a2"), text("b2")].concat());
    assert!(taken(&mut pair).is_empty(), "both keys are busy");
    judge(&mut pair, a, |_| {
        Verdict::retry_after(Duration::from_secs(1))
    });
    assert!(taken(&mut pair).is_empty());
    ack(&mut pair, b);
    let [b] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&b), ["b2"]);
    pair.advance(Duration::from_secs(1));
    let [a] = taken(&mut pair).try_into().unwrap();
    assert_eq!((texts(&a), a.attempt()), (vec!["a1".into()], 2));
    ack(&mut pair, a);
    let [a] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&a), ["a2"]);
}

#[test]
fn a_batch_grows_while_all_calls_of_the_process_run() {
    let mut pair = opened(settings(Order::None, 3));
    pair.calls = Calls::new(NonZeroU32::MIN);
    for message in ["a1", "a2", "a3", "a4"] {
        pair.receive(&text(message));
    }
    let [first] = taken(&mut pair).try_into().unwrap();
    assert_eq!((pair.calls.running(), pair.calls.waiting()), (1, 1));
    ack(&mut pair, first);
    let [second] = taken(&mut pair).try_into().unwrap();
    assert_eq!(texts(&second), ["a2", "a3", "a4"]);
    ack(&mut pair, second);
    assert_eq!((pair.calls.running(), pair.calls.waiting()), (0, 0));
}

#[test]
fn a_connection_that_ends_gives_its_calls_back() {
    for max in [1, 9] {
        let mut pair = opened(settings(Order::None, 3));
        pair.calls = Calls::new(NonZeroU32::new(max).unwrap());
        for message in ["a1", "a2", "a3", "a4"] {
            pair.receive(&text(message));
        }
        assert_eq!(pair.calls.running(), max.min(3));
        let batches = taken(&mut pair);
        let id = pair.id;
        pair.set.remove(pair.now, id, Shutdown::Abort);
        pair.drain();
        let [report] = &pair.removed[..] else {
            panic!("{:?}", pair.removed);
        };
        assert_eq!(report.counters.dropped, 4);
        assert_eq!((pair.calls.running(), pair.calls.waiting()), (0, 0));
        // Too late: it counts for nothing.
        for batch in batches {
            pair.handle(Input::Judged(batch.ack()));
        }
        // A grant that crossed with the end goes back.
        let ticket = Ticket {
            shard: 0,
            connection: id,
        };
        assert_eq!(pair.calls.ask(ticket, 1), Answer::Granted);
        pair.handle(Input::CallGranted { connection: id });
        assert_eq!(pair.calls.running(), 0);
    }
}

#[test]
fn a_call_that_is_kept_is_not_asked_for_and_goes_back_when_it_is_recalled() {
    let mut pair = opened(settings(Order::Strict, 1));
    pair.calls_kept_max = 1;
    for message in ["a1", "a2", "a3"] {
        pair.receive(&text(message));
        let [batch] = taken(&mut pair).try_into().unwrap();
        assert_eq!(pair.calls.running(), 1);
        ack(&mut pair, batch);
        assert_eq!(pair.calls.running(), 1, "it is kept");
    }
    pair.set.keep_calls(0);
    pair.drain();
    assert_eq!(pair.calls.running(), 0);
}

#[test]
fn a_verdict_that_asks_is_a_verdict_and_then_an_ask() {
    let verdicts = || [Verdict::Ack, Verdict::reject("no"), Verdict::retry()];
    for verdict in verdicts() {
        for is_more_here in [true, false] {
            let end = |returned: &dyn Fn(&mut Pair, Judged)| {
                let mut pair = opened(settings(Order::Strict, 1));
                pair.receive(&text("a1"));
                let [batch] = taken(&mut pair).try_into().unwrap();
                if is_more_here {
                    pair.receive(&text("a2"));
                }
                returned(&mut pair, batch.judge(|_| verdict.clone()));
                let next: Vec<_> = taken(&mut pair).iter().map(texts).collect();
                let counters = pair.set.counters(pair.id).unwrap();
                (next, counters, pair.next_timeout, pair.letters.len())
            };
            let at_once = end(&|pair, judged| pair.handle(Input::JudgedAndAsk(judged)));
            let in_turn = end(&|pair, judged| {
                pair.handle(Input::Judged(judged));
                pair.ask();
            });
            assert_eq!(at_once, in_turn);
        }
    }
}

#[test]
fn a_batch_that_is_returned_twice_counts_once() {
    let mut pair = opened(settings(Order::Strict, 1));
    pair.receive(&text("a1"));
    let [batch] = taken(&mut pair).try_into().unwrap();
    ack(&mut pair, batch.clone());
    pair.handle(Input::Judged(batch.ack()));
    assert_eq!(pair.set.counters(pair.id).unwrap().delivered, 1);
}

#[test]
fn workers_are_told_when_they_become_more_and_forgotten_when_idle() {
    let mut settings = settings(Order::None, 4);
    settings.processor.workers.min = 1;
    settings.batch.count_max = 1;
    settings.keepalive = None;
    let mut pair = opened(settings);
    let backlog: Vec<u8> = (0..100).flat_map(|n| text(&format!("a{n}"))).collect();
    pair.receive(&backlog);
    let mut running = taken(&mut pair);
    assert_eq!(running.len(), 1);
    let mut most = 0;
    while !running.is_empty() {
        pair.advance(Duration::from_millis(10));
        for batch in std::mem::take(&mut running) {
            ack(&mut pair, batch);
        }
        running = taken(&mut pair);
        most = most.max(running.len());
    }
    assert_eq!(most, 4);
    let told = |pair: &Pair| -> Vec<_> {
        let kinds = pair.kinds().into_iter();
        kinds
            .filter(|kind| matches!(kind, EventKind::Scaled { .. }))
            .cloned()
            .collect()
    };
    assert_eq!(told(&pair), [EventKind::Scaled { from: 1, to: 2 }]);
    // Whatever is left of the handshake's timers.
    pair.advance(Duration::from_secs(20));
    assert_eq!(pair.next_timeout, None, "nothing wakes it to shrink");
    pair.receive(&text("a100"));
    assert_eq!(pair.set.counters(pair.id).unwrap().workers, 1);
    assert_eq!(taken(&mut pair).len(), 1);
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Receive(Vec<u8>),
    /// One of the running calls ends, with verdicts by these numbers.
    Finish(usize, Vec<u8>),
    Pass(u16),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0_u8..5, 1..12).prop_map(Step::Receive),
        5 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..5))
            .prop_map(|(which, verdicts)| Step::Finish(which, verdicts)),
        2 => (0_u16..400).prop_map(Step::Pass),
        1 => Just(Step::Reset),
    ]
}

/// What an onlooker knows: which messages have no verdict for good, in the order in which they came.
struct Onlooker {
    order: Order,
    unsettled: BTreeMap<u64, Standing>,
    running: Vec<Batch>,
}

struct Standing {
    key: u8,
    is_running: bool,
}

impl Onlooker {
    fn look(&mut self, pair: &mut Pair) {
        for batch in taken(pair) {
            let mut own = Vec::new();
            for message in &batch {
                let seq = message.seq();
                let key = key(message).unwrap();
                let earlier = self.unsettled.range(..seq).filter(|(seq, it)| {
                    !own.contains(*seq)
                        && match self.order {
                            Order::Strict => true,
                            Order::PerKey => it.key == key,
                            Order::None => false,
                        }
                });
                assert_eq!(earlier.count(), 0, "{seq} overtakes");
                assert!(own.last().is_none_or(|last| *last < seq));
                own.push(seq);
                let standing = self.unsettled.get_mut(&seq).expect("it was received");
                assert!(!standing.is_running, "{seq} runs twice");
                standing.is_running = true;
            }
            self.running.push(batch);
        }
    }

    fn finish(&mut self, pair: &mut Pair, which: usize, verdicts: &[u8]) {
        if self.running.is_empty() {
            return;
        }
        let batch = self.running.swap_remove(which % self.running.len());
        let attempts_max = Settings::default().retry.attempts_max;
        let mut numbers = verdicts.iter().cycle();
        let unsettled = &mut self.unsettled;
        let attempt = batch.attempt();
        judge(pair, batch, |message| {
            let verdict = match numbers.next().unwrap() % 8 {
                0 => Verdict::reject("no"),
                1 => Verdict::retry(),
                2 => Verdict::retry_after(Duration::from_millis(3)),
                _ => Verdict::Ack,
            };
            let is_again = matches!(verdict, Verdict::Retry { .. }) && attempt <= attempts_max;
            if is_again {
                unsettled.get_mut(&message.seq()).unwrap().is_running = false;
            } else {
                unsettled.remove(&message.seq());
            }
            verdict
        });
    }
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.unwrap();
    let error = TransportError {
        kind: TransportErrorKind::Reset,
        detail: "reset".into(),
    };
    pair.socket = None;
    pair.handle(Input::TransportFailed { socket, error });
    while pair.socket.is_none() {
        pair.advance(Duration::from_millis(100));
    }
    pair.open();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_overtakes_what_it_must_not_and_nothing_is_lost(
        order in prop::sample::select(vec![Order::Strict, Order::PerKey, Order::None]),
        max in 1_u16..6,
        calls_max in 1_u32..6,
        kept_max in 0_u32..4,
        count_max in prop::sample::select(vec![1_usize, 3, 1_024]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut settings = settings(order, max);
        settings.batch.count_max = count_max;
        let mut pair = opened(settings);
        pair.calls = Calls::new(NonZeroU32::new(calls_max).unwrap());
        pair.calls_kept_max = kept_max;
        let mut onlooker = Onlooker { order, unsettled: BTreeMap::new(), running: Vec::new() };
        let mut received = 0;
        let at_most = match order {
            Order::Strict => 1,
            Order::PerKey | Order::None => usize::from(max).min(calls_max as usize),
        };
        for step in steps {
            match step {
                Step::Receive(keys) => {
                    for key in keys {
                        received += 1;
                        let key = b'a' + key;
                        let standing = Standing { key, is_running: false };
                        onlooker.unsettled.insert(received, standing);
                        pair.receive(&text(&char::from(key).to_string()));
                    }
                }
                Step::Finish(which, verdicts) => onlooker.finish(&mut pair, which, &verdicts),
                Step::Pass(millis) => pair.advance(Duration::from_millis(millis.into())),
                Step::Reset => reset(&mut pair),
            }
            onlooker.look(&mut pair);
            prop_assert!(onlooker.running.len() <= at_most);
            let kept = pair.calls.running() - u32::try_from(onlooker.running.len()).unwrap();
            prop_assert!(kept <= kept_max);
            prop_assert!(kept == 0 || pair.calls.waiting() == 0, "kept while somebody waits");
        }
        for _ in 0..10_000 {
            if onlooker.unsettled.is_empty() {
                break;
            }
            onlooker.finish(&mut pair, 0, &[7]);
            pair.advance(Duration::from_millis(100));
            onlooker.look(&mut pair);
        }
        let counters = pair.set.counters(pair.id).unwrap();
        prop_assert_eq!(counters.delivered + counters.rejected, received);
        prop_assert_eq!(counters.in_flight_in, 0);
        pair.set.keep_calls(0);
        pair.drain();
        prop_assert_eq!((pair.calls.running(), pair.calls.waiting()), (0, 0));
    }
}
