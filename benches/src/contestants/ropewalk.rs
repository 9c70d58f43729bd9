//! Ropewalk with its defaults. Of many connections, a processor looks at the messages; as it waits for nothing, it is a plain function
//! (`Connect::process_sync`), and accepts all at once (`Batch::ack`). Every message has passed the bounded queue between the connection and its consumer when it is looked at, so that
//! there is one way for both kinds of receiving. Where very many messages are sent, `Sender::post_texts` is used: as with the other clients, nobody
//! is told what became of a message.

use std::time::{Duration, Instant};

use ropewalk_core::TlsConfig;
use ropewalk_core::settings::{Deflate, Keepalive};
use ropewalk_driver::{Batch, Connect, ConnectionHandle, Fleet, Runtime};

use super::drive::{
    Meter, RoundTrips, Tally, Tasks, Tokio, dropped, idle, pass, quiet, text, tokio_runtime, until,
};
use super::elsewhere::{AsyncStd, Elsewhere, Smol};
use super::{Place, Problem};
use crate::measure::resident_bytes;
use crate::work::{Done, Seen, Work};

pub(super) fn on_tokio(work: Work, to: &Place) -> Result<Done, Problem> {
    let to = to.clone();
    let runtime = tokio_runtime()?;
    runtime.block_on(
        runtime.spawn(async move { drive::<ropewalk_tokio::Tokio, Tokio>(work, &to).await }),
    )?
}

pub(super) fn on_smol(work: Work, to: Place) -> Result<Done, Problem> {
    Smol::work(async move { drive::<ropewalk_smol::Smol, Smol>(work, &to).await })
}

pub(super) fn on_async_std(work: Work, to: Place) -> Result<Done, Problem> {
    AsyncStd::work(async move { drive::<ropewalk_async_std::AsyncStd, AsyncStd>(work, &to).await })
}

fn fleet<R: Runtime>() -> Result<Fleet<R>, Problem> {
    Ok(Fleet::<R>::builder().build()?)
}

/// What the program configures: the URL, whom to trust, and compression where that is measured.
fn connect(work: Work, to: &Place) -> Result<Connect, Problem> {
    let connect = match &to.authority {
        None => Connect::to(&to.url)?,
        Some(pem) => {
            let tls = TlsConfig::builder().roots_pem(pem.as_bytes())?.build()?;
            Connect::to_with_tls(&to.url, tls)?
        }
    };
    Ok(match work {
        Work::Inflate { .. } | Work::Deflate { .. } => connect.deflate(Deflate::default()),
        Work::Pinged { every_seconds, .. } => {
            let every = Duration::from_secs(every_seconds);
            connect.keepalive(every, Keepalive::default().timeout)
        }
        Work::Receive { .. }
        | Work::HandOver { .. }
        | Work::ReceiveTls { .. }
        | Work::Paced { .. }
        | Work::Send { .. }
        | Work::Echo { .. }
        | Work::Connect { .. }
        | Work::Recover { .. }
        | Work::Idle { .. } => connect,
    })
}

async fn drive<R: Runtime, T: Tasks>(work: Work, to: &Place) -> Result<Done, Problem> {
    let connect = connect(work, to)?;
    match work {
        Work::Receive { messages, .. }
        | Work::HandOver { messages, .. }
        | Work::Inflate { messages, .. }
        | Work::ReceiveTls { messages, .. } => {
            let meter = Meter::start();
            let fleet = fleet::<R>()?;
            let handle = fleet.open(connect);
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
            let tally = Tally::new();
            let handles = processed(&fleet, connect, connections, &tally);
            all_open::<R, T>(&fleet, connections).await;
            let done = pass::<T>(messages, || tally.seen()).await;
            drop(handles);
            Ok(done)
        }
        Work::Connect { connections } => {
            let meter = Meter::start();
            let fleet = fleet::<R>()?;
            let tally = Tally::new();
            let handles = processed(&fleet, connect, connections, &tally);
            until::<T>(|| tally.seen().messages >= connections as u64).await;
            let done = meter.stop(tally.seen());
            drop(handles);
            Ok(done)
        }
        Work::Recover { connections } => {
            let fleet = fleet::<R>()?;
            let tally = Tally::new();
            let handles = processed(&fleet, connect, connections, &tally);
            let done = dropped::<T>(to, connections, || tally.seen()).await;
            drop(handles);
            done
        }
        Work::Send { messages, .. } | Work::Deflate { messages, .. } => {
            let text = text(work);
            let meter = Meter::start();
            let fleet = fleet::<R>()?;
            let handle = fleet.open(connect);
            let sender = handle.sender();
            let texts = std::iter::repeat_n(&text, usize::try_from(messages)?);
            sender.post_texts(texts).await?;
            let mut seen = Seen::default();
            look(&handle, &mut seen).await?;
            Ok(meter.stop(seen))
        }
        Work::Echo { messages, .. } => {
            let fleet = fleet::<R>()?;
            let handle = fleet.open(connect);
            let sender = handle.sender();
            let text = text(work);
            let mut seen = Seen::default();
            let mut times = RoundTrips::new(messages);
            let mut meter = Meter::start();
            for number in 0..messages + RoundTrips::warm_up() {
                if number == RoundTrips::warm_up() {
                    seen = Seen::default();
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
            let handles: Vec<_> = (0..connections)
                .map(|_| fleet.open(connect.clone()))
                .collect();
            // A snapshot of all would itself be memory.
            let is_open = |it: &ConnectionHandle| it.state() == ropewalk_core::State::Open;
            until::<T>(|| handles.iter().all(is_open)).await;
            let done = idle::<T>(before).await;
            drop(handles);
            done
        }
        Work::Pinged {
            connections,
            seconds,
            ..
        } => {
            let fleet = fleet::<R>()?;
            let handles: Vec<_> = (0..connections)
                .map(|_| fleet.open(connect.clone()))
                .collect();
            all_open::<R, T>(&fleet, connections).await;
            let done = quiet::<T>(Duration::from_secs(seconds)).await;
            drop(handles);
            Ok(done)
        }
    }
}

async fn look(handle: &ConnectionHandle, seen: &mut Seen) -> Result<(), Problem> {
    let batch = handle.next_batch().await.ok_or("the connection ended")?;
    // Text was found to be UTF-8 when it was received.
    for message in &batch {
        seen.look(message.as_bytes());
    }
    Ok(())
}

/// Connections whose messages are looked at by a processor.
fn processed<R: Runtime>(
    fleet: &Fleet<R>,
    connect: Connect,
    connections: usize,
    tally: &Tally,
) -> Vec<ConnectionHandle> {
    let tally = tally.clone();
    // It waits for nothing, and accepts everything.
    let connect = connect.process_sync(move |batch: Batch| {
        let mut seen = Seen::default();
        for message in &batch {
            seen.look(message.as_bytes());
        }
        tally.add(seen);
        batch.ack()
    });
    (0..connections)
        .map(|_| fleet.open(connect.clone()))
        .collect()
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
        T::sleep(Duration::from_millis(50)).await;
    }
}
