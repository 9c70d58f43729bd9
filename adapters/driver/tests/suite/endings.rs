//! How connections and fleets end.

use std::future::pending;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use ropewalk_driver::{
    Connect, EventKind, Fleet, NamedReport, Outcome, Runtime, SendErrorCause, State,
};
use tungstenite::Message;

use super::server::{Server, dead_url, farewell, text};
use super::{eager, until_state};

pub(crate) async fn a_close_flushes_and_reports<R: Runtime>() {
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        while let Some(text) = text(&mut session) {
            tell.send(text).unwrap();
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()));
    until_state(&mut events, State::Open).await;
    let sender = handle.sender();
    let receipts: Vec<_> = (0..50)
        .map(|number| sender.try_send(number.to_string()).unwrap())
        .collect();
    let report = handle.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(report.state, State::Open);
    assert_eq!(report.counters.written, 50);
    assert!(report.counters.are_conserved());
    for receipt in receipts {
        assert_eq!(receipt.outcome().await, Outcome::Written);
    }
    assert_eq!(told.iter().take(50).last().unwrap(), "49");
    assert_eq!(
        sender.try_send("late").unwrap_err().cause,
        SendErrorCause::Closed
    );
    assert!(handle.next_batch().await.is_none());
    assert_eq!(handle.state(), State::Closed);
    assert_eq!(
        handle.snapshot().await.unwrap().counters,
        handle.ended().await.unwrap().counters
    );
}

pub(crate) async fn a_dropped_handle_closes_its_connection<R: Runtime>() {
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        tell.send(farewell(&mut session)).unwrap();
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()));
    until_state(&mut events, State::Open).await;
    drop(handle);
    until_state(&mut events, State::Closed).await;
    assert!(told.recv().unwrap(), "the server got a close frame");
}

pub(crate) async fn dropping_a_fleet_leaves_nothing_behind<R: Runtime>() {
    const CONNECTIONS: usize = 9;
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        session.send(Message::text("hello")).unwrap();
        // Ends when the socket does.
        let said_goodbye = farewell(&mut session);
        tell.send(said_goodbye).unwrap();
    });
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::new(2).unwrap())
        .build()
        .unwrap();
    let mut events = fleet.events();
    let mut letters = fleet.letters();
    let (begun, begins) = channel();
    let handles: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let connect = eager(&server.url());
            if number % 2 == 0 {
                return fleet.open(connect);
            }
            let begun = Mutex::new(begun.clone());
            fleet.open(connect.process(move |batch| {
                let held = begun.lock().unwrap().clone();
                async move {
                    held.send(()).unwrap();
                    pending::<()>().await;
                    drop(held);
                    batch.ack()
                }
            }))
        })
        .collect();
    for _ in 0..CONNECTIONS {
        until_state(&mut events, State::Open).await;
    }
    for _ in 0..CONNECTIONS / 2 {
        begins.recv().unwrap();
    }
    drop(fleet);
    // Every socket is closed, with no goodbye.
    for _ in 0..CONNECTIONS {
        assert!(!told.recv().unwrap());
    }
    while events.next().await.is_some() {}
    while letters.next().await.is_some() {}
    for handle in &handles {
        while handle.next_batch().await.is_some() {}
        let sender = handle.sender();
        assert_eq!(
            sender.send("x").await.unwrap_err().cause,
            SendErrorCause::Closed
        );
        handle.ended().await;
    }
    // The processors, and what their calls held, go with their tasks.
    drop(begun);
    assert!(begins.recv().is_err());
}

pub(crate) async fn a_shutdown_ends_every_state<R: Runtime>() {
    let echo = Server::echo();
    // Takes the request and never answers.
    let silent = Server::raw(|_, mut stream| {
        drop(stream.read_to_end(&mut Vec::new()));
    });
    // Never answers a close frame, nor anything else.
    let deaf = Server::start(|_, session| {
        let stream = session.get_ref().try_clone().unwrap();
        let mut byte = [0];
        while stream.peek(&mut byte).is_ok_and(|bytes| bytes > 0) {
            std::thread::yield_now();
        }
    });
    let mut fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let slow = |url: &str| Connect::to(url).unwrap();
    let handles = [
        fleet.open(slow(&echo.url()).named("open")),
        fleet.open(slow(&deaf.url()).named("open, deaf")),
        fleet.open(slow(&silent.url()).named("silent")),
        fleet.open(slow(&silent.url()).named("silent")),
        fleet.open(slow(&dead_url()).named("backoff")),
        fleet.open(slow(&echo.url()).named("paused")),
        fleet.open(
            slow(&echo.url())
                .named("readying")
                .expect(|_| ropewalk_driver::Reply::Other),
        ),
    ];
    handles[5].pause();
    let queued = handles[4].sender().send("never sent").await.unwrap();
    let mut missing = vec![
        ("open", State::Open),
        ("open, deaf", State::Open),
        ("silent", State::Upgrading),
        ("silent", State::WaitingForSlot),
        ("backoff", State::Backoff),
        ("paused", State::Paused),
        ("readying", State::Readying),
    ];
    let wanted = missing.clone();
    while !missing.is_empty() {
        let event = events.next().await.unwrap();
        if let EventKind::State { to, .. } = event.event.kind {
            missing.retain(|(name, state)| **name != *event.name || *state != to);
        }
    }
    let report = fleet.shutdown(Duration::from_millis(300)).await;
    for (name, state) in wanted {
        let named = |report: &&NamedReport| *report.name == *name;
        let report = report.connections.iter().find(named).unwrap();
        assert!(report.report.counters.are_conserved(), "{report:?}");
        if name != "backoff" && name != "silent" {
            assert_eq!(report.report.state, state, "{name}");
        }
    }
    assert_eq!(report.connections.len(), 7);
    assert_eq!(queued.outcome().await, Outcome::NotSent);
    for handle in &handles {
        assert!(handle.next_batch().await.is_none());
    }
    while events.next().await.is_some() {}
    // Idempotent, and the fleet takes nothing new.
    assert_eq!(fleet.shutdown(Duration::ZERO).await, report);
    let late = fleet.open(slow(&echo.url()));
    assert_eq!(late.state(), State::Closed);
    assert!(late.next_batch().await.is_none());
    assert!(late.sender().try_send("x").is_err());
}
