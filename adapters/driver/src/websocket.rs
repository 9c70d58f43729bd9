//! One plain connection, for a program that wants no more than that.

use std::fmt;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use ropewalk_core::websocket::deflate::Agreement;
use ropewalk_core::{
    Batch, CloseCode, CloseReason, EventKind, Message, MessageRef, NotText, Outcome, Shutdown,
};

use crate::connect::{Checked, Connect, InvalidConnect};
use crate::fleet::{Fleet, FleetError};
use crate::handle::ConnectionHandle;
use crate::link::Link;
use crate::room::{Load, NoRoom, TakeRoom};
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::sender::{Permit, Receipt};
use crate::waiters::Key;

/// Opens one WebSocket and waits until it is ready; nothing is dialled again, now or later.
///
/// It is a [`Fleet`] of one connection, with that connection's settings but for
/// [`Settings::reconnect`](ropewalk_core::Settings::reconnect). A processor is not called: the messages are
/// the stream's.
///
/// Cancel safe: dropping the future gives the attempt up.
///
/// # Errors
/// [`ConnectError`]: it cannot be tried, or it was tried and failed.
pub async fn connect<R: Runtime>(connect: Connect) -> Result<WebSocket, ConnectError> {
    let mut checked = Checked::try_from(connect.once())?;
    checked.process = None;
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .map_err(ConnectError::Fleet)?;
    let mut events = fleet.events();
    let close_timeout = checked.config.settings().timeouts.close;
    let handle = fleet.scope().open::<R>(checked);
    while let Some(event) = events.next().await {
        #[allow(clippy::wildcard_enum_match_arm, reason = "events are open-ended")]
        match event.event.kind {
            EventKind::Ready {
                subprotocol,
                compression,
                ..
            } => {
                return Ok(WebSocket {
                    link: handle.link(),
                    _handle: handle,
                    _scope: fleet.into_scope(),
                    subprotocol,
                    compression,
                    close_timeout,
                    batch: None,
                    reading: Reading::Open,
                    closing: Closing::No,
                    read_key: None,
                    close_key: None,
                    outgoing: None,
                    last: None,
                });
            }
            EventKind::GaveUp { reason, .. } => return Err(ConnectError::Failed(reason)),
            _ => {}
        }
    }
    Err(ConnectError::Failed(CloseReason::Local))
}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection cannot be opened as it was described.
    #[error(transparent)]
    Invalid(#[from] InvalidConnect),
    /// There was nothing to start it with.
    #[error(transparent)]
    Fleet(FleetError),
    /// It was tried, and failed.
    #[error("{0}")]
    Failed(CloseReason),
}

/// Why a WebSocket takes or gives no more messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// It ended, and not by a normal close.
    #[error("{0}")]
    Ended(CloseReason),
    /// It has ended, or is ending, and sends no more.
    #[error("the connection has ended")]
    Closed,
    /// It was lost before the message had left whole.
    #[error("the connection was lost before the message was written")]
    NotWritten,
}

/// One WebSocket: a [`Stream`] of messages and a [`Sink`] for them.
///
/// The stream ends when the server closes the WebSocket normally (without a code, or with 1000 or 1001,
/// RFC 6455 §7.4.1) or when it was closed here; any other end is an error first. A message is flushed when
/// the kernel has accepted it. Dropping the value drops the socket at once, without a closing handshake:
/// see [`close`](Self::close).
pub struct WebSocket {
    link: Arc<Link>,
    subprotocol: Option<Box<str>>,
    compression: Option<Agreement>,
    close_timeout: Duration,
    batch: Option<(Batch, usize)>,
    reading: Reading,
    closing: Closing,
    read_key: Key,
    close_key: Key,
    outgoing: Option<(Message, TakeRoom)>,
    last: Option<Receipt>,
    _handle: ConnectionHandle,
    _scope: Scope,
}

/// Whether the stream's end was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
}

/// Whether a closing handshake was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Begun,
}

impl WebSocket {
    /// Waits for the next message; `None` after the end. Cancel safe.
    ///
    /// # Errors
    /// [`WebSocketError::Ended`], once, if the end was not a normal close.
    pub async fn next(&mut self) -> Option<Result<Message, WebSocketError>> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Sends a message and waits until the kernel has accepted it. Dropping the future leaves open whether
    /// the message was sent.
    ///
    /// # Errors
    /// [`WebSocketError`]: the connection ended before that.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        poll_fn(|cx| self.poll_queued(cx)).await?;
        self.queue(message.into());
        poll_fn(|cx| self.poll_written(cx)).await
    }

    /// Writes what is left, does the closing handshake (RFC 6455 §7.1.2) within the close timeout, and waits
    /// for its end. Messages that arrive meanwhile are dropped.
    ///
    /// # Errors
    /// [`WebSocketError::NotWritten`] if something could not be written; the WebSocket is closed all the same.
    pub async fn close(mut self) -> Result<(), WebSocketError> {
        poll_fn(|cx| self.poll_closed(cx)).await
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// What was agreed about compression (RFC 7692). `None`, and nothing is compressed, unless
    /// [`Settings::deflate`](ropewalk_core::Settings::deflate) asked for it and the server accepted.
    pub fn compression(&self) -> Option<Agreement> {
        self.compression
    }

    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, WebSocketError>>> {
        loop {
            if let Some((batch, next)) = &mut self.batch {
                if let Some(message) = batch.get(*next) {
                    *next += 1;
                    return Poll::Ready(Some(Ok(owned(message))));
                }
                self.batch = None;
            }
            match ready!(self.link.poll_batch(&mut self.read_key, cx)) {
                Some(batch) => self.batch = Some((batch, 0)),
                None => return Poll::Ready(self.end().map(Err)),
            }
        }
    }

    /// The error that ends the stream, the first time it is asked for.
    fn end(&mut self) -> Option<WebSocketError> {
        let before = std::mem::replace(&mut self.reading, Reading::Ended);
        match (before, self.link.report()?.reason?) {
            (Reading::Open, reason) if !is_normal(&reason) => Some(WebSocketError::Ended(reason)),
            (Reading::Open | Reading::Ended, _) => None,
        }
    }

    /// Makes room for a message: the one before it has gone into the queue.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        let Some((_, room)) = &mut self.outgoing else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(Pin::new(room).poll(cx));
        let Some((message, _)) = self.outgoing.take() else {
            return Poll::Ready(Ok(()));
        };
        match result {
            Ok(()) => {
                let permit = Permit::new(&self.link, message.len());
                self.last = Some(permit.send(message).map_err(|_| WebSocketError::Closed)?);
                Poll::Ready(Ok(()))
            }
            Err(NoRoom::Full | NoRoom::Closed) => Poll::Ready(Err(WebSocketError::Closed)),
        }
    }

    fn queue(&mut self, message: Message) {
        let room = self.link.room.wait(Load::one(message.len()));
        self.outgoing = Some((message, room));
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        ready!(self.poll_queued(cx))?;
        // Messages leave in order: when the last one has left, all have.
        let Some(last) = &mut self.last else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(Pin::new(&mut last.0).poll(cx));
        self.last = None;
        Poll::Ready(match outcome {
            Some(Outcome::Written | Outcome::Acknowledged(_)) => Ok(()),
            Some(
                Outcome::Interrupted | Outcome::NotSent | Outcome::Expired | Outcome::Dropped(_),
            )
            | None => Err(WebSocketError::NotWritten),
        })
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        let written = match self.closing {
            Closing::No => ready!(self.poll_written(cx)),
            Closing::Begun => Ok(()),
        };
        if self.closing == Closing::No {
            self.closing = Closing::Begun;
            let deadline = self.link.now() + self.close_timeout;
            self.link.remove(Shutdown::Graceful { deadline });
        }
        written?;
        while ready!(self.link.poll_batch(&mut self.close_key, cx)).is_some() {}
        Poll::Ready(Ok(()))
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, WebSocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}

impl Sink<Message> for WebSocket {
    type Error = WebSocketError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WebSocketError>> {
        self.poll_queued(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), WebSocketError> {
        self.queue(message);
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WebSocketError>> {
        self.poll_written(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WebSocketError>> {
        self.poll_closed(cx)
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.link.leave(self.read_key);
        self.link.leave(self.close_key);
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("subprotocol", &self.subprotocol)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

fn owned(message: MessageRef<'_>) -> Message {
    match message.text() {
        Ok(text) => Message::text(text),
        Err(NotText) => Message::binary(message.as_bytes().to_vec()),
    }
}

fn is_normal(reason: &CloseReason) -> bool {
    #[allow(clippy::wildcard_enum_match_arm, reason = "reasons are open-ended")]
    match reason {
        CloseReason::Local | CloseReason::Peer(None) => true,
        CloseReason::Peer(Some(frame)) => {
            [CloseCode::NORMAL, CloseCode::GOING_AWAY].contains(&frame.code)
        }
        _ => false,
    }
}
