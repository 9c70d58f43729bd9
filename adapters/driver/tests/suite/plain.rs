//! One plain connection.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use futures_sink::Sink;
use ropewalk_driver::{
    CloseReason, Connect, ConnectError, Message, Runtime, WebSocket, WebSocketError, connect,
};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::server::{Server, dead_url};

async fn open<R: Runtime>(url: &str) -> Result<WebSocket, ConnectError> {
    connect::<R>(Connect::to(url)?).await
}

pub(crate) async fn a_plain_connection_is_a_stream_and_a_sink<R: Runtime>() {
    let server = Server::echo();
    let mut socket = open::<R>(&server.url()).await.unwrap();
    for text in ["one", "two"] {
        poll_fn(|cx| Pin::new(&mut socket).poll_ready(cx))
            .await
            .unwrap();
        Pin::new(&mut socket)
            .start_send(Message::text(text))
            .unwrap();
    }
    poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx))
        .await
        .unwrap();
    for text in ["one", "two"] {
        let message = poll_fn(|cx| Pin::new(&mut socket).poll_next(cx)).await;
        assert_eq!(message, Some(Ok(Message::text(text))));
    }
    socket.send(vec![1, 2, 3]).await.unwrap();
    assert_eq!(
        socket.next().await,
        Some(Ok(Message::binary(vec![1, 2, 3])))
    );
    poll_fn(|cx| Pin::new(&mut socket).poll_close(cx))
        .await
        .unwrap();
    assert_eq!(socket.next().await, None);
    assert_eq!(socket.send("late").await, Err(WebSocketError::Closed));
    socket.close().await.unwrap();
}

pub(crate) async fn a_plain_connection_tells_an_abnormal_end<R: Runtime>() {
    let server = Server::start(|number, mut session| {
        session
            .send(tungstenite::Message::text("last words"))
            .unwrap();
        let code = match number {
            1 => CloseCode::Error,
            _ => CloseCode::Normal,
        };
        let frame = CloseFrame {
            code,
            reason: "bye".into(),
        };
        session.close(Some(frame)).unwrap();
        while session.read().is_ok() {}
    });
    let mut socket = open::<R>(&server.url()).await.unwrap();
    assert_eq!(socket.next().await, Some(Ok(Message::text("last words"))));
    match socket.next().await {
        Some(Err(WebSocketError::Ended(CloseReason::Peer(Some(frame))))) => {
            assert_eq!((frame.code.as_u16(), &*frame.reason), (1011, "bye"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(socket.next().await, None);

    let mut socket = open::<R>(&server.url()).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(_))));
    assert_eq!(socket.next().await, None);
}

pub(crate) async fn a_plain_connection_that_fails_says_why<R: Runtime>() {
    let error = open::<R>(&dead_url()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Failed(CloseReason::Transport(_))),
        "{error:?}"
    );
    let error = open::<R>("http://localhost/").await.unwrap_err();
    assert!(matches!(error, ConnectError::Invalid(_)), "{error:?}");
}
