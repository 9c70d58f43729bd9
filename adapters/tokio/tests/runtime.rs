//! What only tokio can do: end while it is used, and be of one thread.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_tokio::{Batch, Connect, ConnectionHandle, Fleet, Runtime, SendErrorCause, Tokio};
use tokio::runtime::Builder;
use tokio::task::coop::consume_budget;

#[test]
fn a_runtime_that_ends_first_leaves_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (tell, told) = channel();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut session = tungstenite::accept(stream).unwrap();
        session.send(tungstenite::Message::text("hello")).unwrap();
        tell.send(()).unwrap();
        while session.read().is_ok() {}
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fleet, handle, receipt) = runtime.block_on(async {
        let fleet = Fleet::new();
        let handle = fleet.open(Connect::to(&url).unwrap());
        handle.next_batch().await.unwrap();
        let receipt = handle.sender().send("x").await.unwrap();
        (fleet, handle, receipt)
    });
    told.recv().unwrap();
    drop(runtime);
    server.join().unwrap();
    // On no runtime at all: nothing of this may wait.
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut end = std::pin::pin!(async move {
        receipt.outcome().await;
        assert!(handle.next_batch().await.is_none());
        let refused = handle.sender().send("late").await.unwrap_err();
        assert_eq!(refused.cause, SendErrorCause::Closed);
        drop(fleet);
    });
    assert!(end.as_mut().poll(&mut cx).is_ready());
}

/// A worker that says `block_in_place` lets another thread run the rest, so even one is not the only one.
#[test]
fn only_a_current_thread_runtime_has_one_thread() {
    for (has_one_thread, mut builder) in [
        (true, Builder::new_current_thread()),
        (false, Builder::new_multi_thread()),
    ] {
        let runtime = builder.worker_threads(1).build().unwrap();
        let asked = runtime.spawn(async { Tokio::has_one_thread() });
        assert_eq!(runtime.block_on(asked).unwrap(), has_one_thread);
    }
}

/// A server that greets so many connections, all of them once the last has come, and holds them until they end.
fn greets(connections: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let accept = |_| {
            let (stream, _) = listener.accept().unwrap();
            tungstenite::accept(stream).unwrap()
        };
        let mut sessions: Vec<_> = (0..connections).map(accept).collect();
        for session in &mut sessions {
            session.send(tungstenite::Message::text("hello")).unwrap();
        }
        for session in &mut sessions {
            while session.read().is_ok() {}
        }
    });
    (url, server)
}

#[test]
fn what_is_opened_outside_of_tokio_panics_and_nothing_else_is_lost_by_that() {
    let (url, server) = greets(1);
    let builder = Fleet::builder().shards(NonZeroUsize::MIN);
    let mut fleet = builder.build().unwrap();
    let connect = Connect::to(&url).unwrap();
    let outside = AssertUnwindSafe(|| fleet.open(connect.clone()));
    assert!(catch_unwind(outside).is_err());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let handle = fleet.open(connect.clone());
        assert_eq!(handle.next_batch().await.unwrap().len(), 1);
        // Once its shard runs, a connection is opened from anywhere.
        let elsewhere = std::thread::scope(|it| it.spawn(|| fleet.open(connect)).join());
        drop(elsewhere.unwrap());
        let report = fleet.shutdown(Duration::ZERO).await;
        assert_eq!(report.connections.len(), 2);
    });
    server.join().unwrap();
}

/// What serves the sockets is not limited as other tasks are; what it calls is.
#[test]
fn on_one_thread_a_processor_that_always_has_something_to_do_lets_other_tasks_run() {
    let (url, server) = greets(1);
    let (tell, told) = channel();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fleet = Fleet::new();
        fleet.open(Connect::to(&url).unwrap().process(move |batch: Batch| {
            let tell = tell.clone();
            async move {
                let has_run = Arc::new(AtomicBool::new(false));
                tokio::spawn({
                    let has_run = Arc::clone(&has_run);
                    async move { has_run.store(true, Ordering::Relaxed) }
                });
                for _ in 0..10_000 {
                    consume_budget().await;
                }
                tell.send(has_run.load(Ordering::Relaxed)).unwrap();
                batch.ack()
            }
        }));
        let has_run = loop {
            if let Ok(has_run) = told.try_recv() {
                break has_run;
            }
            tokio::task::yield_now().await;
        };
        assert!(has_run);
    });
    drop(runtime);
    server.join().unwrap();
}

#[test]
fn on_one_thread_a_call_that_pauses_the_others_is_the_last() {
    const CONNECTIONS: usize = 40;
    let (url, server) = greets(CONNECTIONS);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut fleet = Fleet::builder().shards(NonZeroUsize::MIN).build().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Arc<OnceLock<Vec<ConnectionHandle>>> = Arc::default();
        let open = |_| {
            let connect = Connect::to(&url).unwrap();
            fleet.open(connect.process({
                let calls = Arc::clone(&calls);
                let handles = Arc::clone(&handles);
                move |batch: Batch| {
                    if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                        let handles = handles.get().unwrap();
                        handles.iter().for_each(ConnectionHandle::pause_processing);
                    }
                    async { batch.ack() }
                }
            }))
        };
        handles.set((0..CONNECTIONS).map(open).collect()).unwrap();
        for handle in handles.get().unwrap() {
            while handle.snapshot().await.unwrap().counters.received == 0 {}
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        for handle in handles.get().unwrap() {
            handle.resume_processing();
            while handle.snapshot().await.unwrap().counters.delivered == 0 {}
        }
        assert_eq!(calls.load(Ordering::Relaxed), CONNECTIONS);
        fleet.shutdown(Duration::from_secs(60)).await;
    });
    server.join().unwrap();
}
