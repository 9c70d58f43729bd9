//! What an open, idle connection of a fleet costs on each runtime, counted by the allocator: all that the library and the
//! runtime keep for it, over a real socket.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use ropewalk_driver::{Connect, ConnectionHandle, EventKind, Fleet, Runtime, State};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tungstenite::handshake::derive_accept_key;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All tests count the same process's memory, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// How many connections there are in the end: a power of two, so that no list has doubled just now.
const COUNT: usize = 128;

/// How many of them there are before anything is counted, so that what a fleet, a shard and a runtime keep but once is there already.
const FIRST: usize = COUNT / 4;

/// Bytes allocated and not freed.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A server that upgrades so many connections and says nothing more. What it keeps, it keeps from the beginning.
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
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(response.as_bytes()).unwrap();
            streams.push(stream);
        }
        tell.send(streams).unwrap();
    });
    (url, told)
}

/// What each connection costs that is described like this, its handle included.
async fn each<R: Runtime>(describe: impl Fn(&str) -> Connect) -> usize {
    let (url, streams) = server();
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .unwrap();
    let mut handles = Vec::with_capacity(COUNT);
    open(&fleet, &mut handles, FIRST, || describe(&url)).await;
    let before = held();
    open(&fleet, &mut handles, COUNT - FIRST, || describe(&url)).await;
    let each = held().saturating_sub(before) / (COUNT - FIRST) + size_of::<ConnectionHandle>();
    assert_eq!(streams.recv().unwrap().len(), COUNT);
    each
}

/// Opens more connections, and waits until they are open and nothing is under way.
async fn open<R: Runtime>(
    fleet: &Fleet<R>,
    handles: &mut Vec<ConnectionHandle>,
    more: usize,
    describe: impl Fn() -> Connect,
) {
    let mut events = fleet.events();
    for _ in 0..more {
        handles.push(fleet.open(describe()));
    }
    let mut left = more;
    while left > 0 {
        let event = events.next().await.expect("the fleet goes on");
        if matches!(
            event.event.kind,
            EventKind::State {
                to: State::Open,
                ..
            }
        ) {
            left -= 1;
        }
    }
    drop(events);
    // Its shard answers when it has done what came before.
    let open = fleet.snapshot().await;
    assert!(open.iter().all(|it| it.state == State::Open));
    assert_eq!(open.len(), handles.len());
}

fn to(url: &str) -> Connect {
    Connect::to(url).unwrap()
}

/// Checks all that a runtime's connections cost; `socket` is what the runtime itself keeps of a socket.
async fn check<R: Runtime>(socket: usize) {
    let cloned = {
        let first = Mutex::new(None);
        each::<R>(move |url| {
            let mut first = first.lock().unwrap();
            first.get_or_insert_with(|| to(url)).clone()
        })
        .await
    };
    println!("{cloned} bytes a connection, {socket} of them the runtime's");
    let alike = each::<R>(to).await;
    println!("{alike} bytes if each is described anew");
    let different = {
        let number = Mutex::new(0);
        each::<R>(move |url| {
            let mut number = number.lock().unwrap();
            *number += 1;
            to(&format!("{url}/{number}"))
                .ready("hello")
                .decode(|_| Ok(()))
        })
        .await
    };
    println!("{different} bytes if each has a URL and hooks of its own");
    assert!(cloned <= socket + 1, "{cloned}");
    assert!(alike <= socket + 1, "{alike}");
    assert!(different <= socket + 1, "{different}");
}

#[test]
fn tokio() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(check::<ropewalk_tokio::Tokio>(256));
}

#[test]
fn smol() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    ::smol::block_on(check::<ropewalk_smol::Smol>(400));
}

#[test]
fn async_std() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    ::async_std::task::block_on(check::<ropewalk_async_std::AsyncStd>(400));
}
