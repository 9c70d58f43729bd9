//! The application's own asynchronous functions, as a connection keeps them.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ropewalk_core::{AttemptRequest, Batch, Judged};

use crate::runtime::Socket;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An asynchronous function that many tasks may call.
type Function<A, T> = Arc<dyn Fn(A) -> BoxFuture<T> + Send + Sync>;

/// A processor: an asynchronous function from a batch to verdicts. What it returns is polled where its type is known, since most
/// calls end with their first poll.
#[derive(Clone)]
pub(crate) struct Process(Arc<Processor>);

type Processor = dyn Fn(Batch, &mut Context<'_>) -> First<Judged> + Send + Sync;

impl Process {
    pub(crate) fn new<F>(processor: impl Fn(Batch) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Judged> + Send + 'static,
    {
        let processor = Kept::new(processor);
        Self(Arc::new(move |batch, cx| {
            begin(|| processor.function()(batch), cx)
        }))
    }

    /// A processor that waits for nothing.
    pub(crate) fn new_sync(processor: impl Fn(Batch) -> Judged + Send + Sync + 'static) -> Self {
        let processor = Kept::new(processor);
        Self(Arc::new(move |batch, _| {
            First::Over(guard(|| processor.function()(batch)))
        }))
    }

    /// Calls the processor, and polls the call once.
    pub(crate) fn call(&self, batch: Batch, cx: &mut Context<'_>) -> First<Judged> {
        (self.0)(batch, cx)
    }
}

/// What the first poll of a call has come to.
pub(crate) enum First<T> {
    Over(Result<T, Panicked>),
    Waits(Guarded<T>),
}

/// What the application put into a function, which goes with whoever has it last: a panic then harms nobody.
pub(crate) struct Kept<F>(Option<F>);

impl<F> Kept<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }

    pub(crate) fn function(&self) -> &F {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<F> Drop for Kept<F> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// A request provider.
#[derive(Clone)]
pub(crate) struct Provide(pub(crate) Function<u32, Result<AttemptRequest, Box<str>>>);

/// A transport of the application's own, connected anew for each attempt.
#[derive(Clone)]
pub(crate) struct Transport(pub(crate) Function<Box<str>, io::Result<Box<dyn Socket>>>);

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process(..)")
    }
}

impl fmt::Debug for Provide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provide(..)")
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport(..)")
    }
}

/// The application's code panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub(crate) struct Panicked(Box<str>);

/// Runs the application's code. A panic is an error, and what the code left behind is not used again. What it panicked with is the
/// application's too, and may panic when it is dropped: then it is not.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let panicked = Panicked(words(&*payload));
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        panicked
    })
}

/// Drops what is the application's.
fn discard<T>(it: T) {
    // The panic hook has told of it; nobody waits for more.
    drop(guard(|| drop(it)));
}

/// Calls a function of the application's, and polls once what it returns.
fn begin<F>(function: impl FnOnce() -> F, cx: &mut Context<'_>) -> First<F::Output>
where
    F: Future + Send + 'static,
{
    let mut future = None;
    let polled = guard(|| future.insert(Box::pin(function())).as_mut().poll(cx));
    let result = match polled {
        Ok(Poll::Pending) => return First::Waits(Guarded(future.map(|it| it as BoxFuture<_>))),
        Ok(Poll::Ready(value)) => Ok(value),
        Err(panicked) => Err(panicked),
    };
    discard(future);
    First::Over(result)
}

/// Calls an asynchronous function of the application, with panics as errors.
pub(crate) fn call<T>(function: impl FnOnce() -> BoxFuture<T>) -> Called<T> {
    match guard(function) {
        Ok(future) => Called::Runs(Guarded(Some(future))),
        Err(panicked) => Called::Panicked(Some(panicked)),
    }
}

/// What became of a call.
pub(crate) enum Called<T> {
    Runs(Guarded<T>),
    /// Before there was a future.
    Panicked(Option<Panicked>),
}

impl<T> Future for Called<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Runs(guarded) => Pin::new(guarded).poll(cx),
            Self::Panicked(panicked) => panicked
                .take()
                .map_or(Poll::Pending, |panicked| Poll::Ready(Err(panicked))),
        }
    }
}

/// A future that neither panics nor is dropped outside of a guard.
pub(crate) struct Guarded<T>(Option<BoxFuture<T>>);

impl<T> Guarded<T> {
    /// What it returned counts, whatever its remains do.
    fn forget(&mut self) {
        if let Some(future) = self.0.take() {
            discard(future);
        }
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let result = match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panicked) => Err(panicked),
        };
        self.forget();
        Poll::Ready(result)
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.forget();
    }
}

fn words(payload: &(dyn Any + Send)) -> Box<str> {
    if let Some(words) = payload.downcast_ref::<&str>() {
        (*words).into()
    } else if let Some(words) = payload.downcast_ref::<String>() {
        words.as_str().into()
    } else {
        "without words".into()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A future that waits so many times and then returns, or panics; and that panics when it goes.
    struct Rough {
        waits: u32,
        value: Option<u32>,
    }

    impl Future for Rough {
        type Output = u32;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
            match self.waits.checked_sub(1) {
                Some(waits) => {
                    self.waits = waits;
                    Poll::Pending
                }
                None => Poll::Ready(self.value.expect("a test's panic")),
            }
        }
    }

    impl Drop for Rough {
        fn drop(&mut self) {
            panic!("another of a test's panics");
        }
    }

    fn result_of(waits: u32, value: Option<u32>) -> Result<u32, Panicked> {
        let mut cx = Context::from_waker(Waker::noop());
        match begin(|| Rough { waits, value }, &mut cx) {
            First::Over(result) => {
                assert_eq!(waits, 0);
                result
            }
            First::Waits(mut guarded) => loop {
                if let Poll::Ready(result) = Pin::new(&mut guarded).poll(&mut cx) {
                    break result;
                }
            },
        }
    }

    #[test]
    fn what_a_call_returned_counts_whatever_its_remains_do() {
        for waits in 0..3 {
            assert_eq!(result_of(waits, Some(7)), Ok(7));
        }
    }

    #[test]
    fn a_call_that_panics_twice_is_an_error_that_tells_of_the_first() {
        for waits in 0..3 {
            let panicked = result_of(waits, None).unwrap_err();
            assert_eq!(panicked.to_string(), "panicked: a test's panic");
        }
    }

    #[test]
    fn a_call_that_panics_before_there_is_a_future_is_an_error() {
        let function = || -> std::future::Ready<u32> { panic!("a test's panic") };
        let first = begin(function, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(first, First::Over(Err(_))));
    }
}
