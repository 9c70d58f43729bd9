//! Servers that are not understood.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use ropewalk_driver::{
    Connect, EventKind, Fleet, Invalid, InvalidKind, Renegotiation, Runtime, Terms,
};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;

use super::server::{Server, Session, text};
use super::{hasty_settings, take, until};

/// Accepts with the first subprotocol that is offered, and says which.
fn accept(stream: TcpStream) -> Option<(String, Session)> {
    let mut chosen = String::new();
    #[allow(
        clippy::result_large_err,
        reason = "tungstenite's type for a refusal, which is not made here"
    )]
    let choose = |request: &Request, mut response: Response| {
        let offered = &request.headers()["Sec-WebSocket-Protocol"];
        let first = offered.to_str().unwrap().split(',').next().unwrap();
        chosen = first.trim().to_owned();
        let header = first.trim().parse().unwrap();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", header);
        Ok(response)
    };
    let session = tungstenite::accept_hdr(stream, choose).ok()?;
    Some((chosen, session))
}

/// The code of the peer's close frame.
fn close_code(session: &mut Session) -> Option<u16> {
    loop {
        match session.read() {
            Ok(Message::Close(Some(CloseFrame { code, .. }))) => return Some(code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// A server that sends binary messages on every subprotocol but one, on which it echoes.
fn server(codes: Arc<Mutex<Vec<Option<u16>>>>) -> Server {
    Server::raw(move |_, stream| {
        let Some((subprotocol, mut session)) = accept(stream) else {
            return;
        };
        if subprotocol == "v1" {
            let script = text(&mut session).unwrap_or_default();
            session.send(Message::text(script)).unwrap();
            super::server::echo(session);
        } else {
            for _ in 0..3 {
                session.send(Message::binary(vec![0xff])).unwrap();
            }
            codes.lock().unwrap().push(close_code(&mut session));
        }
    })
}

fn connect(server: &Server) -> Connect {
    let mut settings = hasty_settings();
    settings.invalid.invalid_max = 2;
    Connect::to(&server.url())
        .unwrap()
        .settings(settings)
        .ready("subscribe all")
        .decode(|message| match message.text() {
            Ok(_) => Ok(()),
            Err(error) => Err(Invalid::new(InvalidKind::WrongType, error.to_string())),
        })
}

pub(crate) async fn a_server_that_is_not_understood_is_offered_something_else<R: Runtime>() {
    let codes = Arc::new(Mutex::new(Vec::new()));
    let server = server(Arc::clone(&codes));
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let offers = ["v3", "v2", "v1"].into_iter();
    let handle = fleet.open(offers.fold(connect(&server), |connect, name| {
        connect.subprotocol(name).unwrap()
    }));
    for expected in [vec!["v2", "v1"], vec!["v1"]] {
        let is_it = |kind: &EventKind| matches!(kind, EventKind::Renegotiating { .. });
        let event = until(&mut events, is_it).await;
        let EventKind::Renegotiating { subprotocols, .. } = event.event.kind else {
            unreachable!("it was waited for")
        };
        let names: Vec<&str> = subprotocols.iter().map(|name| &**name).collect();
        assert_eq!(names, expected);
    }
    // No socket that is not understood can take it any more.
    handle.sender().send("queued").await.unwrap();
    let seen = take(&handle, 2).await;
    assert_eq!(seen, ["subscribe all", "queued"]);
    assert_eq!(*codes.lock().unwrap(), [Some(1003); 2]);
    let counters = handle.snapshot().await.unwrap().counters;
    assert!(counters.are_conserved(), "{counters:?}");
    assert_eq!((counters.filtered, counters.dials), (6, 3));
}

pub(crate) async fn an_application_chooses_what_is_offered_and_said_next<R: Runtime>() {
    let server = server(Arc::default());
    let fleet = Fleet::<R>::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let connect = connect(&server).subprotocol("v3").unwrap();
    let connect = connect.subprotocol("v2").unwrap();
    let handle = fleet.open(connect.renegotiate(move |disagreement| {
        let failed = disagreement.subprotocol.clone().unwrap();
        seeing.lock().unwrap().push(failed.clone());
        assert_ne!(
            &*failed, "v3",
            "a test's panic, after which the list is walked"
        );
        let terms = Terms::default().subprotocol("v1").unwrap();
        Renegotiation::Terms(Box::new(terms.ready("subscribe some").unwrap()))
    }));
    assert_eq!(take(&handle, 1).await, ["subscribe some"]);
    assert_eq!(*seen.lock().unwrap(), ["v3".into(), "v2".into()]);
}
