//! What only tokio can do: end while it is used, and be of one thread.

use std::net::TcpListener;
use std::sync::mpsc::channel;

use ropewalk_tokio::{Connect, Fleet, Runtime, SendErrorCause, Tokio};
use tokio::runtime::Builder;

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
