//! Transports of the application's own.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use ropewalk_driver::{EventKind, Fleet, Runtime};

use super::pipe::{Client, pipe};
use super::server::{Server, echo};
use super::{eager, take, until};

/// Connects to an echo server in this process.
fn dial() -> io::Result<Client> {
    let (client, peer) = pipe();
    std::thread::spawn(move || {
        if let Ok(session) = tungstenite::accept(peer) {
            echo(session);
        }
    });
    Ok(client)
}

pub(crate) async fn a_transport_of_ones_own_carries_messages<R: Runtime>() {
    let fleet = Fleet::<R>::new();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    // The host is resolved by nobody.
    let connect = eager("ws://nowhere.invalid/x?secret=1").over(move |endpoint| {
        tell.lock().unwrap().send(endpoint).unwrap();
        async { dial() }
    });
    let handle = fleet.open(connect);
    assert_eq!(&*told.recv().unwrap(), "ws://nowhere.invalid/x?…");
    for number in 0..20 {
        let text = format!("number {number}");
        handle.sender().send(text.clone()).await.unwrap();
        assert_eq!(take(&handle, 1).await, [text]);
    }
    let report = handle.close(std::time::Duration::from_secs(60)).await;
    assert_eq!(report.unwrap().counters.written, 20);
}

pub(crate) async fn a_transport_that_panics_fails_its_own_attempt<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::builder()
        .shards(std::num::NonZeroUsize::MIN)
        .build()
        .unwrap();
    let mut events = fleet.events();
    let attempts = AtomicUsize::new(0);
    let bad = fleet.open(eager("ws://nowhere.invalid/").over(move |_| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_ne!(attempt, 0, "a test's panic");
            dial()
        }
    }));
    let event = until(&mut events, |kind| matches!(kind, EventKind::Closed { .. })).await;
    let words = format!("{:?}", event.event.kind);
    assert!(words.contains("a test's panic"), "{words}");
    let good = fleet.open(eager(&server.url()));
    for handle in [&bad, &good] {
        handle.sender().send("still here").await.unwrap();
        assert_eq!(take(handle, 1).await, ["still here"]);
    }
}
