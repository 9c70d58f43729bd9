//! The task that feeds a connection's processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ropewalk_core::settings::{Order, ProcessorSettings};
use ropewalk_core::{Batch, Judged, Verdict};

use crate::application::{Called, Process, call};
use crate::calls::{Calls, Progress};
use crate::link::Link;
use crate::scoped::Leashed;
use crate::waiters::Key;

/// How often calls may end at once before others get their turn.
const ROUNDS: usize = 16;

/// Hands batch after batch to the processor until the connection has ended, several at once if the core has
/// them. A panic rejects the batch it happened in, and nothing else.
pub(crate) struct Worker {
    source: Source,
    running: Running,
}

/// There is one for each connection with a processor. Beside this, tokio keeps 104 bytes of a task, and all in multiples of 128.
const _: () = assert!(size_of::<Leashed<Worker>>() <= 96);

/// Where batches come from, and whose they are.
struct Source {
    link: Arc<Link>,
    process: Process,
    key: Key,
}

/// The calls that go on.
enum Running {
    /// There is never more than one. It is polled with the task's own waker.
    One(Option<Judging>),
    /// There may be so many; the core decides how many there are.
    Several(u16, Box<Calls<Judging>>),
}

impl Worker {
    pub(crate) fn new(link: Arc<Link>, process: Process, settings: &ProcessorSettings) -> Self {
        let key = None;
        Self {
            source: Source { link, process, key },
            running: match settings.order {
                Order::Strict => Running::One(None),
                Order::PerKey | Order::None => {
                    Running::Several(settings.workers.max, Box::new(Calls::new()))
                }
            },
        }
    }
}

impl Future for Worker {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { source, running } = &mut *self;
        match running {
            Running::One(call) => source.poll_one(cx, call),
            Running::Several(places, calls) => source.poll_several(cx, *places, calls),
        }
    }
}

impl Source {
    /// One call after the other.
    fn poll_one(&mut self, cx: &mut Context<'_>, call: &mut Option<Judging>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let judging = match call {
                Some(judging) => judging,
                None => match ready!(self.link.poll_batch(&mut self.key, cx, 1)) {
                    Some(batch) => call.insert(self.begin(batch)),
                    None => return Poll::Ready(()),
                },
            };
            let judged = ready!(Pin::new(judging).poll(cx));
            *call = None;
            match ready!(self.link.poll_judged(judged, &mut self.key, cx)) {
                Some(batch) => *call = Some(self.begin(batch)),
                None => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A call for each batch that there is.
    fn poll_several(
        &mut self,
        cx: &mut Context<'_>,
        places: u16,
        calls: &mut Calls<Judging>,
    ) -> Poll<()> {
        for _ in 0..ROUNDS {
            if self.begin_calls(cx, places, calls).is_ready() {
                return Poll::Ready(());
            }
            calls.register(cx.waker());
            match calls.poll(|judged| self.link.judged(judged)) {
                Progress::Some => {}
                Progress::None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn begin_calls(
        &mut self,
        cx: &Context<'_>,
        places: u16,
        calls: &mut Calls<Judging>,
    ) -> Poll<()> {
        loop {
            let running = u16::try_from(calls.running()).unwrap_or(u16::MAX);
            let places = places.saturating_sub(running);
            if places == 0 {
                return Poll::Pending;
            }
            match ready!(self.link.poll_batch(&mut self.key, cx, places)) {
                Some(batch) => calls.begin(self.begin(batch)),
                None => return Poll::Ready(()),
            }
        }
    }

    fn begin(&self, batch: Batch) -> Judging {
        let kept = batch.clone();
        let called = call(|| (self.process.0)(batch));
        Judging { kept, called }
    }
}

impl Drop for Source {
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
        let refuse = |verdict| kept.clone().refuse_all(&verdict);
        Pin::new(called).poll(cx).map(|result| match result {
            Ok(judged) if judged.batch().is_clone_of(kept) => judged,
            Ok(_) => refuse(Verdict::reject(
                "the processor returned verdicts on another batch",
            )),
            Err(panicked) => refuse(Verdict::reject(format_args!("the processor {panicked}"))),
        })
    }
}
