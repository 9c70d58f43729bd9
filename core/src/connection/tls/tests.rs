//! Failures that no real TLS can be made to have.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::Stage;
use crate::event::{Event, EventKind, State};
use crate::ids::{ConnectionId, SocketId};
use crate::io::{AdmissionRequest, Consumer, Input, Output};
use crate::message::Message;
use crate::outbound::Report;
use crate::reason::{CloseReason, TimerKind};
use crate::seed::Seed;
use crate::set::ConnectionSet;
use crate::settings::{Config, Settings};
use crate::target::{Host, Target};
use crate::time::Instant;
use crate::tls::{Connector, Records, TlsConfig, TlsError, TlsErrorKind};

/// A TLS that encrypts nothing, whose handshake is a greeting each way, and that fails as it is told to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// From the first byte [`BAD`] on nothing can be decrypted.
    BadRecord,
    /// Once the upgrade request is encrypted nothing else can be.
    KeysUsedUp,
}

const GREETING: &[u8] = b"hello";
const BAD: u8 = 0xff;

struct PlainRecords {
    fault: Fault,
    is_greeted: bool,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
}

impl Connector for Fault {
    fn connect(&self, _: &Host) -> Result<Box<dyn Records>, TlsError> {
        Ok(Box::new(PlainRecords {
            fault: *self,
            is_greeted: false,
            inbound: Vec::new(),
            outbound: GREETING.to_vec(),
        }))
    }
}

impl Records for PlainRecords {
    fn is_handshaking(&self) -> bool {
        !self.is_greeted
    }

    fn feed(&mut self, ciphertext: &[u8]) -> Result<usize, TlsError> {
        if !self.is_greeted {
            assert_eq!(ciphertext, GREETING);
            self.is_greeted = true;
            return Ok(ciphertext.len());
        }
        let bad = ciphertext.iter().position(|byte| *byte == BAD);
        let good = bad.unwrap_or(ciphertext.len());
        self.inbound.extend_from_slice(&ciphertext[..good]);
        match bad {
            Some(_) => Err(TlsError::new(TlsErrorKind::Protocol, "as told")),
            None => Ok(good),
        }
    }

    fn plaintext(&mut self) -> &[u8] {
        &self.inbound
    }

    fn plaintext_len(&self) -> usize {
        self.inbound.len()
    }

    fn consume(&mut self, bytes: usize) {
        self.inbound.drain(..bytes);
    }

    fn has_peer_closed(&self) -> bool {
        false
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> usize {
        if self.fault == Fault::KeysUsedUp && !plaintext.starts_with(b"GET ") {
            return 0;
        }
        self.outbound.extend_from_slice(plaintext);
        plaintext.len()
    }

    fn close(&mut self) {}

    fn has_ciphertext(&self) -> bool {
        !self.outbound.is_empty()
    }

    fn drain(&mut self, ciphertext: &mut Vec<u8>) {
        ciphertext.append(&mut self.outbound);
    }
}

/// A set with one connection, and what came out of it.
struct Bench {
    set: ConnectionSet,
    now: Instant,
    id: ConnectionId,
    socket: Option<SocketId>,
    written: Vec<u8>,
    delivered: usize,
    events: Vec<Event>,
    next_timeout: Option<Instant>,
}

impl Bench {
    fn open(fault: Fault) -> Self {
        let tls = TlsConfig::over(Arc::new(fault));
        let target = Target::parse_with_tls("wss://127.0.0.1/", tls).expect("a good URL");
        let mut set = ConnectionSet::new(Seed::for_tests(1));
        let settings = Settings {
            keepalive: None,
            ..Settings::default()
        };
        let config = Config::new(settings, crate::Hooks::default()).expect("sound");
        let now = Instant::ORIGIN;
        let id = set.insert(now, target, Arc::new(config), Consumer::Pull);
        let mut bench = Self {
            set,
            now,
            id,
            socket: None,
            written: Vec::new(),
            delivered: 0,
            events: Vec::new(),
            next_timeout: None,
        };
        bench.handle(Input::Ask { connection: id });
        let socket = bench.socket.expect("it was dialled");
        bench.handle(Input::Connected { socket });
        assert_eq!(std::mem::take(&mut bench.written), GREETING);
        assert_eq!(bench.set.state(id), Some(State::TlsHandshaking));
        bench.receive(GREETING);
        assert_eq!(bench.set.state(id), Some(State::Upgrading));
        let request = String::from_utf8(std::mem::take(&mut bench.written)).expect("text");
        let (_, key) = request.split_once("Sec-WebSocket-Key: ").expect("a key");
        let key = key.lines().next().expect("its line");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        bench.receive(response.as_bytes());
        assert_eq!(bench.set.state(id), Some(State::Open));
        bench
    }

    fn handle(&mut self, input: Input) {
        self.set.handle(self.now, input);
        self.drain();
    }

    fn receive(&mut self, bytes: &[u8]) {
        let socket = self.socket.expect("a socket");
        self.set.handle_input(self.now, socket, &mut bytes.to_vec());
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.set.poll_output(self.now) {
                Output::Idle { next_timeout } => {
                    self.set.check_invariants();
                    self.next_timeout = next_timeout;
                    return;
                }
                Output::Admission(AdmissionRequest::Request { connection, .. }) => {
                    let stage = Stage::Resolve;
                    self.set
                        .handle(self.now, Input::Admitted { connection, stage });
                }
                Output::Admission(AdmissionRequest::Narrow { connection, .. }) => {
                    let stage = Stage::Connect;
                    self.set
                        .handle(self.now, Input::Admitted { connection, stage });
                }
                Output::Admission(AdmissionRequest::TakeBytes(bytes)) => {
                    self.set.handle(self.now, Input::BytesGranted(bytes));
                }
                Output::Connect { socket, .. } => self.socket = Some(socket),
                Output::Abort { .. } => self.socket = None,
                Output::Transmit { socket } => {
                    while let Some(transmit) = self.set.transmit(self.now, socket) {
                        self.written.extend_from_slice(&transmit.slices()[0]);
                        let all = transmit.len();
                        transmit.advance(all);
                    }
                }
                Output::Deliver(batch) => self.delivered += batch.len(),
                Output::Event(event) => self.events.push(*event),
                Output::Admission(_)
                | Output::Call(_)
                | Output::Provide { .. }
                | Output::Resolve { .. }
                | Output::ShutdownWrite { .. }
                | Output::Read { .. }
                | Output::ReadAll { .. }
                | Output::Outcome { .. }
                | Output::Room { .. }
                | Output::DeadLetter(_)
                | Output::Redriven { .. }
                | Output::Removed(_) => {}
            }
        }
    }

    fn last_closed(&self) -> Option<&CloseReason> {
        self.events.iter().rev().find_map(|event| {
            if let EventKind::Closed { reason, .. } = &event.kind {
                Some(reason)
            } else {
                None
            }
        })
    }
}

/// A text message of one letter, as a server sends it.
const FRAME: &[u8] = b"\x81\x01x";

#[test]
fn what_was_decrypted_before_a_failure_is_delivered_and_what_follows_is_not_looked_at() {
    let mut bench = Bench::open(Fault::BadRecord);
    bench.receive(&[FRAME, FRAME, &[BAD], FRAME].concat());
    assert_eq!(bench.set.counters(bench.id).map(|c| c.received), Some(2));
    let expected = TlsError::new(TlsErrorKind::Protocol, "as told");
    assert_eq!(bench.last_closed(), Some(&CloseReason::Tls(expected)));
    assert_eq!(bench.socket, None);
    assert!(bench.delivered > 0);
}

#[test]
fn keys_that_are_used_up_end_the_session_at_the_write_deadline_and_lose_nothing() {
    let mut bench = Bench::open(Fault::KeysUsedUp);
    bench
        .set
        .send(bench.now, bench.id, Message::text("kept"), Report::Outcome)
        .expect("there is room");
    bench.drain();
    for _ in 0..10 {
        if bench.socket.is_none() {
            break;
        }
        bench.now = bench.next_timeout.expect("a deadline");
        bench.handle(Input::Timeout);
    }
    let timeout = CloseReason::Timeout(TimerKind::WriteProgress);
    assert_eq!(bench.last_closed(), Some(&timeout));
    assert_eq!(bench.now, Instant::ORIGIN + Duration::from_secs(30));
    let counters = bench.set.counters(bench.id).expect("it is there");
    assert_eq!((counters.waiting, counters.written), (1, 0));
    assert!(bench.written.is_empty());
}
