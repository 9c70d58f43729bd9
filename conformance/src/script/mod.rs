//! A scripted server for one socket, as a pure machine: bytes in, [`Act`]s out.
//!
//! The simulator and the loopback servers run the same machine. Its WebSocket is tungstenite's
//! `WebSocketContext` in the server's role over a buffer in memory; what a well-behaved server cannot say goes
//! around it as raw bytes.

mod http;
mod peer;
mod steps;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use self::http::Request;
use self::peer::{Heard, Peer};
pub use self::steps::{DialPlan, Greeting, Step};
use crate::wire::{Coding, FrameReader, Side, Unit, client_frame};

/// What the machine wants done with its socket, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write all of this.
    Write(Vec<u8>),
    /// End the writing half.
    ShutdownWrite,
    /// Drop the socket so that the peer sees a reset.
    Reset,
    /// Do not read.
    StopReading,
    /// Read again.
    StartReading,
    /// Call [`Script::woke`] after this long; do the acts after it only then.
    Sleep(Duration),
}

/// What the server saw, for the trace.
pub type Note = String;

/// A script under way.
#[derive(Debug)]
pub struct Script {
    steps: VecDeque<Step>,
    http: Request,
    peer: Option<Peer>,
    /// Reads the client's frames a second time, more strictly than the peer, and decompresses them.
    frames: FrameReader,
    acts: VecDeque<Act>,
    notes: Vec<Note>,
    signals: BTreeSet<String>,
    corked: Option<Vec<u8>>,
    pace: Option<(usize, Duration)>,
    inbox: Inbox,
    flow: Flow,
    /// Pauses that were ordered and are not over.
    pauses: usize,
    reading: Reading,
    client: Client,
    problem: Option<String>,
}

/// What arrived and no step has asked for yet.
#[derive(Debug, Default)]
struct Inbox {
    data: VecDeque<Heard>,
    pings: usize,
    pongs: VecDeque<Vec<u8>>,
    close_seen: bool,
    stalled_bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// The next step can run.
    Running,
    /// A sleep was ordered and is not over.
    Sleeping,
    /// The socket is gone, or our half is ended.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Present,
    Gone,
}

impl Script {
    /// Starts the steps of an accepted dial. `signals` were given before.
    pub fn new(steps: &[Step], signals: BTreeSet<String>) -> Self {
        let mut script = Self {
            steps: steps.iter().cloned().collect(),
            http: Request::default(),
            peer: None,
            frames: FrameReader::new(Side::Client),
            acts: VecDeque::new(),
            notes: Vec::new(),
            signals,
            corked: None,
            pace: None,
            inbox: Inbox::default(),
            flow: Flow::Running,
            pauses: 0,
            reading: Reading::On,
            client: Client::Present,
            problem: None,
        };
        script.run();
        script
    }

    /// Bytes of the client arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.reading == Reading::Off {
            self.inbox.stalled_bytes.extend_from_slice(bytes);
            return;
        }
        self.hear(bytes);
        self.run();
    }

    /// The client ended its half, or its end of the connection broke.
    pub fn client_gone(&mut self) {
        self.client = Client::Gone;
        self.run();
    }

    /// The story gave a signal.
    pub fn signal(&mut self, name: &str) {
        self.signals.insert(name.to_owned());
        self.run();
    }

    /// The pause that [`Act::Sleep`] asked for is over.
    pub fn woke(&mut self) {
        self.pauses = self.pauses.saturating_sub(1);
        if self.flow == Flow::Sleeping && self.pauses == 0 {
            self.flow = Flow::Running;
        }
        self.run();
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// What was seen since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// What did not happen as the script expected.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.flow != Flow::Sleeping
    }

    /// The step that is waited for, for a report of what hangs.
    pub fn waiting_for(&self) -> Option<&Step> {
        self.steps.front()
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some(peer) = &mut self.peer else {
            self.http.push(bytes);
            return;
        };
        let units = match self.frames.read_coded(bytes) {
            Ok(units) => units,
            Err(rule) => {
                self.problem
                    .get_or_insert(format!("the client broke a rule: {rule}"));
                return;
            }
        };
        if self.frames.is_inflating() {
            for (unit, coding) in units {
                self.hear_inflated(&unit, coding);
            }
        } else {
            peer.receive(bytes);
            self.listen();
        }
    }

    /// Gives the peer, who knows no compression, what it would have got without.
    fn hear_inflated(&mut self, unit: &Unit, coding: Coding) {
        let (opcode, payload) = match unit {
            Unit::Text(payload) => (1, payload),
            Unit::Binary(payload) => (2, payload),
            Unit::Close(payload) => (8, payload),
            Unit::Ping(payload) => (9, payload),
            Unit::Pong(payload) => (10, payload),
        };
        if coding == Coding::Deflated {
            self.notes.push("deflated".into());
        }
        if let Some(peer) = &mut self.peer {
            peer.receive(&client_frame(0x80 | opcode, payload, [1; 4]));
        }
        self.listen();
    }

    /// Takes what the peer makes of the bytes it has.
    fn listen(&mut self) {
        let Some(peer) = &mut self.peer else {
            return;
        };
        let heard = peer.listen();
        let replies = peer.take_written();
        if !replies.is_empty() {
            self.write(replies);
        }
        for item in heard {
            match item {
                Heard::Text(_) | Heard::Binary(_) => {
                    self.notes.push(item.to_string());
                    self.inbox.data.push_back(item);
                }
                Heard::Ping => self.inbox.pings += 1,
                Heard::Pong(payload) => self.inbox.pongs.push_back(payload),
                Heard::Close(_) => {
                    self.notes.push(item.to_string());
                    self.inbox.close_seen = true;
                }
                Heard::Closed => {
                    if self.flow != Flow::Over && !self.has_planned_end() {
                        self.end(Act::ShutdownWrite);
                    }
                }
                Heard::Violation(text) => {
                    self.problem
                        .get_or_insert(format!("the client broke the protocol: {text}"));
                }
            }
        }
    }

    /// Whether a later step says how the socket ends, so that the end of the close handshake does not.
    fn has_planned_end(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Reset | Step::Eof | Step::Stall | Step::Sleep(_)))
    }

    fn run(&mut self) {
        while self.flow == Flow::Running {
            let Some(step) = self.steps.front().cloned() else {
                self.serve();
                return;
            };
            match self.try_step(&step) {
                Ok(Done::Yes) => {
                    self.steps.pop_front();
                }
                Ok(Done::NotYet) => return,
                Err(problem) => {
                    self.problem.get_or_insert(problem);
                    self.steps.clear();
                    self.end(Act::Reset);
                }
            }
        }
    }

    /// All steps are done: wait for the client to leave.
    fn serve(&mut self) {
        if self.client == Client::Gone && self.reading == Reading::On {
            self.end(Act::ShutdownWrite);
        }
    }

    fn try_step(&mut self, step: &Step) -> Result<Done, String> {
        match step {
            Step::Upgrade(headers) => {
                return self.answer_request(|accept| http::switching(accept, headers));
            }
            Step::UpgradeDeflating(parameters) => {
                let agreed = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}");
                let is_offered = self.http.contains(b"permessage-deflate");
                let headers = Vec::from_iter(is_offered.then_some(agreed));
                return self.answer_request(|accept| http::switching(accept, &headers));
            }
            Step::Respond(template) => {
                return self.answer_request(|accept| http::fill(template, accept));
            }
            Step::Status(status, headers) => {
                if !self.http.is_complete() {
                    return self.unless_gone("the request");
                }
                self.write(http::status(*status, headers));
            }
            Step::ExpectRequest(part) => {
                if !self.http.is_complete() {
                    return self.unless_gone("the request");
                }
                if !self.http.contains(part) {
                    let part = String::from_utf8_lossy(part);
                    return Err(format!("the request does not contain {part:?}"));
                }
            }
            Step::SendText(text) => self.say(|peer| peer.send_text(text))?,
            Step::SendBinary(bytes) => self.say(|peer| peer.send_binary(bytes))?,
            Step::SendPing(bytes) => self.say(|peer| peer.send_ping(bytes))?,
            Step::SendRaw(bytes) => self.write(bytes.clone()),
            Step::Close(frame) => self.say(|peer| peer.close(frame.as_ref()))?,
            Step::Echo => {
                while let Some(item) = self.inbox.data.pop_front() {
                    match &item {
                        Heard::Text(text) => self.say(|peer| peer.send_text(text))?,
                        Heard::Binary(bytes) => self.say(|peer| peer.send_binary(bytes))?,
                        Heard::Ping
                        | Heard::Pong(_)
                        | Heard::Close(_)
                        | Heard::Closed
                        | Heard::Violation(_) => {}
                    }
                }
                if self.client == Client::Present {
                    return Ok(Done::NotYet);
                }
            }
            Step::ExpectText(text) => return self.expect_data(&Heard::Text(text.clone())),
            Step::ExpectBinary(bytes) => return self.expect_data(&Heard::Binary(bytes.clone())),
            Step::ExpectPing => {
                if self.inbox.pings == 0 {
                    return self.unless_gone("a ping");
                }
                self.inbox.pings -= 1;
            }
            Step::ExpectPong(payload) => match self.inbox.pongs.pop_front() {
                None => return self.unless_gone("a pong"),
                Some(pong) if pong == *payload => {}
                Some(pong) => return Err(format!("expected the pong {payload:?}, not {pong:?}")),
            },
            Step::ExpectClose => {
                if !self.inbox.close_seen {
                    return self.unless_gone("a close frame");
                }
            }
            Step::ExpectEnd => {
                if self.client == Client::Present {
                    return Ok(Done::NotYet);
                }
            }
            Step::Reset => self.end(Act::Reset),
            Step::Eof => self.end(Act::ShutdownWrite),
            Step::Stall => {
                self.acts.push_back(Act::StopReading);
                self.reading = Reading::Off;
            }
            Step::Unstall => {
                self.acts.push_back(Act::StartReading);
                self.reading = Reading::On;
                let bytes = std::mem::take(&mut self.inbox.stalled_bytes);
                self.hear(&bytes);
            }
            Step::Cork => self.corked = Some(Vec::new()),
            Step::Uncork => {
                if let Some(bytes) = self.corked.take() {
                    self.write(bytes);
                }
            }
            Step::Pace(bytes, pause) => self.pace = Some((*bytes, *pause)),
            Step::Sleep(time) => {
                self.pause(*time);
                self.flow = Flow::Sleeping;
            }
            Step::Await(name) => {
                if !self.signals.contains(name) {
                    return Ok(Done::NotYet);
                }
            }
        }
        Ok(Done::Yes)
    }

    fn answer_request(&mut self, answer: impl FnOnce(&str) -> Vec<u8>) -> Result<Done, String> {
        if !self.http.is_complete() {
            return self.unless_gone("the request");
        }
        let accept = self.http.accept()?;
        let answer = answer(&accept);
        self.frames.agree(&answer);
        self.write(answer);
        self.peer = Some(Peer::new());
        let early = self.http.take_rest();
        if !early.is_empty() {
            return Err("the client sent bytes before the response (RFC 6455 §4.1)".into());
        }
        Ok(Done::Yes)
    }

    fn expect_data(&mut self, expected: &Heard) -> Result<Done, String> {
        match self.inbox.data.pop_front() {
            None => self.unless_gone("a data message"),
            Some(item) if item == *expected => Ok(Done::Yes),
            Some(item) => Err(format!("expected {expected}, not {item}")),
        }
    }

    fn unless_gone(&self, what: &str) -> Result<Done, String> {
        match self.client {
            Client::Present => Ok(Done::NotYet),
            Client::Gone => Err(format!("expected {what}, and the client left")),
        }
    }

    fn say(&mut self, speak: impl FnOnce(&mut Peer) -> Result<(), String>) -> Result<(), String> {
        let peer = self
            .peer
            .as_mut()
            .ok_or("nothing can be sent before `upgrade`")?;
        speak(peer)?;
        let written = peer.take_written();
        self.write(written);
        self.listen();
        Ok(())
    }

    fn write(&mut self, bytes: Vec<u8>) {
        if let Some(corked) = &mut self.corked {
            corked.extend_from_slice(&bytes);
            return;
        }
        match self.pace {
            None => self.acts.push_back(Act::Write(bytes)),
            Some((size, pause)) => {
                for piece in bytes.chunks(size.max(1)) {
                    self.pause(pause);
                    self.acts.push_back(Act::Write(piece.to_vec()));
                }
            }
        }
    }

    fn pause(&mut self, time: Duration) {
        self.pauses += 1;
        self.acts.push_back(Act::Sleep(time));
    }

    fn end(&mut self, act: Act) {
        self.acts.push_back(act);
        self.flow = Flow::Over;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Yes,
    NotYet,
}

#[cfg(test)]
mod tests;
