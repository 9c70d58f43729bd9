//! What connections cost, counted by the allocator. The tests count all of the process's memory, so they take turns.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_conformance::wire::server_frame;
use ropewalk_core::admission::Stage;
use ropewalk_core::{
    AdmissionRequest, Config, ConnectionId, ConnectionSet, Consumer, Input, Instant, Message,
    Output, Report, Seed, Settings, SocketId, State, Target,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tungstenite::handshake::derive_accept_key;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static TURN: Mutex<()> = Mutex::new(());

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// An idle open connection may cost this much in the core, its target's strings and its share of the set included.
const IDLE_BYTES_MAX: usize = 1_024;

/// A queue that became empty may keep room for a few messages' names, never for their payload.
const EMPTY_QUEUE_BYTES: usize = 256;

/// Bytes allocated and not freed.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A set whose consumers always ask, and whose network takes everything at once.
struct World {
    set: ConnectionSet,
    config: Arc<Config>,
    written: Vec<u8>,
    delivered: usize,
}

impl World {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.inbound.bytes_max = 4 << 20;
        settings.outbound.bytes_max = 4 << 20;
        settings.limits.message_bytes_max = 2 << 20;
        settings.limits.frame_bytes_max = 2 << 20;
        Self {
            set: ConnectionSet::new(Seed::for_tests(1)),
            config: Arc::new(
                Config::new(settings, ropewalk_core::Hooks::default())
                    .expect("the settings are sound"),
            ),
            written: Vec::with_capacity(4 << 20),
            delivered: 0,
        }
    }

    fn open(&mut self, index: usize) -> SocketId {
        let url = format!("ws://10.1.{}.{}:9000/", index / 250, index % 250 + 1);
        let target = Target::parse(&url).expect("an address makes a URL");
        let id = self
            .set
            .insert(NOW, target, Arc::clone(&self.config), Consumer::Pull);
        let socket = self
            .drain()
            .expect("an address is dialled without more ado");
        self.set.handle(NOW, Input::Connected { socket });
        self.written.clear();
        self.drain();
        let request = String::from_utf8(self.written.clone()).expect("requests are ASCII");
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("the request has a key");
        let accept = derive_accept_key(key.as_bytes());
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        self.read(socket, &mut response);
        assert_eq!(self.set.state(id), Some(State::Open));
        self.set.handle(NOW, Input::Ask { connection: id });
        self.drain();
        socket
    }

    fn read(&mut self, socket: SocketId, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(64 << 10) {
            assert_eq!(self.set.handle_input(NOW, socket, piece), piece.len());
            self.drain();
        }
    }

    /// Messages of 1 MiB in both directions, whole and in fragments.
    fn burst(&mut self, socket: SocketId) {
        let payload = vec![b'x'; 1 << 20];
        let mut whole = server_frame(0x82, &payload);
        let mut halves = server_frame(0x01, &payload[..600_000]);
        halves.extend(server_frame(0x80, &payload[600_000..]));
        let before = self.delivered;
        self.read(socket, &mut whole);
        self.read(socket, &mut halves);
        assert_eq!(self.delivered, before + 2);
        self.written.clear();
        let message = Message::binary(payload);
        self.set
            .send(NOW, socket.connection, message, Report::Quiet)
            .expect("the queue holds it");
        self.drain();
        assert!(self.written.len() > 1 << 20);
        let counters = self.set.counters(socket.connection).expect("it is open");
        assert_eq!(counters.waiting + counters.in_flight_out, 0);
    }

    /// Does what the core wants; returns the socket it dialled, if it did.
    fn drain(&mut self) -> Option<SocketId> {
        let mut dialled = None;
        loop {
            match self.set.poll_output(NOW) {
                Output::Admission(AdmissionRequest::Request { connection, .. }) => {
                    self.admit(connection, Stage::Resolve);
                }
                Output::Admission(AdmissionRequest::Narrow { connection, .. }) => {
                    self.admit(connection, Stage::Connect);
                }
                Output::Admission(AdmissionRequest::TakeBytes(bytes)) => {
                    self.set.handle(NOW, Input::BytesGranted(bytes));
                }
                Output::Connect { socket, .. } => dialled = Some(socket),
                Output::Transmit { socket } => {
                    while let Some(transmit) = self.set.transmit(NOW, socket) {
                        for slice in transmit.slices() {
                            self.written.extend_from_slice(&slice);
                        }
                        let len = transmit.len();
                        transmit.advance(len);
                    }
                }
                Output::Deliver(batch) => {
                    self.delivered += batch.len();
                    let connection = batch.connection();
                    self.set.handle(NOW, Input::Ask { connection });
                }
                Output::Idle { .. } => return dialled,
                Output::Admission(_)
                | Output::Call(_)
                | Output::Provide { .. }
                | Output::Resolve { .. }
                | Output::ShutdownWrite { .. }
                | Output::Abort { .. }
                | Output::Read { .. }
                | Output::ReadAll { .. }
                | Output::Outcome { .. }
                | Output::Room { .. }
                | Output::DeadLetter(_)
                | Output::Redriven { .. }
                | Output::Event(_)
                | Output::Removed(_) => {}
            }
        }
    }

    fn admit(&mut self, connection: ConnectionId, stage: Stage) {
        self.set.handle(NOW, Input::Admitted { connection, stage });
    }
}

#[test]
fn an_open_connection_keeps_no_buffer_after_a_burst_of_large_messages() {
    let _turn = TURN.lock().unwrap();
    let mut world = World::new();
    let sockets: Vec<SocketId> = (0..40).map(|index| world.open(index)).collect();
    // What the set itself keeps, it keeps after the first.
    world.burst(sockets[0]);
    let before = held();
    for socket in &sockets[1..] {
        world.burst(*socket);
    }
    let each = held().saturating_sub(before) / (sockets.len() - 1);
    assert!(
        each <= EMPTY_QUEUE_BYTES,
        "each connection kept {each} bytes"
    );
}

#[test]
fn for_its_writes_a_set_keeps_what_one_of_them_holds_and_not_twice_that() {
    const WRITE_BYTES_MAX: usize = 256 << 10;
    /// What stands where in it, and the rest.
    const BESIDE: usize = 96 << 10;
    let _turn = TURN.lock().unwrap();
    let mut world = World::new();
    let socket = world.open(0);
    let before = held();
    for (count, len) in [(1, 200 << 10), (400, 1 << 10), (1_000, 300)] {
        for _ in 0..count {
            let message = Message::binary(vec![b'x'; len]);
            world
                .set
                .send(NOW, socket.connection, message, Report::Quiet)
                .expect("the queue holds it");
        }
        world.written.clear();
        world.drain();
        assert!(world.written.len() > count * len);
        let kept = held().saturating_sub(before);
        assert!(
            kept <= WRITE_BYTES_MAX + BESIDE,
            "{kept} bytes after {count} messages of {len}"
        );
    }
}

#[test]
fn an_idle_open_connection_costs_little() {
    const COUNT: usize = 1_000;
    let _turn = TURN.lock().unwrap();
    let mut world = World::new();
    world.open(0);
    let before = held();
    for index in 1..=COUNT {
        world.open(index);
    }
    world
        .set
        .handle(NOW + Duration::from_millis(1), Input::Timeout);
    world.drain();
    let each = (held() - before) / COUNT;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes a connection");
    println!("{each} bytes an idle open connection");
    assert!(
        each > 100,
        "{each} bytes a connection cannot be: nothing was measured"
    );
}
