//! Messages that come in.

use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::Poll;

use ropewalk_driver::{AdmissionLimits, EventKind, Fleet, Reading, Runtime, Settings};
use tungstenite::Message;

use super::server::Server;
use super::{eager, take, texts, until};

pub(crate) async fn a_batch_is_not_lost_with_the_wait_for_it<R: Runtime>() {
    let server = Server::start(|_, mut session| {
        for number in 0..100 {
            session.send(Message::text(number.to_string())).unwrap();
        }
        while session.read().is_ok() {}
    });
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(eager(&server.url()));
    let mut seen = Vec::new();
    while seen.len() < 100 {
        // A wait that is dropped after its first poll, before each that is not.
        let mut wait = Some(Box::pin(handle.next_batch()));
        let polled = poll_fn(|cx| {
            let wait = wait.as_mut().expect("it is polled once");
            Poll::Ready(wait.as_mut().poll(cx))
        })
        .await;
        drop(wait.take());
        let batch = match polled {
            Poll::Ready(batch) => batch,
            Poll::Pending => handle.next_batch().await,
        };
        seen.extend(texts(&batch.unwrap()));
    }
    let wanted: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(seen, wanted);
}

pub(crate) async fn a_full_inbound_queue_stops_reads_and_loses_nothing<R: Runtime>() {
    const MESSAGES: usize = 20_000;
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        for number in 0..MESSAGES {
            let text = format!("{number:01000}");
            session.send(Message::text(text)).unwrap();
        }
        tell.send(()).unwrap();
        while session.read().is_ok() {}
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let mut settings = Settings::default();
    settings.inbound.items_max = 16;
    settings.batch.count_max = 8;
    settings.batch.bytes_max = 8 << 10;
    settings.inbound.bytes_max = 16 << 10;
    let handle = fleet.open(eager(&server.url()).settings(settings));
    until(&mut events, |kind| {
        matches!(kind, EventKind::Reading(Reading::Paused))
    })
    .await;
    assert!(
        told.try_recv().is_err(),
        "20 MB cannot have left the server while nobody reads"
    );
    let seen = take(&handle, MESSAGES).await;
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, text)| text.parse() == Ok(number))
    );
    let counters = handle.snapshot().await.unwrap().counters;
    assert!(counters.are_conserved(), "{counters:?}");
    assert_eq!(counters.delivered, MESSAGES as u64);
    told.recv().unwrap();
}

pub(crate) async fn connections_that_share_few_bytes_take_turns_and_lose_nothing<R: Runtime>() {
    const CONNECTIONS: usize = 12;
    const MESSAGES: usize = 2_000;
    let server = Server::start(|_, mut session| {
        for number in 0..MESSAGES {
            let text = format!("{number:0500}");
            session.send(Message::text(text)).unwrap();
        }
        while session.read().is_ok() {}
    });
    let limits = AdmissionLimits {
        bytes_max: NonZeroU64::new(16 << 10).unwrap(),
        ..AdmissionLimits::default()
    };
    let fleet = Fleet::<R>::builder().admission(limits).build().unwrap();
    let handles: Vec<_> = (0..CONNECTIONS)
        .map(|_| fleet.open(eager(&server.url())))
        .collect();
    let takes = handles.iter().map(|handle| take(handle, MESSAGES));
    let mut takes: Vec<_> = takes.map(|it| (Box::pin(it), None)).collect();
    poll_fn(|cx| {
        for (take, taken) in takes.iter_mut().filter(|(_, taken)| taken.is_none()) {
            if let Poll::Ready(texts) = take.as_mut().poll(cx) {
                *taken = Some(texts);
            }
        }
        match takes.iter().all(|(_, taken)| taken.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    for (_, taken) in &takes {
        let taken = taken.as_ref().unwrap().iter();
        assert!(
            taken
                .enumerate()
                .all(|(number, text)| text.parse() == Ok(number))
        );
    }
    for handle in &handles {
        let counters = handle.snapshot().await.unwrap().counters;
        assert!(counters.are_conserved(), "{counters:?}");
    }
}

pub(crate) async fn a_hook_that_panics_filters_its_message_only<R: Runtime>() {
    let server = Server::start(|_, mut session| {
        for text in ["good", "bad", "good again"] {
            session.send(Message::text(text)).unwrap();
        }
        while session.read().is_ok() {}
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(eager(&server.url()).decode(|message| {
        assert_ne!(message.as_bytes(), b"bad", "a test's panic");
        Ok(())
    }));
    assert_eq!(take(&handle, 2).await, ["good", "good again"]);
    let event = until(&mut events, |kind| {
        matches!(kind, EventKind::Filtered { .. })
    })
    .await;
    let words = format!("{:?}", event.event.kind);
    assert!(words.contains("a test's panic"), "{words}");
}

pub(crate) async fn a_slow_reader_of_events_is_told_what_it_missed<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::builder()
        .events_max(std::num::NonZeroUsize::new(2).unwrap())
        .build()
        .unwrap();
    let mut slow = fleet.events();
    let mut quick = fleet.events();
    let handle = fleet.open(eager(&server.url()).named("echo"));
    let mut seen = 0;
    loop {
        let event = quick.next().await.unwrap();
        seen += 1 + event.missed;
        assert_eq!(&*event.name, "echo");
        if matches!(event.event.kind, EventKind::Ready { .. }) {
            break;
        }
    }
    let first = pin!(slow.next()).await.unwrap();
    assert_eq!(first.missed, seen - 2);
    assert_eq!(slow.next().await.unwrap().missed, 0);
    drop(handle);
}
