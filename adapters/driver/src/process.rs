//! The task that feeds a connection's processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ropewalk_core::settings::{Order, ProcessorSettings};
use ropewalk_core::{Batch, Judged, Verdict};

use crate::application::{Called, Process, call};
use crate::calls::{Calls, Progress};
use crate::link::Link;
use crate::waiters::Key;

/// How often calls may end at once before others get their turn.
const ROUNDS: usize = 16;

/// Hands batch after batch to the processor until the connection has ended, several at once if the core has
/// them. A panic rejects the batch it happened in, and nothing else.
pub(crate) struct Worker {
    link: Arc<Link>,
    process: Process,
    /// How many calls there may ever be at once; the core decides how many there are.
    places: u16,
    key: Key,
    calls: Calls<Judging>,
}

impl Worker {
    pub(crate) fn new(link: Arc<Link>, process: Process, settings: &ProcessorSettings) -> Self {
        Self {
            link,
            process,
            places: match settings.order {
                Order::Strict => 1,
                Order::PerKey | Order::None => settings.workers.max,
            },
            key: None,
            calls: Calls::new(),
        }
    }

    /// Begins a call for each batch that there is.
    fn begin_calls(&mut self, cx: &Context<'_>) -> Poll<()> {
        loop {
            let running = u16::try_from(self.calls.running()).unwrap_or(u16::MAX);
            let places = self.places.saturating_sub(running);
            if places == 0 {
                return Poll::Pending;
            }
            match self.link.poll_batch(&mut self.key, cx, places) {
                Poll::Ready(Some(batch)) => {
                    let kept = batch.clone();
                    let called = call(|| (self.process.0)(batch));
                    self.calls.begin(Judging { kept, called });
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Future for Worker {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let worker = &mut *self;
        for _ in 0..ROUNDS {
            if worker.begin_calls(cx).is_ready() {
                return Poll::Ready(());
            }
            if worker.calls.running() == 0 {
                return Poll::Pending;
            }
            worker.calls.register(cx.waker());
            let Worker { link, calls, .. } = worker;
            match calls.poll(|judged| link.judged(judged)) {
                Progress::Some => {}
                Progress::None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.link.leave(self.key);
    }
}

/// A call of the processor, and the batch that it is about.
struct Judging {
    kept: Batch,
    called: Called<Judged>,
}

impl Future for Judging {
    type Output = Judged;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Judged> {
        let Self { kept, called } = &mut *self;
        let refuse = |reason| kept.clone().refuse_all(&reason);
        Pin::new(called).poll(cx).map(|result| match result {
            Ok(judged) if is_about(&judged, kept) => judged,
            Ok(_) => refuse(Verdict::reject(
                "the processor returned verdicts on another batch",
            )),
            Err(panicked) => refuse(Verdict::reject(format_args!("the processor {panicked}"))),
        })
    }
}

fn is_about(judged: &Judged, batch: &Batch) -> bool {
    let name = |batch: &Batch| {
        (
            batch.connection(),
            batch.letter(),
            batch.attempt(),
            batch.len(),
            batch.get(0).map(ropewalk_core::MessageRef::seq),
        )
    };
    name(judged.batch()) == name(batch)
}
