//! A connection set whose sockets are arrays of bytes, in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::admission::{Admission, Ticket};
use ropewalk_core::{
    AdmissionLimits, AdmissionRequest, Batch, Config, ConnectionId, ConnectionSet, Consumer, Input,
    Instant, Kind, Message, Output, Packed, Report, Seed, SocketId, State, Target,
};
use tungstenite::handshake::derive_accept_key;

/// Open connections of one set.
pub struct Many {
    set: ConnectionSet,
    admission: Admission,
    now: Instant,
    next_timeout: Option<Instant>,
    /// Dialled, not yet accepted.
    dialled: VecDeque<SocketId>,
    /// In the order in which they had their turn.
    open: Vec<SocketId>,
    written: Vec<u8>,
    delivered: u64,
    consumer: Asks,
    /// What a consumer is busy with.
    handed_out: Option<Batch>,
}

/// When a consumer asks for the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    AtOnce,
    /// It is busy with the last.
    Later,
}

impl Many {
    /// So many open connections, whose consumers ask for what comes.
    ///
    /// # Panics
    /// If they do not open.
    pub fn open(count: usize) -> Self {
        let mut many = Self {
            set: ConnectionSet::new(Seed::for_tests(1)),
            admission: Admission::new(AdmissionLimits::default()),
            now: Instant::ORIGIN + Duration::from_secs(1),
            next_timeout: None,
            dialled: VecDeque::new(),
            open: Vec::with_capacity(count),
            written: Vec::new(),
            delivered: 0,
            consumer: Asks::AtOnce,
            handed_out: None,
        };
        let target = Target::parse("ws://127.0.0.1:9/feed").expect("a good URL");
        let config = Arc::new(Config::default());
        for _ in 0..count {
            let config = Arc::clone(&config);
            let id = many
                .set
                .insert(many.now, target.clone(), config, Consumer::Pull);
            many.ask(id);
        }
        while many.open.len() < count {
            if let Some(socket) = many.dialled.pop_front() {
                many.upgrade(socket);
            } else {
                many.now = many.next_timeout.expect("somebody waits for a turn");
                many.handle(Input::Timeout);
            }
        }
        many.written.clear();
        many
    }

    /// How many connections are open.
    pub fn count_open(&self) -> usize {
        self.open
            .iter()
            .filter(|socket| self.set.state(socket.connection) == Some(State::Open))
            .count()
    }

    /// How many messages were delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Brings bytes to a connection, a microsecond after the last, in as few reads as it takes, and hands over what is in them.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn receive(&mut self, connection: usize, bytes: &[u8]) {
        self.now += Duration::from_micros(1);
        let mut rest = bytes;
        while !rest.is_empty() {
            let buffer = self.set.read_buffer(self.open[connection]);
            assert!(!buffer.is_empty(), "everything before was taken");
            let (here, later) = rest.split_at(buffer.len().min(rest.len()));
            buffer[..here.len()].copy_from_slice(here);
            let left = self.set.handle_read(self.now, here.len());
            assert!(left.is_empty(), "everything before was taken");
            rest = later;
            self.drain();
        }
    }

    /// The same while the consumer is busy with its last batch: what comes waits.
    pub fn receive_while_busy(&mut self, connection: usize, bytes: &[u8]) {
        self.consumer = Asks::Later;
        self.receive(connection, bytes);
        self.consumer = Asks::AtOnce;
    }

    /// The consumer is done with its batch, asks for what waits, and is busy with that.
    pub fn ask_for_next(&mut self, connection: usize) {
        self.handed_out = None;
        self.consumer = Asks::Later;
        self.ask(self.open[connection].connection);
        self.consumer = Asks::AtOnce;
    }

    /// Sends a text on a connection, and takes it; returns how many bytes went out.
    ///
    /// # Panics
    /// If there is no room.
    pub fn send(&mut self, connection: usize, text: &str) -> usize {
        self.now += Duration::from_micros(1);
        self.written.clear();
        let id = self.open[connection].connection;
        self.set
            .send(self.now, id, Message::from(text), Report::Quiet)
            .expect("everything before was taken");
        self.drain();
        self.written.len()
    }

    /// Sends so many texts at once over a connection, packed; returns the bytes that go out.
    pub fn send_packed(&mut self, connection: usize, text: &str, messages: usize) -> usize {
        self.now += Duration::from_micros(1);
        self.written.clear();
        let id = self.open[connection].connection;
        let mut packed = Packed::default();
        for _ in 0..messages {
            assert!(packed.push_bytes(Kind::Text, text.as_bytes()), "it fits");
        }
        self.set.send_packed(self.now, id, packed, |refused| {
            unreachable!("everything before was taken: {refused}");
        });
        self.drain();
        self.written.len()
    }

    /// The earliest deadline of all, which is asked for when there is nothing to do.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.drain();
        self.next_timeout
    }

    fn ask(&mut self, connection: ConnectionId) {
        self.handle(Input::Ask { connection });
    }

    fn handle(&mut self, input: Input) {
        self.set.handle(self.now, input);
        self.drain();
    }

    /// Accepts a socket and answers its request.
    fn upgrade(&mut self, socket: SocketId) {
        self.written.clear();
        self.handle(Input::Connected { socket });
        let request = std::str::from_utf8(&self.written).expect("a request is text");
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("the request has a key");
        let accept = derive_accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let mut response = response.into_bytes();
        self.set.handle_input(self.now, socket, &mut response);
        self.drain();
        self.open.push(socket);
    }

    fn drain(&mut self) {
        loop {
            match self.set.poll_output(self.now) {
                Output::Idle { next_timeout } => {
                    let admission = self.admission.poll_timeout();
                    self.next_timeout = [next_timeout, admission].into_iter().flatten().min();
                    let Some(grant) = self.admission.poll_grant(self.now) else {
                        return;
                    };
                    let input = Input::Admitted {
                        connection: grant.ticket.connection,
                        stage: grant.stage,
                    };
                    self.set.handle(self.now, input);
                }
                Output::Connect { socket, .. } => self.dialled.push_back(socket),
                Output::Transmit { socket } => self.write(socket),
                Output::Deliver(batch) => {
                    self.delivered += batch.len() as u64;
                    let connection = batch.connection();
                    match self.consumer {
                        Asks::AtOnce => self.set.handle(self.now, Input::Ask { connection }),
                        Asks::Later => self.handed_out = Some(batch),
                    }
                }
                Output::Admission(request) => self.admit(request),
                Output::Event(_)
                | Output::Room { .. }
                | Output::Read { .. }
                | Output::ReadAll { .. } => {}
                unexpected @ (Output::Provide { .. }
                | Output::Call(_)
                | Output::Resolve { .. }
                | Output::ShutdownWrite { .. }
                | Output::Abort { .. }
                | Output::Outcome { .. }
                | Output::DeadLetter(_)
                | Output::Redriven { .. }
                | Output::Removed(_)) => panic!("nobody asked for {unexpected:?}"),
            }
        }
    }

    fn write(&mut self, socket: SocketId) {
        while let Some(transmit) = self.set.transmit(self.now, socket) {
            let len = transmit.len();
            self.written.extend_from_slice(&transmit.slices()[0]);
            transmit.advance(len);
        }
    }

    fn admit(&mut self, request: AdmissionRequest) {
        let ticket = |connection| Ticket {
            shard: 0,
            connection,
        };
        let now = self.now;
        match request {
            AdmissionRequest::Join(host) => self.admission.join(&host),
            AdmissionRequest::Leave(host) => self.admission.leave(&host),
            AdmissionRequest::Request {
                connection,
                host,
                dial,
            } => {
                self.admission.request(now, ticket(connection), &host, dial);
            }
            AdmissionRequest::Narrow {
                connection,
                address,
            } => self.admission.narrow(now, ticket(connection), address),
            AdmissionRequest::Release { connection } => {
                self.admission.release(now, ticket(connection));
            }
            AdmissionRequest::TakeBytes(bytes) => {
                let granted = self.admission.take_bytes(0, bytes);
                if granted > 0 {
                    self.set.handle(now, Input::BytesGranted(granted));
                }
            }
            AdmissionRequest::GiveBytes(bytes) => self.admission.give_bytes(0, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::text_frame;
    use crate::work::letters;

    #[test]
    fn all_connections_open_and_each_receives_and_sends() {
        let mut many = Many::open(40);
        assert_eq!(many.count_open(), 40);
        let block = text_frame(&letters(128)).repeat(3);
        for connection in 0..40 {
            many.receive(connection, &block);
            assert_eq!(many.send(connection, "hello"), 2 + 4 + 5);
        }
        assert_eq!(many.delivered(), 120);
        assert!(many.next_timeout().is_some(), "there is a keepalive");
    }

    #[test]
    fn what_comes_while_the_consumer_is_busy_is_handed_out_when_it_asks() {
        let mut many = Many::open(1);
        let frame = text_frame(&letters(128));
        many.receive_while_busy(0, &frame);
        assert_eq!(many.delivered(), 1, "it had asked before");
        for _ in 0..5 {
            many.receive_while_busy(0, &frame);
        }
        assert_eq!(many.delivered(), 1);
        many.ask_for_next(0);
        assert_eq!(many.delivered(), 6);
    }
}
