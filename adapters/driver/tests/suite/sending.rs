//! Messages that go out.

use std::future::{Future, poll_fn};
use std::sync::mpsc::channel;
use std::task::Poll;

use ropewalk_driver::ropewalk_core::settings::Overflow;
use ropewalk_driver::{Connect, Fleet, Message, Outcome, Runtime, SendErrorCause, Settings};

use super::server::{Server, text};
use super::{eager, take};

pub(crate) async fn echoes_come_back_in_order<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(eager(&server.url()));
    let sender = handle.sender();
    let mut receipts = Vec::new();
    for number in 0..200 {
        receipts.push(sender.send(number.to_string()).await.unwrap());
    }
    let wanted: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(take(&handle, 200).await, wanted);
    for receipt in receipts {
        assert_eq!(receipt.outcome().await, Outcome::Written);
    }
}

pub(crate) async fn messages_with_and_without_receipts_keep_their_order<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    // Less than a shard takes at a time, so that senders wait; and more.
    for items_max in [100, 2_000] {
        settings.outbound.items_max = items_max;
        let handle = fleet.open(eager(&server.url()).settings(settings.clone()));
        let sender = handle.sender();
        let mut receipts = Vec::new();
        for number in 0..1_500_u32 {
            let text = number.to_string();
            match number % if number < 500 { 4 } else { 100 } {
                0 => receipts.push(sender.send(text).await.unwrap()),
                1 => drop(sender.send(text).await.unwrap()),
                _ if number % 7 > 3 => sender.post_text(&text).await.unwrap(),
                _ => sender.post(text).await.unwrap(),
            }
        }
        let wanted: Vec<_> = (0..1_500).map(|number| number.to_string()).collect();
        assert_eq!(take(&handle, 1_500).await, wanted);
        for receipt in receipts {
            assert_eq!(receipt.outcome().await, Outcome::Written);
        }
        let counters = handle.snapshot().await.unwrap().counters;
        assert_eq!((counters.accepted, counters.written), (1_500, 1_500));
    }
}

pub(crate) async fn short_messages_keep_their_kinds_and_wait_for_room<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    settings.outbound.bytes_max = 1_000;
    let handle = fleet.open(eager(&server.url()).settings(settings));
    let sender = handle.sender();
    let mut wanted = Vec::new();
    for number in 0..1_000 {
        let text = format!("{number}");
        if number % 3 == 0 {
            sender.post_binary(text.as_bytes()).await.unwrap();
            wanted.push(Message::binary(text.into_bytes()));
        } else {
            sender.post_text(&text).await.unwrap();
            wanted.push(Message::text(text));
        }
    }
    let mut echoed = Vec::new();
    while echoed.len() < wanted.len() {
        let batch = handle.next_batch().await.unwrap();
        echoed.extend(batch.iter().map(Message::from));
    }
    assert_eq!(echoed, wanted);
}

pub(crate) async fn many_messages_at_once_keep_their_order_and_wait_for_room<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    for (items_max, bytes_max) in [(1, 1 << 20), (10, 1 << 20), (2_000, 1 << 20), (2_000, 900)] {
        settings.outbound.items_max = items_max;
        settings.outbound.bytes_max = bytes_max;
        let handle = fleet.open(eager(&server.url()).settings(settings.clone()));
        let sender = handle.sender();
        let mut wanted = Vec::new();
        for row in 0..3 {
            sender.post_texts::<&str>([]).await.unwrap();
            // Some are too long to be packed.
            let length = |number| if number % 100 == 7 { 3_000 } else { number };
            let text = |number| format!("{row} {number} {}", "x".repeat(length(number)));
            let texts: Vec<_> = (0..400).map(text).collect();
            sender.post_texts(&texts).await.unwrap();
            sender.post("between").await.unwrap();
            let payloads = texts.iter().map(String::as_bytes).take(50);
            sender.post_binaries(payloads.clone()).await.unwrap();
            wanted.extend(texts.iter().map(|text| Message::from(text.as_str())));
            wanted.push("between".into());
            wanted.extend(payloads.map(|it| Message::from(it.to_vec())));
        }
        let mut echoed = Vec::new();
        while echoed.len() < wanted.len() {
            let batch = handle.next_batch().await.unwrap();
            echoed.extend(batch.iter().map(Message::from));
        }
        assert!(echoed == wanted, "{items_max} items, {bytes_max} bytes");
        let counters = handle.snapshot().await.unwrap().counters;
        let count = wanted.len() as u64;
        assert_eq!((counters.accepted, counters.written), (count, count));
    }
}

pub(crate) async fn many_messages_at_once_that_are_refused_tell_how_many_were_queued<R: Runtime>() {
    let server = Server::raw(|_, stream| {
        let mut stream = stream;
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    settings.outbound.items_max = 10;
    let connect = Connect::to(&server.url()).unwrap();
    let waiting = fleet.open(connect.clone().settings(settings.clone()));
    settings.outbound.when_full = Overflow::Reject;
    let rejecting = fleet.open(connect.settings(settings));

    let texts = (0..25).map(|number| number.to_string());
    let refused = rejecting.sender().post_texts(texts.clone()).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.posted, refused.cause), (10, SendErrorCause::Full));

    let sender = waiting.sender();
    let mut wait = Box::pin(sender.post_texts(texts));
    let polled = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(fleet);
    let refused = wait.await.unwrap_err();
    assert_eq!(
        (refused.posted, refused.cause),
        (10, SendErrorCause::Closed)
    );
    let closed = sender.post_texts(["late"]).await.unwrap_err();
    assert_eq!((closed.posted, closed.cause), (0, SendErrorCause::Closed));
    let shown = closed.to_string();
    assert_eq!(
        shown,
        "the connection has ended, after 0 messages were queued"
    );
}

pub(crate) async fn a_message_without_a_receipt_comes_back_where_it_cannot_be_queued<R: Runtime>() {
    let server = Server::raw(|_, stream| {
        let mut stream = stream;
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    settings.outbound.items_max = 2;
    let handle = fleet.open(Connect::to(&server.url()).unwrap().settings(settings));
    let sender = handle.sender();
    sender.try_post("1").unwrap();
    let permit = sender.reserve(1).await.unwrap();
    let refused = sender.try_post("3").unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Full);
    assert_eq!(refused.message, Message::text("3"));

    let mut wait = Box::pin(sender.post("3"));
    let polled = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(fleet);
    let refused = wait.await.unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Closed);
    assert_eq!(refused.message, Message::text("3"));
    assert_eq!(handle.next_batch().await.map(|batch| batch.len()), None);
    let refused = permit.send("2").unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Closed);
    assert_eq!(refused.message, Message::text("2"));
}

pub(crate) async fn a_large_message_passes_in_many_parts<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(eager(&server.url()));
    let payload: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let receipt = handle
        .sender()
        .send(Message::binary(payload.clone()))
        .await
        .unwrap();
    let batch = handle.next_batch().await.unwrap();
    assert!(batch.get(0).unwrap().as_bytes() == payload);
    assert_eq!(receipt.outcome().await, Outcome::Written);
}

pub(crate) async fn queued_messages_follow_the_ready_script<R: Runtime>() {
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        while let Some(text) = text(&mut session) {
            tell.send(text).unwrap();
        }
    });
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(
        eager(&server.url())
            .resume(7, |_| None)
            .ready("log in")
            .ready("from ${next}"),
    );
    let sender = handle.sender();
    for number in 0..3 {
        sender.try_send(number.to_string()).unwrap();
    }
    let seen: Vec<_> = told.iter().take(5).collect();
    assert_eq!(seen, ["log in", "from 7", "0", "1", "2"]);
}

pub(crate) async fn senders_wait_for_room_and_end_with_the_fleet<R: Runtime>() {
    // Accepts and never answers, so that nothing leaves the queue.
    let server = Server::raw(|_, stream| {
        let mut stream = stream;
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    settings.outbound.items_max = 2;
    let handle = fleet.open(Connect::to(&server.url()).unwrap().settings(settings));
    let sender = handle.sender();
    let first = sender.try_send("1").unwrap();
    sender.send("2").await.unwrap();
    let refused = sender.try_send("3").unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Full);
    assert_eq!(refused.message, Message::text("3"));

    let mut wait = Box::pin(sender.send("3"));
    let polled = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(fleet);
    let refused = wait.await.unwrap_err();
    assert_eq!(refused.cause, SendErrorCause::Closed);
    assert_eq!(refused.message, Message::text("3"));
    assert_eq!(first.outcome().await, Outcome::NotSent);
    assert_eq!(handle.next_batch().await.map(|batch| batch.len()), None);
}

pub(crate) async fn a_reservation_that_is_dropped_lets_the_next_in<R: Runtime>() {
    let server = Server::raw(|_, stream| {
        let mut stream = stream;
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let fleet = Fleet::<R>::new();
    let mut settings = Settings::default();
    settings.outbound.items_max = 1;
    let handle = fleet.open(Connect::to(&server.url()).unwrap().settings(settings));
    let sender = handle.sender();
    let permit = sender.reserve(10).await.unwrap();
    assert_eq!(
        sender.try_send("x").unwrap_err().cause,
        SendErrorCause::Full
    );
    let mut wait = Box::pin(sender.reserve(1));
    assert!(
        poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx)))
            .await
            .is_pending()
    );
    drop(wait);
    let too_long = permit.send("more than was reserved").unwrap_err();
    assert_eq!(too_long.cause, SendErrorCause::Full);
    // The refused permit has given its room back.
    sender.try_send("x").unwrap();
}
