//! Waiting, but not for ever.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ropewalk_driver::{Runtime, Timer};

/// The future's output if it comes within `limit`.
pub(crate) async fn within<R: Runtime, F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = R::timer();
    let at = Instant::now().checked_add(limit);
    if let Some(at) = at {
        timer.reset(at);
    }
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(at) = at else {
            return Poll::Pending;
        };
        // A timer may be early: the clock decides.
        while timer.poll(cx).is_ready() {
            if at <= Instant::now() {
                return Poll::Ready(None);
            }
            timer.reset(at);
        }
        Poll::Pending
    })
    .await
}

/// Waits this long.
pub(crate) async fn sleep<R: Runtime>(time: Duration) {
    within::<R, _>(time, std::future::pending::<()>()).await;
}
