//! Calls of a connection's processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ropewalk_core::{Batch, ConnectionId, Judged, Verdict};

use crate::application::{Called, Process, call};
use crate::jobs::{Done, Job, Jobs};

/// How long calls of a processor take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// They end where they began.
    AtOnce,
    /// They wait for something.
    Waiting,
}

/// A call of the processor, and the batch that it is about. A panic rejects that batch, and nothing else.
pub(crate) struct Judging {
    kept: Batch,
    called: Called<Judged>,
}

impl Judging {
    /// Calls the processor; what it returned is polled later.
    pub(crate) fn begin(process: &Process, batch: Batch) -> Self {
        let kept = batch.clone();
        let called = call(|| process.call(batch));
        Self { kept, called }
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.kept.connection()
    }
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

impl std::fmt::Debug for Judging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judging")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// The task of one call that waits for something, or is expected to. It tells its shard the verdicts.
pub(crate) struct Call {
    jobs: Arc<Jobs>,
    stage: Stage,
}

enum Stage {
    Fresh(Job),
    Begun(Judging),
    Over,
}

impl Call {
    /// A call that is still to begin.
    pub(crate) fn fresh(jobs: Arc<Jobs>, job: Job) -> Self {
        let stage = Stage::Fresh(job);
        Self { jobs, stage }
    }

    /// A call that was polled, and waits.
    pub(crate) fn begun(jobs: Arc<Jobs>, judging: Judging) -> Self {
        let stage = Stage::Begun(judging);
        Self { jobs, stage }
    }
}

impl Future for Call {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { jobs, stage } = &mut *self;
        let (mut judging, pace) = match std::mem::replace(stage, Stage::Over) {
            Stage::Fresh(job) if !jobs.is_latest(job.known) => {
                jobs.tell(Done::Held(job.batch));
                return Poll::Ready(());
            }
            Stage::Fresh(job) => (Judging::begin(&job.process, job.batch), Pace::AtOnce),
            Stage::Begun(judging) => (judging, Pace::Waiting),
            Stage::Over => return Poll::Ready(()),
        };
        match Pin::new(&mut judging).poll(cx) {
            Poll::Ready(judged) => {
                // The batch's memory is used again once nobody else has it.
                drop(judging);
                jobs.tell(Done::Returned(judged, pace));
                Poll::Ready(())
            }
            Poll::Pending => {
                *stage = Stage::Begun(judging);
                Poll::Pending
            }
        }
    }
}
