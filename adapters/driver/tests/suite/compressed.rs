//! Compressed messages (RFC 7692).

use std::fmt::Write;
use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{self, channel};
use std::time::Duration;

use ropewalk_driver::ropewalk_core::websocket::deflate::{Context, WindowBits};
use ropewalk_driver::{
    CloseReason, Connect, Deflate, EventKind, Events, Fleet, GaveUpCause, Message, ProtocolError,
    Runtime, Settings, UpgradeError, connect,
};

use super::deflating::{BINARY, CONTINUATION, FIN, PING, PONG, RSV1, Session, TEXT, upgrade};
use super::peer::Receiver;
use super::server::Server;
use super::{hasty_settings, take, until};

const ACCEPTED: &str = "permessage-deflate";

/// A connection that offers compression and is dialled again without delay.
fn compressing(server: &Server, deflate: Deflate) -> Connect {
    let connect = Connect::to(&server.url()).unwrap();
    connect.settings(hasty_settings()).deflate(deflate)
}

/// Runs `script` for each session after this answer about extensions, and passes on what it tells.
fn server<T: Send + 'static>(
    extensions: &'static str,
    script: impl Fn(usize, &mut Session, &mut dyn FnMut(T)) + Send + Sync + 'static,
) -> (Server, mpsc::Receiver<T>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::raw(move |number, stream| {
        let Some(mut session) = Session::accept(stream, extensions) else {
            return;
        };
        let tell = tell.lock().unwrap().clone();
        script(number, &mut session, &mut |it| drop(tell.send(it)));
        session.farewell();
    });
    (server, told)
}

/// Sends every data message back, compressed, and tells how the client had sent it: its first byte and length.
fn echo(session: &mut Session, tell: &mut dyn FnMut((u8, usize))) {
    while let Some(frame) = session.frame() {
        if matches!(frame.0 & 0x0f, TEXT | BINARY) {
            let message = session.message(&frame);
            tell((frame.0, frame.1.len()));
            session.send_text(&message);
        }
    }
}

/// Lines of text that no two messages share and that compress well.
fn lines(number: usize, len: usize) -> String {
    let mut text = String::new();
    for line in 0.. {
        if text.len() >= len {
            break;
        }
        writeln!(
            text,
            "price of {number}.{line}: {}",
            (number + 7) * line % 9_973
        )
        .unwrap();
    }
    text.truncate(len);
    text
}

async fn closed_reason(events: &mut Events) -> CloseReason {
    let event = until(events, |kind| matches!(kind, EventKind::Closed { .. })).await;
    let EventKind::Closed { reason, .. } = event.event.kind else {
        unreachable!("it was looked for")
    };
    reason
}

pub(crate) async fn compressed_messages_pass_both_ways<R: Runtime>() {
    let (server, told) = server(ACCEPTED, |_, session, tell| echo(session, tell));
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(compressing(&server, Deflate::default()));
    let event = until(&mut events, |kind| matches!(kind, EventKind::Ready { .. })).await;
    let EventKind::Ready {
        compression: Some(agreed),
        ..
    } = event.event.kind
    else {
        panic!("{event:?}")
    };
    assert_eq!(agreed.to_string(), ACCEPTED);
    // Around the default threshold, within a write, and across many.
    let mut messages: Vec<_> = [0, 1, 63, 64, 1_000, 1_000, 70_000, 300_000]
        .map(|len| lines(1, len))
        .into();
    messages.extend((2..200).map(|number| lines(number, number * 20)));
    let sender = handle.sender();
    let sending = async {
        for message in &messages {
            sender.send(message.as_str()).await.unwrap();
        }
    };
    // All of them fit into the queue.
    sending.await;
    assert!(
        take(&handle, messages.len()).await == messages,
        "something came back changed"
    );
    let sent: Vec<_> = told.try_iter().collect();
    let wanted = messages.iter().map(|message| match message.len() {
        0..64 => FIN | TEXT,
        _ => FIN | RSV1 | TEXT,
    });
    assert!(sent.iter().map(|(first, _)| *first).eq(wanted));
    // The same again refers to the first.
    assert!(sent[5].1 * 10 < sent[4].1, "{:?}", &sent[..8]);
    let wire: usize = sent.iter().map(|(_, len)| len).sum();
    let all: usize = messages.iter().map(String::len).sum();
    assert!(wire * 2 < all, "{wire} of {all}");
}

pub(crate) async fn a_compressed_message_may_come_in_fragments<R: Runtime>() {
    let message = lines(3, 3_000);
    let expected = message.clone();
    let (server, told) = server(ACCEPTED, move |_, session, tell| {
        let payload = session.compressed(&message);
        let pieces: Vec<_> = payload.chunks(100).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 {
                RSV1 | TEXT
            } else {
                CONTINUATION
            };
            session.send(opcode, piece);
            session.send(FIN | PING, &[u8::try_from(index).unwrap()]);
        }
        session.send(FIN | CONTINUATION, &[]);
        // It refers to the one in fragments.
        session.send_text(&message);
        for _ in &pieces {
            let (first, payload) = session.frame().unwrap();
            assert_eq!(first, FIN | PONG);
            tell(payload[0]);
        }
    });
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(compressing(&server, Deflate::default()));
    assert_eq!(take(&handle, 2).await, [expected.clone(), expected]);
    handle.close(Duration::from_secs(60)).await;
    drop(server);
    let pongs: Vec<u8> = told.iter().collect();
    assert!(pongs.len() > 3, "{pongs:?}");
    assert!(
        pongs
            .iter()
            .copied()
            .eq(0..u8::try_from(pongs.len()).unwrap())
    );
}

pub(crate) async fn corrupt_data_end_the_session_and_the_next_starts_afresh<R: Runtime>() {
    let common = lines(4, 2_000);
    let (server, told) = server(ACCEPTED, |number, session, tell| {
        // What the client sends must not refer to the session before: nothing is known of it here.
        let Some(frame) = session.frame() else {
            return;
        };
        let message = session.message(&frame);
        session.send_text(&format!("{number}: {message}"));
        if number == 1 {
            // A block of the reserved type.
            session.send(FIN | RSV1 | TEXT, &[6]);
            session.send_text("nobody reads this");
            tell(session.farewell());
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(compressing(&server, Deflate::default()));
    handle.sender().send(common.as_str()).await.unwrap();
    assert_eq!(take(&handle, 1).await, [format!("1: {common}")]);
    let reason = CloseReason::Protocol(ProtocolError::InvalidDeflate);
    assert_eq!(closed_reason(&mut events).await, reason);
    assert_eq!(told.recv().unwrap(), Some(1007));
    handle.sender().send(common.as_str()).await.unwrap();
    assert_eq!(take(&handle, 1).await, [format!("2: {common}")]);
}

pub(crate) async fn a_message_may_become_as_long_as_the_limit<R: Runtime>() {
    const MAX: usize = 10_000;
    let (server, told) = server(ACCEPTED, |number, session, tell| {
        session.send_text(&"x".repeat(MAX));
        if number == 1 {
            session.send_text(&"x".repeat(MAX + 1));
            tell(session.farewell());
        }
        if number == 2 {
            // 100 MB, in 100 KB.
            let mebibyte = session.compressed(vec![0; 1 << 20]);
            let payload = [&mebibyte[..], &[0, 0, 0xff, 0xff]].concat().repeat(100);
            session.send(FIN | RSV1 | BINARY, &payload);
            tell(session.farewell());
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let mut settings = hasty_settings();
    settings.limits.message_bytes_max = MAX;
    let connect = Connect::to(&server.url()).unwrap().settings(settings);
    let handle = fleet.open(connect.deflate(Deflate::default()));
    let lengths: Vec<_> = take(&handle, 3).await.iter().map(String::len).collect();
    assert_eq!(lengths, [MAX; 3]);
    for _ in 0..2 {
        assert_eq!(told.recv().unwrap(), Some(1009));
        let reason = closed_reason(&mut events).await;
        let is_size = matches!(
            reason,
            CloseReason::Protocol(ProtocolError::MessageTooBig { max: MAX, .. })
        );
        assert!(is_size, "{reason:?}");
    }
}

pub(crate) async fn parameters_that_were_not_offered_fail_the_handshake<R: Runtime>() {
    const ANSWERS: [&str; 3] = [
        "permessage-deflate; client_max_window_bits=12",
        "permessage-deflate; no_window",
        "permessage-deflate, permessage-deflate",
    ];
    let server = Server::raw(|number, stream| {
        if let Some(mut session) = Session::accept(stream, ANSWERS[number - 1]) {
            session.send(FIN | TEXT, b"nobody reads this");
            assert_eq!(session.frame(), None);
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(compressing(
        &server,
        Deflate {
            client_max_window_bits: 11,
            ..Deflate::default()
        },
    ));
    for expected in ["client_max_window_bits", "no_window", "RepeatedExtension"] {
        let reason = closed_reason(&mut events).await;
        assert!(matches!(reason, CloseReason::Upgrade(_)), "{reason:?}");
        assert!(format!("{reason:?}").contains(expected), "{reason:?}");
    }
    let event = until(&mut events, |kind| matches!(kind, EventKind::GaveUp { .. })).await;
    let strikes = GaveUpCause::Strikes;
    assert!(
        matches!(event.event.kind, EventKind::GaveUp { cause, .. } if cause == strikes),
        "{event:?}"
    );
    assert!(handle.next_batch().await.is_none());
}

pub(crate) async fn compression_that_was_not_offered_is_refused<R: Runtime>() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::raw(move |_, mut stream| {
        if let Some(offered) = upgrade(&mut stream, ACCEPTED) {
            let is_silent = !matches!(stream.read(&mut [0]), Ok(1..));
            tell.lock().unwrap().send((offered, is_silent)).unwrap();
        }
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let connect = Connect::to(&server.url())
        .unwrap()
        .settings(hasty_settings());
    let _handle = fleet.open(connect);
    let reason = closed_reason(&mut events).await;
    let is_unoffered = matches!(
        reason,
        CloseReason::Upgrade(UpgradeError::UnofferedExtension(_))
    );
    assert!(is_unoffered, "{reason:?}");
    assert_eq!(told.recv().unwrap(), (None, true));
}

pub(crate) async fn what_the_server_asks_of_the_compressor_is_done<R: Runtime>() {
    const ASKED: &str = "permessage-deflate; client_no_context_takeover; client_max_window_bits=9";
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::raw(move |_, stream| {
        let Some(mut session) = Session::accept(stream, ASKED) else {
            return;
        };
        while let Some((_, payload)) = session.frame().filter(|(first, _)| first & 0x0f == TEXT) {
            let mut receiver = Receiver::forgetful();
            let message = String::from_utf8(receiver.decompress(&payload)).unwrap();
            session.send_text(&message);
            let seen = (payload.len(), receiver.farthest);
            tell.lock().unwrap().send(seen).unwrap();
        }
    });
    let mut socket = connect::<R>(compressing(&server, Deflate::default()))
        .await
        .unwrap();
    // What is repeated lies farther back than the window reaches.
    let message = lines(5, 1_500).repeat(4);
    for _ in 0..3 {
        socket.send(message.as_str()).await.unwrap();
        let echoed = socket.next().await;
        assert_eq!(echoed, Some(Ok(Message::text(message.as_str()))));
    }
    let seen: Vec<(usize, usize)> = told.iter().take(3).collect();
    // None is shorter for those before it, and all are shorter than they were.
    assert!(seen.iter().all(|it| *it == seen[0]), "{seen:?}");
    assert!(seen[0].0 < message.len() && seen[0].1 <= 512, "{seen:?}");
}

pub(crate) async fn a_plain_connection_tells_what_was_agreed<R: Runtime>() {
    let (server, _) = server(
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
        |_, session, tell| echo(session, tell),
    );
    let settings = Settings {
        deflate: Some(Deflate::default()),
        ..Settings::default()
    };
    let described = Connect::to(&server.url())
        .unwrap()
        .settings(settings.clone());
    let mut socket = connect::<R>(described).await.unwrap();
    let agreed = socket.compression().unwrap();
    assert_eq!(agreed.server_context, Context::PerMessage);
    assert_eq!(agreed.client_context, Context::TakenOver);
    assert_eq!(agreed.server_window, WindowBits::MAX);
    assert_eq!(agreed.client_window.get(), 10);
    let message = lines(6, 5_000);
    socket.send(message.as_str()).await.unwrap();
    assert_eq!(socket.next().await, Some(Ok(Message::text(message))));
    // One that knows no compression.
    let plain = Server::echo();
    let described = Connect::to(&plain.url()).unwrap().settings(settings);
    let mut socket = connect::<R>(described).await.unwrap();
    assert_eq!(socket.compression(), None);
    let message = lines(6, 5_000);
    socket.send(message.as_str()).await.unwrap();
    assert_eq!(socket.next().await, Some(Ok(Message::text(message))));
}
