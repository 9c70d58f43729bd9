//! The run itself, on whichever runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ropewalk_core::{AdmissionLimits, CloseReason, Message, Outcome as Fate};
use ropewalk_driver::{
    Connect, ConnectionHandle, EventKind, Events, Fleet, Receipt, Runtime, Sender,
};
use smol::channel::{self, Receiver};

use super::input::{InputError, Line};
use super::record::{Form, Records};
use crate::Failure;
use crate::deadline::within;
use crate::output::{Ended, Lines};
use crate::runtime::Job;
use crate::stop::{Stop, Why};

/// How long the end may take: closing, and then writing the last outcomes.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Messages whose outcome is not written yet. Where nobody reads the outcomes, no more lines are read.
const UNTOLD_MAX: usize = 4096;

/// Everything that a run needs.
pub(super) struct Send {
    pub(super) connect: Connect,
    pub(super) admission: AdmissionLimits,
    pub(super) lines: Receiver<Result<Line, InputError>>,
    pub(super) output: Lines,
    pub(super) form: Form,
    pub(super) stop: Stop,
}

/// How a run ended.
pub(super) struct Outcome {
    /// `None` if the input ended and every message has its outcome.
    pub(super) why: Option<Why>,
    pub(super) input_error: Option<InputError>,
    /// Messages that were neither written nor acknowledged.
    pub(super) unsent: u64,
    /// Why the connection ended.
    pub(super) reason: Option<CloseReason>,
    /// `None` if the output did not take everything in time.
    pub(super) output: Option<Ended>,
}

/// A line, and how to learn what becomes of it; `None` if it was not accepted.
type Untold = (u64, Option<Receipt>);

impl Job for Send {
    type Output = Result<Outcome, Failure>;

    async fn run<R: Runtime>(self) -> Self::Output {
        let builder = Fleet::<R>::builder().admission(self.admission);
        let mut fleet = builder.build().map_err(Failure::runtime)?;
        let handle = fleet.open(self.connect);
        let sender = handle.sender();
        R::spawn(pass_over(handle, self.stop.clone()));
        R::spawn(tell_of_trouble(fleet.events()));

        let (untold, to_tell) = channel::bounded(UNTOLD_MAX);
        let unsent = Arc::new(Mutex::new(0));
        let (all_told, told) = channel::bounded::<()>(1);
        let teller = Teller {
            records: Records::new(self.form),
            output: self.output.clone(),
            unsent: Arc::clone(&unsent),
        };
        R::spawn(async move {
            teller.tell_all(to_tell).await;
            drop(all_told);
        });

        let mut input_error = None;
        let mut why = None;
        while self.stop.asked().is_none()
            && let Some(line) = unless(&self.stop, self.lines.recv(), &mut why).await
        {
            match line {
                Ok(Ok(line)) => {
                    let number = line.number;
                    let receipt = unless(&self.stop, send(&sender, line.text), &mut why).await;
                    // Where nobody reads the outcomes, this waits; the end does not wait for it.
                    let tell = untold.send((number, receipt.flatten()));
                    unless(&self.stop, tell, &mut why).await;
                }
                Ok(Err(error)) => {
                    input_error = Some(error);
                    break;
                }
                Err(channel::RecvError) => break,
            }
        }
        drop(untold);
        why = why.or(self.stop.asked());
        if why.is_none() {
            unless(&self.stop, told.recv(), &mut why).await;
        }
        let report = fleet.shutdown(SHUTDOWN_MAX).await;
        let output = within::<R, _>(FLUSH_MAX, async {
            // It is never sent to: the teller's end closes it.
            let _ = told.recv().await;
            self.output.finish().await
        });
        let output = output.await;
        let reason = report
            .connections
            .into_iter()
            .find_map(|named| named.report.reason);
        let unsent = *unsent.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            why,
            input_error,
            unsent,
            reason,
            output,
        })
    }
}

/// Waits for room, then sends; `None` if the connection has ended.
async fn send(sender: &Sender, text: String) -> Option<Receipt> {
    let permit = sender.reserve(text.len()).await.ok()?;
    permit.send(Message::text(text)).ok()
}

/// Takes what arrives, so that replies are seen. When nothing more can arrive, nothing more can be sent.
async fn pass_over(handle: ConnectionHandle, stop: Stop) {
    while handle.next_batch().await.is_some() {}
    stop.ask(Why::NothingLeft);
}

/// Says why nothing is sent, for as long as that is so.
async fn tell_of_trouble(mut events: Events) {
    let mut why = String::new();
    while let Some(named) = events.next().await {
        if let EventKind::Closed { reason, .. } = &named.event.kind {
            why = reason.to_string();
        } else if let EventKind::Retrying { delay, .. } = &named.event.kind {
            let delay = delay.as_secs_f64();
            crate::complain(format_args!("{why}; the next attempt is in {delay:.1}s"));
        }
    }
}

/// The future's output, unless somebody asks for the end first.
async fn unless<F: Future>(stop: &Stop, future: F, why: &mut Option<Why>) -> Option<F::Output> {
    let mut asked = pin!(stop.wait());
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        asked.as_mut().poll(cx).map(|asked| {
            *why = Some(asked);
            None
        })
    })
    .await
}

/// Writes outcomes, in the order of the lines.
struct Teller {
    records: Records,
    output: Lines,
    unsent: Arc<Mutex<u64>>,
}

impl Teller {
    async fn tell_all(mut self, to_tell: Receiver<Untold>) {
        while let Ok((line, receipt)) = to_tell.recv().await {
            let outcome = match receipt {
                Some(receipt) => receipt.outcome().await,
                None => Fate::NotSent,
            };
            match outcome {
                Fate::Written | Fate::Acknowledged(_) => {}
                Fate::Interrupted | Fate::NotSent | Fate::Expired | Fate::Dropped(_) => {
                    *self.unsent.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                }
            }
            let record = self.records.record(line, &outcome);
            // Without a reader the outcomes still decide over the exit status.
            let _ = self.output.write(&record).await;
        }
    }
}
