//! What an open, idle connection of a fleet costs, counted by the allocator: all that the library and the runtime keep for
//! it, over real sockets on each runtime.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

use std::alloc::System;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use ropewalk_conformance::wire::server_frame;
use ropewalk_core::Consumer;
use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, EventKind, Fleet, Runtime, Socket, State, Verdict,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tungstenite::handshake::derive_accept_key;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All tests count the same process's memory, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// How many connections there are in the end: a power of two, so that no list has doubled just now.
const COUNT: usize = 128;

/// How many are opened at once. Those of the first time are not counted, so that what a fleet, a shard and a runtime keep but once
/// is there already.
const AT_ONCE: usize = COUNT / 4;

/// What the library may keep of a connection with every default, whose handle the application holds.
const IDLE_BYTES_MAX: usize = 1_250;

/// What it may keep if nothing that the connection was told is what another was told.
const DIFFERENT_BYTES_MAX: usize = 1_800;

/// What it may keep of one with a processor.
const PROCESSOR_BYTES_MAX: usize = 1_300;

/// What a runtime keeps of a socket that it watches itself: on Linux none.
const SOCKET_BYTES_MAX: usize = if cfg!(target_os = "linux") { 0 } else { 340 };

/// How many are opened where the difference between some and many at once shows.
const MANY: usize = 2_048;

/// What a fleet may keep because very many connections once began at the same time.
const LEFT_MAX: usize = 24 << 10;

/// Bytes allocated and not freed.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A server that upgrades so many connections, sends each a message and says nothing more. What it keeps, it keeps from the
/// beginning.
fn server() -> (String, Receiver<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/quotes", listener.local_addr().unwrap());
    let (tell, told) = channel();
    let mut streams = Vec::with_capacity(COUNT);
    std::thread::spawn(move || {
        while streams.len() < COUNT {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let mut len = 0;
            while !request[..len].ends_with(b"\r\n\r\n") {
                len += stream.read(&mut request[len..]).unwrap();
            }
            stream.write_all(&welcome(&request[..len])).unwrap();
            streams.push(stream);
        }
        tell.send(streams).unwrap();
    });
    (url, told)
}

/// What a server says to an upgrade request: that it agrees, and a first message.
fn welcome(request: &[u8]) -> Vec<u8> {
    let request = std::str::from_utf8(request).unwrap();
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let mut welcome = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    welcome.extend(server_frame(0x81, b"welcome"));
    welcome
}

/// A server without a socket, which keeps nothing once it has welcomed its client.
#[derive(Default)]
struct Nearby {
    welcome: Vec<u8>,
    waker: Option<Waker>,
}

impl Socket for Nearby {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.welcome.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let welcome = std::mem::take(&mut self.welcome);
        buffer[..welcome.len()].copy_from_slice(&welcome);
        Poll::Ready(Ok(welcome.len()))
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let request: Vec<u8> = slices.iter().flat_map(|it| it.to_vec()).collect();
        // What follows is a ping or a close frame, which is not answered.
        if request.starts_with(b"GET ") {
            self.welcome = welcome(&request);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(request.len()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What each connection costs that is described like this, its handle included.
async fn each<R: Runtime>(consumer: Consumer, mut describe: impl FnMut(&str) -> Connect) -> usize {
    let (url, streams) = server();
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .unwrap();
    let mut handles = Vec::with_capacity(COUNT);
    open(&fleet, &mut handles, AT_ONCE, consumer, || describe(&url)).await;
    let before = held();
    while handles.len() < COUNT {
        open(&fleet, &mut handles, AT_ONCE, consumer, || describe(&url)).await;
    }
    let each = held().saturating_sub(before) / (COUNT - AT_ONCE) + size_of::<ConnectionHandle>();
    assert_eq!(streams.recv().unwrap().len(), COUNT);
    end(fleet, handles).await;
    each
}

/// Ends a fleet, and waits until its shard is gone, so that nothing is freed while the next one is measured.
async fn end<R: Runtime>(fleet: Fleet<R>, handles: Vec<ConnectionHandle>) {
    let mut events = fleet.events();
    drop((fleet, handles));
    while events.next().await.is_some() {}
}

/// Opens more connections, and waits until they are open, their message is done with and nothing is under way.
async fn open<R: Runtime>(
    fleet: &Fleet<R>,
    handles: &mut Vec<ConnectionHandle>,
    more: usize,
    consumer: Consumer,
    mut describe: impl FnMut() -> Connect,
) {
    let mut events = fleet.events();
    for _ in 0..more {
        handles.push(fleet.open(describe()));
    }
    let mut left = more;
    while left > 0 {
        let event = events.next().await.expect("the fleet goes on");
        let is_open =
            |kind: &EventKind| matches!(kind, EventKind::State { to, .. } if *to == State::Open);
        left -= usize::from(is_open(&event.event.kind));
    }
    drop(events);
    for handle in &handles[handles.len() - more..] {
        take_welcome(handle, consumer).await;
    }
    // Its shard answers when it has done what came before.
    let snapshots = fleet.snapshot().await;
    assert_eq!(snapshots.len(), handles.len());
    assert!(snapshots.iter().all(|it| it.state == State::Open));
}

/// Takes the server's message, or waits until a processor has.
async fn take_welcome(handle: &ConnectionHandle, consumer: Consumer) {
    match consumer {
        Consumer::Pull => {
            let batch = handle.next_batch().await.expect("it goes on");
            assert_eq!(batch.len(), 1);
        }
        Consumer::Process => loop {
            let snapshot = handle.snapshot().await.expect("it goes on");
            if snapshot.counters.delivered == 1 {
                break;
            }
        },
    }
}

fn to(url: &str) -> Connect {
    Connect::to(url).unwrap()
}

/// Checks what a runtime's connections cost.
async fn check<R: Runtime>() {
    let mut first = None;
    let cloned = each::<R>(Consumer::Pull, |url| {
        first.get_or_insert_with(|| to(url)).clone()
    })
    .await;
    let alike = each::<R>(Consumer::Pull, to).await;
    let mut number = 0;
    let different = each::<R>(Consumer::Pull, |url| {
        number += 1;
        let connect = to(&format!("{url}/{number}"));
        connect.ready("hello").decode(|_| Ok(()))
    })
    .await;
    let processor = each::<R>(Consumer::Process, |url| {
        to(url).process(|batch: Batch| async { batch.judge(|_| Verdict::Ack) })
    })
    .await;
    println!(
        "{cloned} bytes a connection, {alike} if described anew, {different} if differently, {processor} with a processor"
    );
    assert!(
        cloned > 700,
        "{cloned} bytes cannot be: nothing was measured"
    );
    assert!(
        cloned <= IDLE_BYTES_MAX + SOCKET_BYTES_MAX,
        "{cloned} bytes"
    );
    assert!(alike <= IDLE_BYTES_MAX + SOCKET_BYTES_MAX, "{alike} bytes");
    assert!(
        different <= DIFFERENT_BYTES_MAX + SOCKET_BYTES_MAX,
        "{different} bytes"
    );
    assert!(
        processor <= PROCESSOR_BYTES_MAX + SOCKET_BYTES_MAX,
        "{processor} bytes"
    );
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn an_idle_connection_on_tokio_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    tokio_runtime().block_on(check::<ropewalk_tokio::Tokio>());
}

#[test]
fn an_idle_connection_on_smol_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(check::<ropewalk_smol::Smol>());
}

#[test]
fn an_idle_connection_on_async_std_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    async_std::task::block_on(check::<ropewalk_async_std::AsyncStd>());
}

/// What so many connections hold that are opened in lots of this size.
async fn all(lot: usize) -> usize {
    let fleet = Fleet::<ropewalk_tokio::Tokio>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .unwrap();
    let mut handles = Vec::with_capacity(MANY);
    let connect = to("ws://nearby.invalid/").over(|_| async { Ok(Nearby::default()) });
    let before = held();
    while handles.len() < MANY {
        open(&fleet, &mut handles, lot, Consumer::Pull, || {
            connect.clone()
        })
        .await;
    }
    let all = held() - before;
    end(fleet, handles).await;
    all
}

#[test]
fn connections_that_were_opened_at_once_leave_no_more_behind_than_others() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Each in a runtime that ends with it, and all its tasks too.
    let in_lots = tokio_runtime().block_on(all(MANY / 32));
    let at_once = tokio_runtime().block_on(all(MANY));
    println!("{in_lots} bytes if opened in lots, {at_once} if all at once");
    assert!(in_lots > 700 * MANY, "{in_lots} bytes cannot be");
    assert!(
        at_once <= in_lots + LEFT_MAX,
        "{at_once} instead of {in_lots}"
    );
}
