//! Tasks that end with what they belong to.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::runtime::Runtime;

/// Keeps a task running. Dropping it ends the task where it next waits.
#[derive(Debug)]
pub(crate) struct Scoped(Arc<Mutex<Leash>>);

#[derive(Debug)]
enum Leash {
    Running(Option<Waker>),
    Ended,
}

impl Scoped {
    /// A hold on a task that is not yet spawned.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Leash::Running(None))))
    }

    /// The future that is to be spawned: it ends when the hold is dropped.
    pub(crate) fn leashed(&self, future: impl Future<Output = ()> + Send + 'static) -> Leashed {
        Leashed {
            leash: Arc::clone(&self.0),
            future: Some(Box::pin(future)),
        }
    }

    pub(crate) fn spawn<R: Runtime>(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let scoped = Self::new();
        R::spawn(scoped.leashed(future));
        scoped
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.0), Leash::Ended);
        match before {
            Leash::Running(Some(waker)) => waker.wake(),
            Leash::Running(None) | Leash::Ended => {}
        }
    }
}

/// A task that ends with its hold.
pub(crate) struct Leashed {
    leash: Arc<Mutex<Leash>>,
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Leashed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match &mut *lock(&self.leash) {
            Leash::Running(Some(waker)) => {
                waker.clone_from(cx.waker());
                None
            }
            Leash::Running(none @ None) => {
                *none = Some(cx.waker().clone());
                None
            }
            Leash::Ended => Some(()),
        };
        let poll = match (ended, &mut self.future) {
            (None, Some(future)) => future.as_mut().poll(cx),
            (Some(()), _) | (None, None) => Poll::Ready(()),
        };
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }
}

fn lock(leash: &Mutex<Leash>) -> MutexGuard<'_, Leash> {
    leash
        .lock()
        .expect("nothing that can panic runs under this lock")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_task_ends_and_drops_what_it_held_when_its_hold_is_dropped() {
        let held = Arc::new(());
        let scoped = Scoped::new();
        let mut task = Box::pin(scoped.leashed({
            let held = Arc::clone(&held);
            async move {
                pending::<()>().await;
                drop(held);
            }
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(scoped);
        assert!(task.as_mut().poll(&mut cx).is_ready());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
