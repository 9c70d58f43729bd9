//! What only tokio can do: end while it is used, and be of one thread.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use ropewalk_tokio::{Batch, Connect, Fleet, Runtime, SendErrorCause, Tokio};
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

/// What serves the sockets is not limited as other tasks are; what it calls is.
#[test]
fn on_one_thread_a_processor_that_always_has_something_to_do_lets_other_tasks_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut session = tungstenite::accept(stream).unwrap();
        session.send(tungstenite::Message::text("hello")).unwrap();
        while session.read().is_ok() {}
    });
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
