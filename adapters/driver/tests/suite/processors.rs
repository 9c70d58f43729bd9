//! The application's own asynchronous functions.

use std::future::pending;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use ropewalk_driver::{Batch, Connect, Fleet, Runtime, Settings, Stage, Verdict};
use tungstenite::Message;

use super::server::Server;
use super::{eager, take};

/// One message a batch, so that each has a fate of its own.
fn one_by_one(connect: Connect) -> Connect {
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
