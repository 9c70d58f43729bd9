//! A connection set beside a server that is a few lines of bytes, in virtual time.

#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod peer;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::admission::{Admission, Answer, Calls, Ticket};
use ropewalk_core::{
    AdmissionLimits, AdmissionRequest, Batch, CallRequest, Config, ConnectionId, ConnectionReport,
    ConnectionSet, Consumer, DeadLetter, Event, EventKind, Fate, Hooks, Input, Instant, Message,
    MessageId, Outcome, Output, Report, Seed, Settings, SocketId, State, Target,
};

/// More outputs than this after one change is an endless loop.
const OUTPUTS_MAX: usize = 100_000;

/// One connection of a set, its server's view, and everything that came out.
pub struct Pair {
    pub set: ConnectionSet,
    pub admission: Admission,
    /// The calls of processors; a test may replace them before the first message.
    pub calls: Calls,
    /// How many calls the set is to keep, as long as nobody waits.
    pub calls_kept_max: u32,
    pub now: Instant,
    pub id: ConnectionId,
    /// The socket that was dialled last, until it is aborted.
    pub socket: Option<SocketId>,
    /// What the client wrote to that socket and the test has not taken.
    pub written: Vec<u8>,
    /// How many bytes the socket's kernel accepts at a time.
    pub kernel_takes: usize,
    /// Whether the kernel accepts anything.
    pub is_blocked: bool,
    pub batches: Vec<Batch>,
    pub events: Vec<Event>,
    pub letters: Vec<DeadLetter>,
    pub fates: Vec<(u64, Fate)>,
    pub outcomes: Vec<(MessageId, Outcome)>,
    pub removed: Vec<ConnectionReport>,
    pub next_timeout: Option<Instant>,
    pub dials: Vec<Instant>,
    asks_again: bool,
    /// What was read and not taken.
    leftover: Vec<u8>,
}

impl Pair {
    pub fn new(settings: Settings, hooks: Hooks) -> Self {
        Self::with(settings, hooks, Consumer::Pull, 1)
    }

    pub fn with(settings: Settings, hooks: Hooks, consumer: Consumer, seed: u64) -> Self {
        let target = Target::parse("ws://127.0.0.1:9/feed").expect("a good URL");
        Self::dialling(target, settings, hooks, consumer, seed)
    }

    pub fn dialling(
        target: Target,
        settings: Settings,
        hooks: Hooks,
        consumer: Consumer,
        seed: u64,
    ) -> Self {
        let config = Config::new(settings, hooks).expect("the test's settings are sound");
        let mut set = ConnectionSet::new(Seed::for_tests(seed)).sharing_calls();
        let now = Instant::ORIGIN + Duration::from_secs(1);
        let id = set.insert(now, target, Arc::new(config), consumer);
        let mut pair = Self {
            set,
            admission: Admission::new(AdmissionLimits::default()),
            calls: Calls::new(NonZeroU32::MAX),
            calls_kept_max: 0,
            now,
            id,
            socket: None,
            written: Vec::new(),
            kernel_takes: usize::MAX,
            is_blocked: false,
            batches: Vec::new(),
            events: Vec::new(),
            letters: Vec::new(),
            fates: Vec::new(),
            outcomes: Vec::new(),
            removed: Vec::new(),
            next_timeout: None,
            dials: Vec::new(),
            asks_again: true,
            leftover: Vec::new(),
        };
        pair.ask();
        pair
    }

    /// The same with its session open.
    pub fn opened(settings: Settings) -> Self {
        let mut pair = Self::new(settings, Hooks::default());
        pair.open();
        pair
    }

    /// Opens one more connection of the set, which is this one's from now on; returns its socket.
    pub fn open_another(&mut self, settings: Settings) -> SocketId {
        let target = Target::parse("ws://127.0.0.1:9/feed").expect("a good URL");
        let config = Config::new(settings, Hooks::default()).expect("they are sound");
        self.socket = None;
        let config = Arc::new(config);
        self.id = self.set.insert(self.now, target, config, Consumer::Pull);
        self.ask();
        self.open();
        self.socket.expect("it is open")
    }

    /// A consumer that takes nothing more.
    pub fn stop_asking(&mut self) {
        self.asks_again = false;
    }

    pub fn ask(&mut self) {
        self.handle(Input::Ask {
            connection: self.id,
        });
    }

    pub fn handle(&mut self, input: Input) {
        self.set.handle(self.now, input);
        self.drain();
    }

    pub fn send(&mut self, message: impl Into<Message>) -> MessageId {
        let message = message.into();
        let id = self
            .set
            .send(self.now, self.id, message, Report::Outcome)
            .expect("there is room");
        self.drain();
        id
    }

    /// Accepts the dialled socket and answers its upgrade request.
    pub fn open(&mut self) {
        self.accept();
        self.upgrade(b"");
    }

    pub fn accept(&mut self) {
        let socket = self.socket.expect("a socket was dialled");
        self.handle(Input::Connected { socket });
    }

    /// Answers the upgrade request, with `frames` in the same segment.
    pub fn upgrade(&mut self, frames: &[u8]) {
        self.upgrade_with("", frames);
    }

    /// The same, with further lines in the response.
    pub fn upgrade_with(&mut self, headers: &str, frames: &[u8]) {
        let request = self.take_written();
        let mut response = response_with(&request, headers);
        response.extend_from_slice(frames);
        self.receive(&response);
    }

    /// Brings bytes from the server; returns how many were taken.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let socket = self.socket.expect("there is a socket");
        let taken = self.set.handle_input(self.now, socket, &mut bytes.to_vec());
        self.drain();
        taken
    }

    /// Brings bytes as a socket does: what is read goes into the set's own memory, `at_once` bytes at a time at most. Returns how many were read:
    /// fewer than given only if no more is wanted. What was read and not taken comes back first.
    pub fn read(&mut self, bytes: &[u8], at_once: usize) -> usize {
        let mut read = 0;
        while let Some(socket) = self.socket.filter(|it| self.set.wants_read(*it)) {
            if !self.leftover.is_empty() {
                let taken = self.set.handle_input(self.now, socket, &mut self.leftover);
                self.leftover.drain(..taken);
            } else if read < bytes.len() {
                let buffer = self.set.read_buffer(socket);
                let len = buffer.len().min(at_once).min(bytes.len() - read);
                buffer[..len].copy_from_slice(&bytes[read..read + len]);
                self.leftover
                    .extend_from_slice(self.set.handle_read(self.now, len));
                read += len;
            } else {
                break;
            }
            self.drain();
        }
        read
    }

    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    /// Lets time pass, with every deadline met on its nanosecond.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..OUTPUTS_MAX {
            match self.next_timeout {
                Some(at) if at <= end => {
                    assert!(at > self.now, "a deadline lies in the past");
                    self.now = at;
                    self.handle(Input::Timeout);
                }
                Some(_) | None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("time does not pass");
    }

    pub fn state(&self) -> State {
        self.set.state(self.id).expect("the connection is there")
    }

    pub fn kinds(&self) -> Vec<&EventKind> {
        self.events.iter().map(|event| &event.kind).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        let messages = self.batches.iter().flat_map(|batch| batch.iter());
        messages
            .map(|message| message.text().expect("text").to_owned())
            .collect()
    }

    pub fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let output = self.set.poll_output(self.now);
            if let Output::Idle { next_timeout } = output {
                self.set.check_invariants();
                let admission = self.admission.poll_timeout();
                self.next_timeout = [next_timeout, admission].into_iter().flatten().min();
                if self.grant() {
                    continue;
                }
                return;
            }
            self.obey(output);
        }
        panic!("the outputs never end");
    }

    fn grant(&mut self) -> bool {
        let Some(grant) = self.admission.poll_grant(self.now) else {
            return false;
        };
        let input = Input::Admitted {
            connection: grant.ticket.connection,
            stage: grant.stage,
        };
        self.set.handle(self.now, input);
        true
    }

    fn obey(&mut self, output: Output) {
        match output {
            // The test answers.
            Output::Provide { .. } => {}
            Output::Resolve {
                connection,
                generation,
                port,
                ..
            } => {
                let input = Input::Resolved {
                    connection,
                    generation,
                    result: Ok(vec![([127, 0, 0, 1], port).into()]),
                };
                self.set.handle(self.now, input);
            }
            Output::Admission(request) => self.admit(request),
            Output::Call(request) => self.share(request),
            Output::Connect { socket, .. } => {
                self.socket = Some(socket);
                self.written.clear();
                self.dials.push(self.now);
            }
            Output::Transmit { socket } => self.write(socket),
            Output::ShutdownWrite { .. } => {}
            Output::Abort { socket } => {
                assert_eq!(self.socket, Some(socket), "only the live socket is aborted");
                self.socket = None;
            }
            Output::Read { .. } | Output::ReadAll { .. } | Output::Room { .. } => {}
            Output::Deliver(batch) => {
                let connection = batch.connection();
                self.batches.push(batch);
                if self.asks_again {
                    self.set.handle(self.now, Input::Ask { connection });
                }
            }
            Output::Outcome {
                message, outcome, ..
            } => self.outcomes.push((message, outcome)),
            Output::DeadLetter(letter) => self.letters.push(*letter),
            Output::Redriven { letter, fate, .. } => self.fates.push((letter, fate)),
            Output::Event(event) => self.events.push(*event),
            Output::Removed(report) => self.removed.push(*report),
            Output::Idle { .. } => {}
        }
    }

    /// Writes what the set offers, as much as the kernel takes.
    pub fn write(&mut self, socket: SocketId) {
        while let Some(transmit) = self.set.transmit(self.now, socket) {
            if self.is_blocked {
                return;
            }
            let taken = transmit.len().min(self.kernel_takes);
            self.written
                .extend_from_slice(&transmit.slices()[0][..taken]);
            transmit.advance(taken);
        }
    }

    /// The kernel accepts bytes again.
    pub fn unblock(&mut self) {
        self.is_blocked = false;
        let socket = self.socket.expect("there is a socket");
        self.write(socket);
        self.drain();
    }

    fn share(&mut self, request: CallRequest) {
        let ticket = |connection| Ticket {
            shard: 0,
            connection,
        };
        let granted = match request {
            CallRequest::Ask {
                connection,
                waiting,
            } => match self.calls.ask(ticket(connection), waiting) {
                Answer::Granted => Some(connection),
                Answer::Wait => None,
            },
            CallRequest::End { .. } => {
                self.calls.end(0);
                None
            }
            CallRequest::Withdraw { connection } => {
                self.calls.withdraw(ticket(connection));
                None
            }
        };
        if granted.is_some() && self.calls.keep(0) == Answer::Granted {
            self.set.keep_calls(self.calls_kept_max);
        }
        while self.calls.poll_recall().is_some() {
            self.set.keep_calls(0);
        }
        let next = self.calls.poll_grant().map(|ticket| ticket.connection);
        for connection in granted.into_iter().chain(next) {
            self.set.handle(self.now, Input::CallGranted { connection });
        }
    }

    fn admit(&mut self, request: AdmissionRequest) {
        let ticket = |connection| Ticket {
            shard: 0,
            connection,
        };
        match request {
            AdmissionRequest::Join(host) => self.admission.join(&host),
            AdmissionRequest::Leave(host) => self.admission.leave(&host),
            AdmissionRequest::Request {
                connection,
                host,
                dial,
            } => {
                self.admission
                    .request(self.now, ticket(connection), &host, dial);
            }
            AdmissionRequest::Narrow {
                connection,
                address,
            } => self.admission.narrow(self.now, ticket(connection), address),
            AdmissionRequest::Release { connection } => {
                self.admission.release(self.now, ticket(connection));
            }
            AdmissionRequest::TakeBytes(bytes) => {
                let granted = self.admission.take_bytes(0, bytes);
                if granted > 0 {
                    self.set.handle(self.now, Input::BytesGranted(granted));
                }
            }
            AdmissionRequest::GiveBytes(bytes) => self.admission.give_bytes(0, bytes),
        }
    }
}

/// The 101 that this upgrade request asks for.
pub fn response_to(request: &[u8]) -> Vec<u8> {
    response_with(request, "")
}

/// The same, with further header lines.
pub fn response_with(request: &[u8], headers: &str) -> Vec<u8> {
    let key = std::str::from_utf8(request)
        .expect("a request is text")
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .expect("the request has a key");
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// An unmasked frame with FIN set, as a server sends it.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(u8::try_from(len).expect("below 126")),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(len).expect("16 bits").to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(1, payload.as_bytes())
}

pub fn close(code: u16) -> Vec<u8> {
    frame(8, &code.to_be_bytes())
}

/// The client's frames in `bytes`, unmasked: opcode and payload. A frame that is cut is left out.
pub fn frames_of(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let frames = raw_frames_of(bytes).into_iter();
    frames
        .map(|(first, payload)| (first & 0x0f, payload))
        .collect()
}

/// The same, with the whole first byte of each.
pub fn raw_frames_of(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 6 {
        assert_eq!(bytes[1] & 0x80, 0x80, "client frames are masked");
        let (len, head) = match bytes[1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => {
                let len = u64::from_be_bytes(bytes[2..10].try_into().expect("8 bytes"));
                (usize::try_from(len).expect("fits"), 10)
            }
            len => (usize::from(len), 2),
        };
        if bytes.len() < head + 4 + len {
            break;
        }
        let mask = &bytes[head..head + 4];
        let payload = bytes[head + 4..head + 4 + len].iter().enumerate();
        let payload = payload.map(|(i, byte)| byte ^ mask[i % 4]).collect();
        frames.push((bytes[0], payload));
        bytes = &bytes[head + 4 + len..];
    }
    frames
}
