//! The application's own asynchronous functions.

use std::future::{pending, poll_fn};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, Fleet, Runtime, Sender, Settings, Stage, State, Verdict,
    WorkerBounds,
};
use tungstenite::Message;

use super::server::Server;
use super::{eager, take, texts, until_state};

/// One message a batch, so that each has a fate of its own.
pub(super) fn one_by_one(connect: Connect) -> Connect {
    let mut settings = Settings::default();
    settings.batch.count_max = 1;
    settings.retry.initial = Duration::from_millis(1);
    connect.settings(settings)
}

fn sends(texts: &'static [&'static str]) -> Server {
    Server::start(move |_, mut session| {
        for text in texts {
            session.send(Message::text(*text)).unwrap();
        }
        while session.read().is_ok() {}
    })
}

pub(crate) async fn a_processor_judges_each_message<R: Runtime>() {
    let server = sends(&["ack", "reject", "retry", "never", "last"]);
    let mut fleet = Fleet::<R>::new();
    let mut letters = fleet.letters();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let connect = Connect::to(&server.url()).unwrap().named("judged");
    fleet.open(one_by_one(connect).process(move |batch: Batch| {
        let tell = tell.lock().unwrap().clone();
        async move {
            let attempt = batch.attempt();
            batch.judge(|message| {
                let text = message.text().unwrap();
                tell.send((text.to_owned(), attempt)).unwrap();
                match text {
                    "reject" => Verdict::reject("not wanted"),
                    "retry" if attempt == 1 => Verdict::retry(),
                    "never" => Verdict::retry_after(Duration::from_millis(1)),
                    _ => Verdict::Ack,
                }
            })
        }
    }));
    let rejected = letters.next().await.unwrap();
    assert_eq!(&*rejected.name, "judged");
    assert_eq!(&*rejected.letter.reason, "not wanted");
    assert_eq!(rejected.letter.stage, Stage::Business);
    assert_eq!(&rejected.letter.payload[..], b"reject");
    let exhausted = letters.next().await.unwrap();
    assert_eq!(&exhausted.letter.payload[..], b"never");
    let told: Vec<_> = told.iter().take(9).collect();
    for wanted in [("ack", 1), ("retry", 2), ("never", 4), ("last", 1)] {
        let wanted = (wanted.0.to_owned(), wanted.1);
        assert!(told.contains(&wanted), "{told:?}");
    }
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.rejected), (3, 2));
    assert_eq!(letters.dropped(), 0);
}

pub(crate) async fn a_processor_that_panics_loses_its_batch_only<R: Runtime>() {
    let server = sends(&["one", "panic", "three"]);
    let mut fleet = Fleet::<R>::new();
    let mut letters = fleet.letters();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    fleet.open(
        one_by_one(Connect::to(&server.url()).unwrap()).process(move |batch: Batch| {
            let tell = tell.lock().unwrap().clone();
            async move {
                let text = batch.get(0).unwrap().text().unwrap().to_owned();
                assert_ne!(text, "panic", "a test's panic");
                tell.send(text).unwrap();
                batch.ack()
            }
        }),
    );
    let letter = letters.next().await.unwrap().letter;
    assert_eq!(&letter.payload[..], b"panic");
    assert!(
        letter.reason.contains("the processor panicked")
            && letter.reason.contains("a test's panic"),
        "{}",
        letter.reason
    );
    assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["one", "three"]);
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.rejected), (2, 1));
}

pub(crate) async fn a_processor_that_waits_for_nothing_judges_and_may_panic<R: Runtime>() {
    let server = sends(&["one", "retry", "panic", "reject"]);
    let mut fleet = Fleet::<R>::new();
    let mut letters = fleet.letters();
    let connect = one_by_one(Connect::to(&server.url()).unwrap());
    fleet.open(
        connect.process_sync(|batch| match only_text(&batch).as_str() {
            "panic" => panic!("a test's panic"),
            "reject" => batch.refuse_all(&Verdict::reject("not wanted")),
            "retry" if batch.attempt() == 1 => batch.refuse_all(&Verdict::retry()),
            _ => batch.ack(),
        }),
    );
    for (payload, reason) in [("panic", "a test's panic"), ("reject", "not wanted")] {
        let letter = letters.next().await.unwrap().letter;
        assert_eq!(&letter.payload[..], payload.as_bytes());
        assert!(letter.reason.contains(reason), "{}", letter.reason);
    }
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.rejected), (2, 2));
}

pub(crate) async fn verdicts_on_another_batch_reject_the_one_in_hand<R: Runtime>() {
    let server = sends(&["one", "two", "three"]);
    let mut fleet = Fleet::<R>::new();
    let mut letters = fleet.letters();
    let before = Arc::new(Mutex::new(None));
    let connect = one_by_one(Connect::to(&server.url()).unwrap());
    fleet.open(connect.process(move |batch: Batch| {
        let before = Arc::clone(&before);
        async move {
            let before = before.lock().unwrap().replace(batch.clone());
            match only_text(&batch).as_str() {
                "two" => before.unwrap().ack(),
                _ => batch.ack(),
            }
        }
    }));
    let letter = letters.next().await.unwrap().letter;
    assert_eq!(&letter.payload[..], b"two");
    assert!(letter.reason.contains("another batch"), "{}", letter.reason);
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.rejected), (2, 1));
}

/// Asks its first client once that has begun, and closes; tells what comes then, and `None` at the end.
fn asks_and_closes() -> (Server, Receiver<Option<Message>>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |number, mut session| {
        let tell = tell.lock().unwrap().clone();
        if number > 1 || session.read().is_err() {
            return;
        }
        session.write(Message::text("question")).unwrap();
        session.close(None).unwrap();
        while let Ok(message) = session.read() {
            tell.send(Some(message)).unwrap();
        }
        tell.send(None).unwrap();
    });
    (server, told)
}

pub(crate) async fn a_close_is_answered_when_what_came_before_is_judged<R: Runtime>() {
    let (server, told) = asks_and_closes();
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    // Nothing but the verdict lets it go out.
    settings.timeouts.flush_before_close = Duration::from_secs(60);
    let connect = Connect::to(&server.url()).unwrap().settings(settings);
    let handle = fleet.open(connect.process(async |batch: Batch| batch.ack()));
    handle.sender().send("begin").await.unwrap();
    assert!(told.recv().unwrap().unwrap().is_close());
}

pub(crate) async fn what_a_processor_answers_goes_out_before_the_close<R: Runtime>() {
    let (server, told) = asks_and_closes();
    let fleet = Fleet::<R>::new();
    let answers = Arc::new(OnceLock::new());
    let handle = fleet.open(eager(&server.url()).process({
        let answers = Arc::clone(&answers);
        move |batch: Batch| {
            let answers = Arc::clone(&answers);
            async move {
                let answers: &Sender = answers.get().unwrap();
                answers.try_post("answer").unwrap();
                batch.ack()
            }
        }
    }));
    let sender = handle.sender();
    answers.set(sender.clone()).unwrap();
    sender.send("begin").await.unwrap();
    assert_eq!(told.recv(), Ok(Some(Message::text("answer"))));
    assert!(told.recv().unwrap().unwrap().is_close());
}

pub(crate) async fn a_processor_that_waits_delays_nobody_else<R: Runtime>() {
    let server = Server::start(|_, mut session| {
        session.send(Message::text("hello")).unwrap();
        super::server::echo(session);
    });
    let fleet = Fleet::<R>::builder()
        .shards(std::num::NonZeroUsize::MIN)
        .build()
        .unwrap();
    let (begun, begins) = channel();
    let begun = Mutex::new(begun);
    fleet.open(eager(&server.url()).process(move |batch| {
        begun.lock().unwrap().send(()).unwrap();
        async move {
            pending::<()>().await;
            batch.ack()
        }
    }));
    begins.recv().unwrap();
    let other = fleet.open(eager(&server.url()));
    other.sender().send("quick").await.unwrap();
    assert_eq!(take(&other, 2).await, ["hello", "quick"]);
}

/// Some calls at once, from the first.
fn at_once(connect: Connect, calls: u16) -> Connect {
    connect.workers(WorkerBounds {
        min: calls,
        max: calls,
    })
}

/// The text of a batch of one message.
fn only_text(batch: &Batch) -> String {
    let [text] = texts(batch).try_into().unwrap();
    text
}

/// A rendezvous of a few tasks on any runtime.
#[derive(Clone)]
pub(super) struct Meeting(Arc<Mutex<(usize, Vec<Waker>)>>);

impl Meeting {
    pub(super) fn of(count: usize) -> Self {
        Self(Arc::new(Mutex::new((count, Vec::new()))))
    }

    /// Waits until all have come.
    pub(super) async fn join(&self) {
        let mut has_come = false;
        poll_fn(|cx| {
            let (missing, waiting) = &mut *self.0.lock().unwrap();
            if !std::mem::replace(&mut has_come, true) {
                *missing = missing
                    .checked_sub(1)
                    .expect("no more come than were meant");
            }
            if *missing == 0 {
                waiting.drain(..).for_each(Waker::wake);
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(crate) async fn calls_without_order_overlap<R: Runtime>() {
    let server = sends(&["one", "two", "three"]);
    let mut fleet = Fleet::<R>::new();
    // None of the three ends before all have begun.
    let meeting = Meeting::of(3);
    let connect = one_by_one(Connect::to(&server.url()).unwrap()).unordered();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    fleet.open(at_once(connect, 3).process(move |batch| {
        let meeting = meeting.clone();
        let tell = tell.lock().unwrap().clone();
        async move {
            meeting.join().await;
            tell.send(()).unwrap();
            batch.ack()
        }
    }));
    assert_eq!(told.iter().take(3).count(), 3);
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.dropped), (3, 0));
}

pub(crate) async fn messages_of_one_key_stay_in_order<R: Runtime>() {
    const MESSAGES: usize = 400;
    let server = Server::start(|_, mut session| {
        for number in 0..MESSAGES {
            let key = char::from(b'a' + u8::try_from(number % 7).unwrap());
            session
                .send(Message::text(format!("{key}{number:03}")))
                .unwrap();
        }
        while session.read().is_ok() {}
    });
    let mut fleet = Fleet::<R>::new();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let connect = Connect::to(&server.url()).unwrap();
    let mut settings = Settings::default();
    settings.batch.count_max = 2;
    settings.retry.initial = Duration::from_millis(1);
    let connect = connect
        .settings(settings)
        .per_key(|message| message.as_bytes().first().copied());
    fleet.open(at_once(connect, 4).process(move |batch: Batch| {
        let tell = tell.lock().unwrap().clone();
        async move {
            // The others have their turn in the middle of this call.
            yield_once().await;
            let attempt = batch.attempt();
            // From the first that is not done on, all of the batch is to come again, or its order would be lost.
            let mut is_again = false;
            batch.judge(|message| {
                let text = message.text().unwrap();
                is_again |= attempt == 1 && text.ends_with('5');
                if is_again {
                    return Verdict::retry();
                }
                tell.send(text.to_owned()).unwrap();
                Verdict::Ack
            })
        }
    }));
    let told: Vec<_> = told.iter().take(MESSAGES).collect();
    for key in b'a'..b'h' {
        let of_key = || told.iter().filter(|text| text.as_bytes()[0] == key);
        assert!(of_key().is_sorted(), "{:?}", of_key().collect::<Vec<_>>());
    }
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    assert_eq!(report.connections[0].report.counters.delivered, 400);
}

pub(crate) async fn a_panic_among_calls_loses_its_batch_only<R: Runtime>() {
    let server = sends(&["one", "panic", "three"]);
    let mut fleet = Fleet::<R>::new();
    let mut letters = fleet.letters();
    let meeting = Meeting::of(3);
    let connect = one_by_one(Connect::to(&server.url()).unwrap()).unordered();
    fleet.open(at_once(connect, 3).process(move |batch: Batch| {
        let meeting = meeting.clone();
        async move {
            meeting.join().await;
            assert_ne!(only_text(&batch), "panic", "a test's panic");
            batch.ack()
        }
    }));
    let letter = letters.next().await.unwrap().letter;
    assert_eq!(&letter.payload[..], b"panic");
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.rejected), (2, 1));
}

pub(crate) async fn a_call_that_hangs_delays_its_keys_only<R: Runtime>() {
    let server = sends(&["hang", "b1", "b2", "c1", "b3"]);
    let fleet = Fleet::<R>::new();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let connect = one_by_one(Connect::to(&server.url()).unwrap());
    // So many lanes that no two of these keys share one.
    let connect = connect.per_key(|message| message.as_bytes().first().copied());
    let handle = fleet.open(at_once(connect, 256).process(move |batch: Batch| {
        let tell = tell.lock().unwrap().clone();
        async move {
            let text = only_text(&batch);
            if text == "hang" {
                pending::<()>().await;
            }
            tell.send(text).unwrap();
            batch.ack()
        }
    }));
    let mut told: Vec<_> = told.iter().take(4).collect();
    told.retain(|text| text != "c1");
    assert_eq!(told, ["b1", "b2", "b3"]);
    // What hangs is given up at the deadline.
    let report = handle.close(Duration::from_millis(10)).await.unwrap();
    assert_eq!((report.counters.delivered, report.counters.dropped), (4, 1));
}

pub(crate) async fn a_shutdown_waits_for_all_calls_of_a_processor<R: Runtime>() {
    let server = sends(&["one", "two", "three", "four", "five"]);
    let mut fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let (begun, begins) = channel();
    let begun = Mutex::new(begun);
    // Two calls end only when the end of the connection has begun.
    let meeting = Meeting::of(3);
    let calls = meeting.clone();
    let connect = one_by_one(Connect::to(&server.url()).unwrap()).unordered();
    fleet.open(at_once(connect, 2).process(move |batch: Batch| {
        let meeting = calls.clone();
        let begun = begun.lock().unwrap().clone();
        async move {
            begun.send(()).unwrap();
            if ["one", "two"].contains(&&*only_text(&batch)) {
                meeting.join().await;
            }
            batch.ack()
        }
    }));
    assert_eq!(begins.iter().take(2).count(), 2);
    // All five have come before the end begins.
    while fleet.snapshot().await[0].counters.received < 5 {}
    R::spawn(async move {
        until_state(&mut events, State::Closed).await;
        meeting.join().await;
    });
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.dropped), (5, 0));
}

pub(crate) async fn calls_of_all_connections_are_limited_together<R: Runtime>() {
    let server = sends(&["one", "two", "three"]);
    let mut fleet = Fleet::<R>::builder()
        .processor_calls_max(NonZeroU32::MIN)
        .build()
        .unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let (tell, told) = channel();
    for _ in 0..4 {
        let connect = one_by_one(Connect::to(&server.url()).unwrap()).unordered();
        let running = Arc::clone(&running);
        let tell = Mutex::new(tell.clone());
        fleet.open(at_once(connect, 3).process(move |batch: Batch| {
            let running = Arc::clone(&running);
            let tell = tell.lock().unwrap().clone();
            async move {
                let before = running.fetch_add(1, Ordering::SeqCst);
                yield_once().await;
                running.fetch_sub(1, Ordering::SeqCst);
                tell.send(before).unwrap();
                batch.ack()
            }
        }));
    }
    assert_eq!(told.iter().take(12).max(), Some(0));
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let delivered = report
        .connections
        .iter()
        .map(|it| it.report.counters.delivered);
    assert_eq!(delivered.sum::<u64>(), 12);
}

/// Lets the other calls run.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A connection to this server whose processor tells the texts that it gets.
fn telling<R: Runtime>(fleet: &Fleet<R>, server: &Server) -> (ConnectionHandle, Receiver<String>) {
    let (tell, told) = channel();
    let connect = Connect::to(&server.url()).unwrap();
    let handle = fleet.open(one_by_one(connect).process(move |batch: Batch| {
        let tell = tell.clone();
        async move {
            batch.judge(|message| {
                tell.send(message.text().unwrap().to_owned()).unwrap();
                Verdict::Ack
            })
        }
    }));
    (handle, told)
}

pub(crate) async fn a_processor_that_is_paused_gets_nothing_and_keeps_its_socket<R: Runtime>() {
    let server = Server::start(|_, mut session| {
        while let Ok(message) = session.read() {
            if message.is_text() {
                session.send(message).unwrap();
            }
        }
    });
    let mut fleet = Fleet::<R>::new();
    let (handle, told) = telling(&fleet, &server);
    handle.pause_processing();
    let sender = handle.sender();
    for text in ["a", "b", "c"] {
        sender.send(text).await.unwrap();
    }
    // They are here, all three, and nobody got one.
    while handle.snapshot().await.unwrap().counters.received < 3 {}
    assert!(told.try_recv().is_err());
    assert_eq!(handle.state(), State::Open);
    handle.resume_processing();
    while handle.snapshot().await.unwrap().counters.delivered < 3 {}
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    let counters = handle.snapshot().await.unwrap().counters;
    assert_eq!(counters.sessions, 1);
    fleet.shutdown(Duration::from_secs(20)).await;
}

pub(crate) async fn a_pause_of_processing_ends_with_the_connection<R: Runtime>() {
    let server = sends(&["a", "b"]);
    let mut fleet = Fleet::<R>::new();
    let (handle, told) = telling(&fleet, &server);
    handle.pause_processing();
    while handle.snapshot().await.unwrap().counters.received < 2 {}
    let report = fleet.shutdown(Duration::from_secs(20)).await;
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.delivered, counters.dropped), (2, 0));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["a", "b"]);
}
