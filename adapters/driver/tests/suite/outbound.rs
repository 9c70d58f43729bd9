//! What becomes of messages that cannot all be sent, and of those that are answered.

use std::io;
use std::time::Duration;

use ropewalk_driver::ropewalk_core::settings::{DropPolicy, Overflow};
use ropewalk_driver::{
    Bytes, Connect, ConnectionHandle, Fleet, Message, Offline, Outcome, Runtime, SendErrorCause,
    Settings,
};

use super::eager;
use super::server::{Server, text};

/// Accepts and never answers, so that nothing leaves the queue.
fn silent() -> Server {
    Server::raw(|_, mut stream| drop(io::copy(&mut stream, &mut io::sink())))
}

fn open<R: Runtime>(fleet: &Fleet<R>, server: &Server, when_full: Overflow) -> ConnectionHandle {
    let mut settings = Settings::default();
    settings.outbound.items_max = 2;
    settings.outbound.when_full = when_full;
    fleet.open(Connect::to(&server.url()).unwrap().settings(settings))
}

pub(crate) async fn a_full_queue_that_rejects_gives_the_message_back_at_once<R: Runtime>() {
    let server = silent();
    let fleet = Fleet::<R>::new();
    let handle = open(&fleet, &server, Overflow::Reject);
    let sender = handle.sender();
    sender.send("1").await.unwrap();
    sender.send("2").await.unwrap();
    let refused = sender.send("3").await.unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Full);
    assert_eq!(refused.message, Message::text("3"));
}

pub(crate) async fn a_full_queue_that_drops_tells_whose_message_it_dropped<R: Runtime>() {
    let server = silent();
    let fleet = Fleet::<R>::new();
    let handle = open(&fleet, &server, Overflow::DropOldest);
    let sender = handle.sender();
    let mut receipts = Vec::new();
    for number in 0..10 {
        receipts.push(sender.send(number.to_string()).await.unwrap());
    }
    receipts.truncate(8);
    for receipt in receipts {
        let dropped = Outcome::Dropped(DropPolicy::Oldest);
        assert_eq!(receipt.outcome().await, dropped);
    }
}

pub(crate) async fn messages_that_must_not_wait_are_not_kept<R: Runtime>() {
    let server = silent();
    let fleet = Fleet::<R>::new();
    let handle = open(&fleet, &server, Overflow::Wait);
    let sender = handle.sender();
    let brief = Message::text("brief").ttl(Duration::from_millis(1));
    let brief = sender.send(brief).await.unwrap();
    let online = Message::text("now").offline(Offline::Refuse);
    let online = sender.send(online).await.unwrap();
    assert_eq!(online.outcome().await, Outcome::NotSent);
    assert_eq!(brief.outcome().await, Outcome::Expired);
}

pub(crate) async fn a_request_is_acknowledged_by_its_reply_even_on_the_next_socket<R: Runtime>() {
    let server = Server::start(|number, mut session| {
        while let Some(text) = text(&mut session) {
            // The first socket takes the request and is gone.
            if number == 1 {
                return;
            }
            session.send(text.into()).unwrap();
        }
    });
    let identifier = |payload: &[u8]| {
        let end = payload.iter().position(|byte| *byte == b':')?;
        Some(Bytes::copy_from_slice(&payload[..end]))
    };
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(eager(&server.url()).acknowledge(
        move |message| identifier(message.as_bytes()),
        move |message| identifier(message.as_bytes()),
    ));
    let request = Message::text("17:what?").idempotent();
    let receipt = handle.sender().send(request).await.unwrap();
    let reply = Box::new(Message::text("17:what?"));
    assert_eq!(receipt.outcome().await, Outcome::Acknowledged(reply));
}
