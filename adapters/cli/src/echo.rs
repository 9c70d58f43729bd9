//! `ropewalk echo`: one session that sends everything back.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_core::settings::{Deflate, Reconnect};
use ropewalk_core::{CloseReason, Kind, Message, MessageRef, Settings};
use ropewalk_driver::{Connect, ConnectionHandle, Fleet, Runtime};

use crate::Failure;
use crate::args::EchoArguments;
use crate::runtime::{self, Job};
use crate::stop::{Stop, Why};

/// How long the end may take after an interrupt.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Test suites send a message in far more fragments than any application.
const FRAGMENTS_MAX: u32 = 131_072;

/// Runs the session.
pub(crate) fn run(arguments: &EchoArguments) -> Result<ExitCode, Failure> {
    let connect = Connect::to(&arguments.url)
        .and_then(|connect| connect.settings(settings(arguments)).check())
        .map_err(Failure::usage)?;
    let stop = Stop::default();
    stop.on_signals().map_err(Failure::runtime)?;
    let echo = Echo { connect, stop };
    runtime::block_on(arguments.runtime, echo).map_err(Failure::runtime)?
}

fn settings(arguments: &EchoArguments) -> Settings {
    let mut settings = Settings {
        reconnect: Reconnect::Never,
        deflate: arguments.compress.then(Deflate::default),
        ..Settings::default()
    };
    settings.batch.linger = Duration::ZERO;
    settings.limits.fragments_max = FRAGMENTS_MAX;
    settings
}

struct Echo {
    connect: Connect,
    stop: Stop,
}

impl Job for Echo {
    type Output = Result<ExitCode, Failure>;

    async fn run<R: Runtime>(self) -> Self::Output {
        let mut fleet = Fleet::<R>::builder().build().map_err(Failure::runtime)?;
        let handle = fleet.open(self.connect);
        let stop = self.stop.clone();
        R::spawn(async move {
            echo_all(&handle).await;
            stop.ask(Why::NothingLeft);
        });
        let why = self.stop.wait().await;
        let report = fleet.shutdown(SHUTDOWN_MAX).await;
        match why {
            Why::Interrupted => return Ok(ExitCode::SUCCESS),
            Why::NothingLeft | Why::TimeUp | Why::Counted | Why::OutputEnded => {}
        }
        let reason = report
            .connections
            .into_iter()
            .next()
            .and_then(|named| named.report.reason);
        match reason {
            Some(CloseReason::Peer(_)) => Ok(ExitCode::SUCCESS),
            Some(reason) => Err(Failure::runtime(reason)),
            None => Err(Failure::runtime("there was no session")),
        }
    }
}

async fn echo_all(handle: &ConnectionHandle) {
    let sender = handle.sender();
    while let Some(batch) = handle.next_batch().await {
        for message in &batch {
            // The session may have ended meanwhile; the batches that are left then have nowhere to go.
            if sender.send(same(message)).await.is_err() {
                return;
            }
        }
    }
}

fn same(message: MessageRef<'_>) -> Message {
    match (message.kind(), message.text()) {
        (Kind::Text, Ok(text)) => Message::text(text),
        (Kind::Text | Kind::Binary, _) => {
            Message::binary(Bytes::copy_from_slice(message.as_bytes()))
        }
    }
}
