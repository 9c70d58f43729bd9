//! Ropewalk with its defaults. Every message has passed the bounded queue between the connection and its consumer when it is looked at, so that
//! there is one way for both kinds of receiving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ropewalk_driver::{Batch, Connect, ConnectionHandle, Fleet, Runtime, Verdict};

use super::Problem;
use super::drive::{Meter, RoundTrips, Tasks, Tokio, idle, pass, text, tokio_runtime};
use super::tungstenite_elsewhere::{AsyncStd, Smol};
use crate::measure::resident_bytes;
use crate::work::{Done, Seen, Work};

pub(super) fn on_tokio(work: Work, url: &str) -> Result<Done, Problem> {
    tokio_runtime()?.block_on(drive::<ropewalk_tokio::Tokio, Tokio>(work, url))
}

pub(super) fn on_smol(work: Work, url: &str) -> Result<Done, Problem> {
    smol::block_on(drive::<ropewalk_smol::Smol, Smol>(work, url))
}

pub(super) fn on_async_std(work: Work, url: &str) -> Result<Done, Problem> {
    async_std::task::block_on(drive::<ropewalk_async_std::AsyncStd, AsyncStd>(work, url))
}

fn fleet<R: Runtime>() -> Result<Fleet<R>, Problem> {
    Ok(Fleet::<R>::builder().build()?)
}

async fn drive<R: Runtime, T: Tasks>(work: Work, url: &str) -> Result<Done, Problem> {
    match work {
        Work::Receive { messages, .. } | Work::HandOver { messages, .. } => {
            let meter = Meter::start();
            let fleet = fleet::<R>()?;
            let handle = fleet.open(Connect::to(url)?);
            let mut seen = Seen::default();
            while seen.messages < messages {
                look(&handle, &mut seen).await?;
            }
            Ok(meter.stop(seen))
        }
        Work::Paced {
            connections,
            messages,
        } => {
            let fleet = fleet::<R>()?;
            let received = Arc::new(AtomicU64::new(0));
            let connect = Connect::to(url)?.process({
                let received = Arc::clone(&received);
                move |batch: Batch| {
                    let received = Arc::clone(&received);
                    async move {
                        let mut seen = Seen::default();
                        for message in batch.iter() {
                            seen.look(message.as_bytes());
                        }
                        received.fetch_add(seen.messages, Ordering::Relaxed);
                        batch.judge(|_| Verdict::Ack)
                    }
                }
            });
            let handles: Vec<_> = (0..connections)
                .map(|_| fleet.open(connect.clone()))
                .collect();
            all_open::<R, T>(&fleet, connections).await;
            let done = pass::<T>(messages, || received.load(Ordering::Relaxed)).await;
            drop(handles);
            Ok(done)
        }
        Work::Send { bytes, messages } => {
            let text = text(bytes);
            let meter = Meter::start();
            let fleet = fleet::<R>()?;
            let handle = fleet.open(Connect::to(url)?);
            let sender = handle.sender();
            for _ in 0..messages {
                sender.send(text.as_str()).await?;
            }
            let mut seen = Seen::default();
            look(&handle, &mut seen).await?;
            Ok(meter.stop(seen))
        }
        Work::Echo { bytes, messages } => {
            let fleet = fleet::<R>()?;
            let handle = fleet.open(Connect::to(url)?);
            let sender = handle.sender();
            let text = text(bytes);
            let mut seen = Seen::default();
            let mut times = RoundTrips::new(messages);
            let mut meter = Meter::start();
            for number in 0..messages + RoundTrips::warm_up() {
                if number == RoundTrips::warm_up() {
                    meter = Meter::start();
                }
                let begun = Instant::now();
                sender.send(text.as_str()).await?;
                look(&handle, &mut seen).await?;
                times.note(number, begun.elapsed());
            }
            let done = meter.stop(seen);
            Ok(times.into_done(done))
        }
        Work::Idle { connections } => {
            let before = resident_bytes();
            let fleet = fleet::<R>()?;
            let connect = Connect::to(url)?;
            let handles: Vec<_> = (0..connections)
                .map(|_| fleet.open(connect.clone()))
                .collect();
            all_open::<R, T>(&fleet, connections).await;
            let done = idle::<T>(before).await;
            drop(handles);
            done
        }
    }
}

async fn look(handle: &ConnectionHandle, seen: &mut Seen) -> Result<(), Problem> {
    let batch = handle.next_batch().await.ok_or("the connection ended")?;
    for message in batch.iter() {
        seen.look(message.as_bytes());
    }
    Ok(())
}

async fn all_open<R: Runtime, T: Tasks>(fleet: &Fleet<R>, connections: usize) {
    loop {
        let snapshots = fleet.snapshot().await;
        let open = snapshots
            .iter()
            .filter(|it| it.state == ropewalk_core::State::Open);
        if open.count() == connections {
            return;
        }
        T::sleep(std::time::Duration::from_millis(50)).await;
    }
}
