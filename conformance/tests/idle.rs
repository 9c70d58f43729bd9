//! What an open, idle connection of a fleet costs on each runtime, counted by the allocator: all that the library and the
//! runtime keep for it, over a real socket.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use ropewalk_conformance::wire::server_frame;
use ropewalk_core::Consumer;
use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, EventKind, Fleet, Runtime, State, Verdict,
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
const DIFFERENT_BYTES_MAX: usize = 1_850;

/// What it may keep of one with a processor, the processor's task included.
const PROCESSOR_BYTES_MAX: usize = 2_200;

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
            let request = std::str::from_utf8(&request[..len]).unwrap();
            let key = request
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
                .unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let mut response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into_bytes();
            response.extend(server_frame(0x81, b"welcome"));
            stream.write_all(&response).unwrap();
            streams.push(stream);
        }
        tell.send(streams).unwrap();
    });
    (url, told)
}

/// What each connection costs that is described like this, its handle included.
async fn each<R: Runtime>(consumer: Consumer, mut describe: impl FnMut(&str) -> Connect) -> usize {
    let (url, streams) = server();
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .unwrap();
    let mut handles = Vec::with_capacity(COUNT);
    open(&fleet, &mut handles, consumer, || describe(&url)).await;
    let before = held();
    while handles.len() < COUNT {
        open(&fleet, &mut handles, consumer, || describe(&url)).await;
    }
    let each = held().saturating_sub(before) / (COUNT - AT_ONCE) + size_of::<ConnectionHandle>();
    assert_eq!(streams.recv().unwrap().len(), COUNT);
    each
}

/// Opens more connections, and waits until they are open, their message is done with and nothing is under way.
async fn open<R: Runtime>(
    fleet: &Fleet<R>,
    handles: &mut Vec<ConnectionHandle>,
    consumer: Consumer,
    mut describe: impl FnMut() -> Connect,
) {
    let mut events = fleet.events();
    for _ in 0..AT_ONCE {
        handles.push(fleet.open(describe()));
    }
    let mut left = AT_ONCE;
    while left > 0 {
        let event = events.next().await.expect("the fleet goes on");
        let is_open =
            |kind: &EventKind| matches!(kind, EventKind::State { to, .. } if *to == State::Open);
        left -= usize::from(is_open(&event.event.kind));
    }
    drop(events);
    for handle in &handles[handles.len() - AT_ONCE..] {
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

/// Checks what a runtime's connections cost; `socket` is what the runtime itself keeps of a socket.
async fn check<R: Runtime>(socket: usize) {
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
    assert!(cloned <= IDLE_BYTES_MAX + socket, "{cloned} bytes");
    assert!(alike <= IDLE_BYTES_MAX + socket, "{alike} bytes");
    assert!(
        different <= DIFFERENT_BYTES_MAX + socket,
        "{different} bytes"
    );
    assert!(
        processor <= PROCESSOR_BYTES_MAX + socket,
        "{processor} bytes"
    );
}

#[test]
fn an_idle_connection_on_tokio_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(check::<ropewalk_tokio::Tokio>(256));
}

#[test]
fn an_idle_connection_on_smol_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    smol::block_on(check::<ropewalk_smol::Smol>(300));
}

#[test]
fn an_idle_connection_on_async_std_costs_little() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    async_std::task::block_on(check::<ropewalk_async_std::AsyncStd>(340));
}
