//! One value, handed from one task to another.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The two ends of a hand-over.
pub(crate) fn oneshot<T>() -> (Promise<T>, Awaited<T>) {
    let shared = Arc::new(Mutex::new(State::Open(None)));
    (Promise(Some(Arc::clone(&shared))), Awaited(shared))
}

/// The end that gives the value. Dropping it says that there will be none.
#[derive(Debug)]
pub(crate) struct Promise<T>(Option<Arc<Mutex<State<T>>>>);

/// The end that gets the value, or `None` if there will be none. Cancel safe: the value stays.
#[derive(Debug)]
pub(crate) struct Awaited<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
enum State<T> {
    /// Whoever waits.
    Open(Option<Waker>),
    /// The value, until it is taken.
    Over(Option<T>),
}

impl<T> Promise<T> {
    /// Whether the other end is still there. Once it is gone, nobody will ask.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|it| Arc::strong_count(it) > 1)
    }

    pub(crate) fn keep(mut self, value: T) {
        if let Some(shared) = self.0.take() {
            finish(&shared, Some(value));
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            finish(&shared, None);
        }
    }
}

impl<T> Future for Awaited<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *lock(&self.0) {
            State::Over(value) => Poll::Ready(value.take()),
            State::Open(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn finish<T>(shared: &Mutex<State<T>>, value: Option<T>) {
    let before = std::mem::replace(&mut *lock(shared), State::Over(value));
    if let State::Open(Some(waker)) = before {
        waker.wake();
    }
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared
        .lock()
        .expect("nothing that can panic runs under this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_or_is_known_not_to_be() {
        let mut cx = Context::from_waker(Waker::noop());
        let (promise, mut awaited) = oneshot();
        assert!(Pin::new(&mut awaited).poll(&mut cx).is_pending());
        promise.keep(7);
        assert_eq!(Pin::new(&mut awaited).poll(&mut cx), Poll::Ready(Some(7)));

        let (promise, mut awaited) = oneshot::<u8>();
        assert!(promise.is_awaited());
        drop(promise);
        assert_eq!(Pin::new(&mut awaited).poll(&mut cx), Poll::Ready(None));

        let (promise, awaited) = oneshot::<u8>();
        drop(awaited);
        assert!(!promise.is_awaited());
    }
}
