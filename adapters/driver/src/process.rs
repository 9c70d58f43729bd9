//! Calls of a connection's processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ropewalk_core::{Batch, ConnectionId, Judged, Verdict};

use crate::application::{Panicked, Process, guard};
use crate::jobs::{Done, Job, Jobs};
use crate::seat::{BoxSeat, is_kept};

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
    stage: Judgement,
}

/// How far a call has come. What is the application's is neither polled nor dropped outside of a guard.
enum Judgement {
    Runs(BoxSeat),
    /// Before there was a future.
    Panicked(Panicked),
    /// Its place, emptied; `None` if that panicked, or it is not worth keeping, or it was taken.
    Over(Option<BoxSeat>),
}

impl Judging {
    /// Calls the processor; what it returned is polled later. `left` is a place that a call before has left.
    pub(crate) fn begin(process: &Process, batch: Batch, left: Option<BoxSeat>) -> Self {
        let kept = batch.clone();
        let stage = match guard(|| process.call(batch, left)) {
            Ok(seat) => Judgement::Runs(seat),
            Err(panicked) => Judgement::Panicked(panicked),
        };
        Self { kept, stage }
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.kept.connection()
    }

    /// The place of a call that is over.
    pub(crate) fn take_seat(&mut self) -> Option<BoxSeat> {
        match &mut self.stage {
            Judgement::Over(seat) => seat.take(),
            Judgement::Runs(_) | Judgement::Panicked(_) => None,
        }
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<Judged, Panicked>> {
        match std::mem::replace(&mut self.stage, Judgement::Over(None)) {
            Judgement::Runs(mut seat) => match guard(|| seat.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {
                    self.stage = Judgement::Runs(seat);
                    Poll::Pending
                }
                Ok(Poll::Ready(judged)) => {
                    // What it returned counts, whatever its remains do: the panic hook tells of that.
                    let is_clear = guard(|| seat.as_mut().clear()).is_ok();
                    let left = (is_clear && is_kept(&seat)).then_some(seat);
                    self.stage = Judgement::Over(left);
                    Poll::Ready(Ok(judged))
                }
                Err(panicked) => {
                    drop(guard(|| drop(seat)));
                    Poll::Ready(Err(panicked))
                }
            },
            Judgement::Panicked(panicked) => Poll::Ready(Err(panicked)),
            Judgement::Over(_) => Poll::Pending,
        }
    }
}

impl Future for Judging {
    type Output = Judged;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Judged> {
        let result = ready!(self.poll_result(cx));
        let refuse = |verdict| self.kept.clone().refuse_all(&verdict);
        Poll::Ready(match result {
            Ok(judged) if judged.batch().is_clone_of(&self.kept) => judged,
            Ok(_) => refuse(Verdict::reject(
                "the processor returned verdicts on another batch",
            )),
            Err(panicked) => refuse(Verdict::reject(format_args!("the processor {panicked}"))),
        })
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        if let Judgement::Runs(seat) = std::mem::replace(&mut self.stage, Judgement::Over(None)) {
            drop(guard(|| drop(seat)));
        }
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
            Stage::Fresh(job) => (Judging::begin(&job.process, job.batch, None), Pace::AtOnce),
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
