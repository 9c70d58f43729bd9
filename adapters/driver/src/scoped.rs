//! Tasks that end with what they belong to.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::runtime::Runtime;

/// Keeps a task running. Dropping it ends the task where it next waits.
#[derive(Debug)]
pub(crate) struct Scoped(Arc<Leash>);

/// Whoever ends the task says so and then looks for a waker; the task leaves its waker and then looks whether it is to end.
#[derive(Debug, Default)]
struct Leash {
    has_ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Scoped {
    /// A hold on a task that is not yet spawned.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The future that is to be spawned: it ends when the hold is dropped.
    pub(crate) fn leashed<F: Future<Output = ()> + Unpin>(&self, future: F) -> Leashed<F> {
        Leashed {
            leash: Arc::clone(&self.0),
            left: None,
            future: Some(future),
        }
    }

    /// Whether the task has ended and is gone.
    pub(crate) fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn spawn<R: Runtime>(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let scoped = Self::new();
        R::spawn(scoped.leashed(Box::pin(future)));
        scoped
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
        let waker = self.0.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A task that ends with its hold.
pub(crate) struct Leashed<F> {
    leash: Arc<Leash>,
    /// The waker that was left last: most tasks have the same for all their life, and leave it once.
    left: Option<Waker>,
    future: Option<F>,
}

impl<F: Future<Output = ()> + Unpin> Future for Leashed<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            leash,
            left,
            future,
        } = &mut *self;
        if !left.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            let before = leash.lock().replace(cx.waker().clone());
            drop(before);
            *left = Some(cx.waker().clone());
        }
        let poll = match future {
            Some(future) if !leash.has_ended.load(Ordering::Acquire) => Pin::new(future).poll(cx),
            Some(_) | None => Poll::Ready(()),
        };
        if poll.is_ready() {
            *future = None;
            *left = None;
            // The hold may last for long, and is not to keep what is left of the task.
            let before = leash.lock().take();
            drop(before);
        }
        poll
    }
}

impl Leash {
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::woken::Woken;

    #[test]
    fn the_waker_that_a_task_left_last_is_woken_when_its_hold_is_dropped() {
        let scoped = Scoped::new();
        let mut task = scoped.leashed(pending());
        let woken: [Arc<Woken>; 2] = Default::default();
        // It moves from the first to the second, and stays there.
        for index in [0, 1, 1] {
            let waker = Waker::from(Arc::clone(&woken[index]));
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
        }
        drop(scoped);
        let counts = woken.each_ref().map(|it| it.times());
        assert_eq!(counts, [0, 1]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_task_ends_and_drops_what_it_held_when_its_hold_is_dropped() {
        let held = Arc::new(());
        let scoped = Scoped::new();
        let mut task = Box::pin(scoped.leashed(Box::pin({
            let held = Arc::clone(&held);
            async move {
                pending::<()>().await;
                drop(held);
            }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(scoped);
        assert!(task.as_mut().poll(&mut cx).is_ready());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
