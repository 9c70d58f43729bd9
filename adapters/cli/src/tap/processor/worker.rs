//! One child process: messages go in, verdicts come out.

use std::future::poll_fn;
use std::io;
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ropewalk_core::Batch;
use ropewalk_core::settings::format_duration;
use ropewalk_driver::Runtime;
use smol::io::{AsyncRead, AsyncWrite};
// It has a thread of its own for its descriptors, and works on any runtime.
use smol::process::{Child, ChildStdin, ChildStdout, Command};

use super::answer::{Answer, LINE_MAX, Nonsense};
use super::group::{Group, Groups};
use super::verdicts::Verdicts;
use crate::config::ProcessorPlan;
use crate::deadline::within;
use crate::records::MessageRecords;

/// A child. Dropping it kills it, with all that it started.
pub(super) struct Worker {
    process: Child,
    group: Group,
    /// `None` once it is to end.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// The beginning of a line.
    heard: Vec<u8>,
    /// When it was last given something.
    used_at: Instant,
}

/// Why a child is not asked any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the processor cannot be started: {0}")]
    Start(io::Error),
    #[error("the processor ended ({0})")]
    Exited(ExitStatus),
    #[error("the processor closed its output")]
    Closed,
    #[error("the processor had no verdict for {}", format_duration(*.0))]
    Silent(Duration),
    #[error("the processor answered nonsense: {0}")]
    Nonsense(#[from] Nonsense),
    #[error("the processor cannot be talked to: {0}")]
    Broken(io::Error),
}

/// Which messages to give to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// All that have no verdict.
    All,
    /// This one.
    One(usize),
}

/// How much is written at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A child that has closed its output is given this long to end by itself.
const PARTING: Duration = Duration::from_millis(200);

/// What was killed is gone within this, or the system is stuck.
const KILLED: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn start(plan: &ProcessorPlan, groups: &Groups) -> Result<Self, Failure> {
        let mut command = std::process::Command::new(&plan.program);
        // A group of its own: an interrupt from the terminal is for the command, which lets its children finish.
        command.args(&plan.arguments).process_group(0);
        let mut process = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::Start)?;
        Ok(Self {
            group: groups.led_by(process.id()),
            input: process.stdin.take(),
            output: process.stdout.take().expect("it was asked for"),
            process,
            heard: Vec::new(),
            used_at: Instant::now(),
        })
    }

    /// Gives it messages, and waits until it has answered for each of them.
    ///
    /// # Errors
    /// It can be asked no more. What it has answered is noted.
    pub(super) async fn ask<R: Runtime>(
        &mut self,
        batch: &Batch,
        portion: Portion,
        records: &mut MessageRecords,
        patience: Duration,
        verdicts: &mut Verdicts,
    ) -> Result<(), Failure> {
        let awaited = match portion {
            Portion::All => verdicts.missing(),
            Portion::One(_) => 1,
        };
        let mut exchange = Exchange {
            batch,
            portion,
            next: 0,
            left_to_write: awaited,
            records,
            done_at: verdicts.missing() - awaited,
            verdicts,
            chunk: Vec::new(),
            written: 0,
        };
        loop {
            let step = within::<R, _>(patience, poll_fn(|cx| exchange.poll(self, cx))).await;
            match step {
                Some(Ok(Step::Progress)) => {}
                Some(Ok(Step::Done)) => break,
                Some(Err(failure)) => return Err(failure),
                None => return Err(Failure::Silent(patience)),
            }
        }
        self.used_at = Instant::now();
        Ok(())
    }

    /// Whether it still waits for its next message.
    ///
    /// # Errors
    /// It has ended, or has said something in the meantime.
    pub(super) async fn is_waiting(&mut self) -> Result<(), Failure> {
        if !self.heard.is_empty() {
            return Err(Nonsense::Unprompted.into());
        }
        let mut byte = [0];
        poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut self.output).poll_read(cx, &mut byte) {
                Poll::Pending => Ok(()),
                Poll::Ready(Ok(0)) => Err(Failure::Closed),
                Poll::Ready(Ok(_)) => Err(Nonsense::Unprompted.into()),
                Poll::Ready(Err(error)) => Err(Failure::Broken(error)),
            })
        })
        .await
    }

    /// For how long it has had nothing to do.
    pub(super) fn idle_time(&self) -> Duration {
        self.used_at.elapsed()
    }

    /// Tells it that nothing more comes.
    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) {
        // A child whose state cannot be told is killed like one that does not end.
        let _ = self.process.status().await;
    }

    /// Kills it, and says what was the matter in other words if it had ended by itself.
    pub(super) async fn put_down<R: Runtime>(mut self, failure: Failure) -> Failure {
        self.close_input();
        let failure = match failure {
            Failure::Closed => match within::<R, _>(PARTING, self.process.status()).await {
                Some(Ok(status)) => Failure::Exited(status),
                Some(Err(_)) | None => Failure::Closed,
            },
            Failure::Start(_)
            | Failure::Exited(_)
            | Failure::Silent(_)
            | Failure::Nonsense(_)
            | Failure::Broken(_) => failure,
        };
        self.group.kill();
        // Its successor starts afterwards, so that there are never more than there may be.
        within::<R, _>(KILLED, self.ended()).await;
        failure
    }
}

/// Messages on their way to a child, and verdicts on their way back, both at once: pipes hold little, and neither side may
/// wait for the other to read.
struct Exchange<'a> {
    batch: &'a Batch,
    portion: Portion,
    /// Messages before this one are written or need not be.
    next: usize,
    left_to_write: usize,
    records: &'a mut MessageRecords,
    verdicts: &'a mut Verdicts,
    chunk: Vec<u8>,
    /// How much of the chunk is written.
    written: usize,
    /// So many verdicts are missing when this is done.
    done_at: usize,
}

enum Step {
    /// There were verdicts, and there are more to come.
    Progress,
    Done,
}

impl Exchange<'_> {
    fn poll(&mut self, worker: &mut Worker, cx: &mut Context<'_>) -> Poll<Result<Step, Failure>> {
        let missing = self.verdicts.missing();
        let written = self.poll_write(worker, cx);
        let ended = self.poll_read(worker, cx)?;
        let is_answered = self.verdicts.missing() == self.done_at;
        match (written, ended) {
            (Poll::Ready(()), _) if is_answered => Poll::Ready(Ok(Step::Done)),
            (Poll::Pending, _) if is_answered && worker.input.is_none() => {
                Poll::Ready(Err(Failure::Closed))
            }
            (_, Poll::Ready(())) => Poll::Ready(Err(Failure::Closed)),
            (_, Poll::Pending) if self.verdicts.missing() < missing => {
                Poll::Ready(Ok(Step::Progress))
            }
            (_, Poll::Pending) => Poll::Pending,
        }
    }

    /// Ready when everything is written.
    fn poll_write(&mut self, worker: &mut Worker, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.written == self.chunk.len() {
                if self.left_to_write == 0 {
                    return Poll::Ready(());
                }
                self.fill();
            }
            let Some(input) = &mut worker.input else {
                return Poll::Pending;
            };
            match Pin::new(input).poll_write(cx, &self.chunk[self.written..]) {
                Poll::Ready(Ok(length)) => self.written += length,
                // It takes nothing more, but may have answered before; what it reads to the end says more.
                Poll::Ready(Err(_)) => worker.input = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn fill(&mut self) {
        self.chunk.clear();
        self.written = 0;
        while self.left_to_write > 0 && self.chunk.len() < CHUNK {
            let index = match self.portion {
                Portion::One(index) => index,
                Portion::All => self
                    .verdicts
                    .next_missing(self.next)
                    .expect("nobody answers what was not asked"),
            };
            let message = self.batch.get(index).expect("it is one of the batch");
            self.records
                .write(self.batch.generation(), message, &mut self.chunk);
            self.verdicts.ask(index);
            self.next = index + 1;
            self.left_to_write -= 1;
        }
    }

    /// Ready when there is nothing more to read.
    fn poll_read(
        &mut self,
        worker: &mut Worker,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let mut bytes = [0; 16 << 10];
        while self.verdicts.missing() > self.done_at {
            match Pin::new(&mut worker.output).poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(0)) => return Ok(Poll::Ready(())),
                Poll::Ready(Ok(length)) => {
                    worker.heard.extend_from_slice(&bytes[..length]);
                    self.take_lines(&mut worker.heard)?;
                }
                Poll::Ready(Err(error)) => return Err(Failure::Broken(error)),
                Poll::Pending => break,
            }
        }
        Ok(Poll::Pending)
    }

    fn take_lines(&mut self, heard: &mut Vec<u8>) -> Result<(), Nonsense> {
        let mut begin = 0;
        let lines = loop {
            let Some(length) = heard[begin..].iter().position(|byte| *byte == b'\n') else {
                break Ok(());
            };
            let line = &heard[begin..begin + length];
            begin += length + 1;
            if line.len() > LINE_MAX {
                break Err(Nonsense::TooLong);
            }
            if let Err(nonsense) =
                Answer::parse(line).and_then(|answer| self.verdicts.answer(answer))
            {
                break Err(nonsense);
            }
        };
        heard.drain(..begin);
        lines?;
        if heard.len() > LINE_MAX {
            return Err(Nonsense::TooLong);
        }
        Ok(())
    }
}
