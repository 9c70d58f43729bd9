//! Calls of a connection's processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ropewalk_core::{Batch, ConnectionId, Judged, Verdict};

use crate::application::{First, Guarded, Panicked, Process};
use crate::jobs::{Done, Job, Jobs};

/// How long calls of a processor take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// They end where they began.
    AtOnce,
    /// They wait for something.
    Waiting,
}

/// A call of the processor that waits for something, and the batch that it is about. A panic rejects that batch, and nothing else.
pub(crate) struct Judging {
    kept: Batch,
    called: Guarded<Judged>,
}

/// What a call has come to where it began.
pub(crate) enum Begun {
    Judged(Judged),
    Waits(Judging),
}

impl Judging {
    /// Calls the processor, and polls the call once.
    pub(crate) fn begin(process: &Process, batch: Batch, cx: &mut Context<'_>) -> Begun {
        let kept = batch.clone();
        match process.call(batch, cx) {
            First::Over(result) => Begun::Judged(verdicts(&kept, result)),
            First::Waits(called) => Begun::Waits(Self { kept, called }),
        }
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.kept.connection()
    }
}

impl Future for Judging {
    type Output = Judged;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Judged> {
        let Self { kept, called } = &mut *self;
        let result = Pin::new(called).poll(cx);
        result.map(|result| verdicts(kept, result))
    }
}

/// The verdicts on a batch that a call about it has come to.
fn verdicts(batch: &Batch, result: Result<Judged, Panicked>) -> Judged {
    let refuse = |verdict| batch.clone().refuse_all(&verdict);
    match result {
        Ok(judged) if judged.batch().is_clone_of(batch) => judged,
        Ok(_) => refuse(Verdict::reject(
            "the processor returned verdicts on another batch",
        )),
        Err(panicked) => refuse(Verdict::reject(format_args!("the processor {panicked}"))),
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
        let done = match std::mem::replace(stage, Stage::Over) {
            Stage::Fresh(job) if !jobs.is_latest(job.known) => Done::Held(job.batch),
            Stage::Fresh(job) => match Judging::begin(&job.process, job.batch, cx) {
                Begun::Judged(judged) => Done::Returned(judged, Pace::AtOnce),
                Begun::Waits(judging) => {
                    *stage = Stage::Begun(judging);
                    return Poll::Pending;
                }
            },
            Stage::Begun(mut judging) => match Pin::new(&mut judging).poll(cx) {
                // `judging` goes before this is told: the batch's memory is used again once nobody else has it.
                Poll::Ready(judged) => Done::Returned(judged, Pace::Waiting),
                Poll::Pending => {
                    *stage = Stage::Begun(judging);
                    return Poll::Pending;
                }
            },
            Stage::Over => return Poll::Ready(()),
        };
        jobs.tell(done);
        Poll::Ready(())
    }
}
