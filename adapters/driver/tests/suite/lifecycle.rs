//! Sockets come and go.

use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use ropewalk_driver::{AttemptRequest, CloseReason, EventKind, Fleet, Runtime, State};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

use super::server::{Server, echo};
use super::{eager, take, until, until_state};

pub(crate) async fn a_connection_survives_resets<R: Runtime>() {
    const SESSIONS: usize = 6;
    let server = Server::start(|number, mut session| {
        session.send(Message::text(number.to_string())).unwrap();
        if number < SESSIONS {
            // What was sent arrives, and then the stream ends without a close frame.
            session.get_ref().shutdown(Shutdown::Write).unwrap();
        }
        while session.read().is_ok() {}
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()));
    assert_eq!(
        take(&handle, SESSIONS).await,
        ["1", "2", "3", "4", "5", "6"]
    );
    for _ in 1..SESSIONS {
        until(&mut events, |kind| {
            matches!(
                kind,
                EventKind::Closed {
                    reason: CloseReason::Transport(_),
                    ..
                }
            )
        })
        .await;
        until(&mut events, |kind| {
            matches!(kind, EventKind::Retrying { .. })
        })
        .await;
    }
    until_state(&mut events, State::Open).await;
    assert_eq!(handle.state(), State::Open);
}

pub(crate) async fn a_name_is_resolved<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(eager(&format!("ws://localhost:{}/", server.port())));
    handle.sender().send("by name").await.unwrap();
    assert_eq!(take(&handle, 1).await, ["by name"]);
}

pub(crate) async fn a_pause_lasts_until_it_is_ended<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()));
    until_state(&mut events, State::Open).await;
    handle.pause();
    until_state(&mut events, State::Paused).await;
    let receipt = handle.sender().send("queued").await.unwrap();
    assert_eq!(handle.snapshot().await.unwrap().state, State::Paused);
    handle.resume();
    assert_eq!(take(&handle, 1).await, ["queued"]);
    receipt.outcome().await;
    assert_eq!(handle.snapshot().await.unwrap().counters.sessions, 2);
}

#[allow(
    clippy::result_large_err,
    reason = "the callback's type is tungstenite's"
)]
pub(crate) async fn a_provider_shapes_each_attempt<R: Runtime>() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::raw(move |_, stream| {
        let see = |request: &Request, response: Response| {
            let token = request.headers().get("token").cloned();
            tell.lock().unwrap().send(token).unwrap();
            Ok(response)
        };
        if let Ok(session) = tungstenite::accept_hdr(stream, see) {
            echo(session);
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()).request(|failures| async move {
        match failures {
            0 => Err("no token yet".to_owned()),
            1 => panic!("a test's panic"),
            _ => AttemptRequest::default()
                .header("token", &format!("{failures}"))
                .map_err(|error| error.to_string()),
        }
    }));
    for words in ["no token yet", "a test's panic"] {
        let event = until(&mut events, |kind| matches!(kind, EventKind::Closed { .. })).await;
        let told = format!("{:?}", event.event.kind);
        assert!(told.contains("Provider") && told.contains(words), "{told}");
    }
    assert_eq!(told.recv().unwrap().unwrap(), "2");
    drop(handle);
}

pub(crate) async fn connections_spread_over_shards_and_all_work<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::new(3).unwrap())
        .seed_for_tests(1)
        .build()
        .unwrap();
    let handles: Vec<_> = (0..20)
        .map(|number| fleet.open(eager(&server.url()).named(number.to_string())))
        .collect();
    for handle in &handles {
        handle.sender().send(&**handle.name()).await.unwrap();
    }
    for handle in &handles {
        assert_eq!(take(handle, 1).await, [&**handle.name()]);
    }
    let snapshots = fleet.snapshot().await;
    assert_eq!(snapshots.len(), 20);
    assert!(
        snapshots
            .iter()
            .all(|snapshot| snapshot.state == State::Open && snapshot.counters.are_conserved())
    );
}
