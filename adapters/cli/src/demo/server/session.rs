//! One accepted socket, from the upgrade to its end.

use std::io::{self, Cursor, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::ending::{self, Silence};
use super::fault::{DialFault, Ending, Fault};
use super::feed::Feed;
use super::gate::Phase;
use super::port::Guest;
use super::shared::Shared;

/// How long a client has for its request, and again for its first message.
const OPENING_MAX: Duration = Duration::from_secs(5);
/// An honest request is far smaller.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// So many messages are written before the session looks at what the client says.
const BATCH: u64 = 256;
/// How long a session sleeps when nothing is due.
const IDLE: Duration = Duration::from_millis(100);
/// How long a session sleeps when its client is slow to read.
const BEHIND: Duration = Duration::from_millis(1);

/// Serves a socket to its end, which `fault` may bring on at once.
pub(super) fn run(guest: Guest, fault: Option<DialFault>, shared: &Shared) {
    if fault == Some(DialFault::ClosedAtOnce) {
        shared.faults.count(Fault::Dial(DialFault::ClosedAtOnce));
        return;
    }
    let Ok(request) = read_request(&guest.stream) else {
        return;
    };
    match fault {
        None | Some(DialFault::ClosedAtOnce) => {}
        Some(DialFault::UpgradeStalled) => match ending::keep_silent(&guest, shared) {
            Silence::ClientGone => {
                shared.faults.count(Fault::Dial(DialFault::UpgradeStalled));
                return;
            }
            Silence::Evicted => return,
            Silence::Over => {}
        },
        Some(DialFault::Http503) => {
            if refuse(
                &guest.stream,
                "503 Service Unavailable",
                "Retry-After: 0\r\n",
            )
            .is_ok()
            {
                shared.faults.count(Fault::Dial(DialFault::Http503));
                ending::finish(&guest);
            }
            return;
        }
    }
    let Some(feed) = feed_of(&request).filter(|feed| *feed < shared.feeds.len()) else {
        if refuse(&guest.stream, "404 Not Found", "").is_ok() {
            ending::finish(&guest);
        }
        return;
    };
    let socket = Replay {
        request: Cursor::new(request),
        stream: Arc::clone(&guest.stream),
    };
    if let Ok(socket) = tungstenite::accept(socket) {
        Session {
            guest,
            socket,
            feed,
            shared,
        }
        .serve();
    }
}

/// An open session.
pub(super) struct Session<'a> {
    pub(super) guest: Guest,
    pub(super) socket: WebSocket<Replay>,
    pub(super) feed: usize,
    pub(super) shared: &'a Shared,
}

impl<'a> Session<'a> {
    fn serve(mut self) {
        let Some(from) = self.await_resume() else {
            return;
        };
        let resumed = format!(r#"{{"op":"resumed","from":{from}}}"#);
        if self.socket.write(Message::text(resumed)).is_err() {
            return;
        }
        if let Some((ending, next)) = self.send_from(from) {
            ending::inflict(self, ending, next);
        }
    }

    /// Sends the feed from number `next` on. Returns the fault that is to end the session, and the next
    /// number at that time; or None once the session has ended.
    fn send_from(&mut self, mut next: u64) -> Option<(Ending, u64)> {
        let feed = self.feed();
        let mut fault_at = self.draw_fault_time();
        loop {
            let now = Instant::now();
            let progress = feed.progress(now);
            let written = match self.socket.flush() {
                Ok(()) => {
                    let end = (progress.last + 1).min(next + BATCH);
                    while next < end {
                        self.socket.write(Message::text(feed.message(next))).ok()?;
                        next += 1;
                    }
                    self.socket.flush()
                }
                Err(error) => Err(error),
            };
            let wait = match written {
                Ok(()) if fault_at.is_some_and(|at| at <= now) => match self.draw_ending() {
                    Some(ending) => return Some((ending, next)),
                    None => {
                        fault_at = self.draw_fault_time();
                        BEHIND
                    }
                },
                Ok(()) if next <= progress.last => BEHIND,
                Ok(()) => [progress.next_at, fault_at]
                    .into_iter()
                    .flatten()
                    .map(|at| at.saturating_duration_since(now))
                    .fold(IDLE, Duration::min),
                Err(error) if is_pause(&error) => BEHIND,
                Err(_) => return None,
            };
            match self.hear(wait) {
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for the number to send from.
    fn await_resume(&mut self) -> Option<u64> {
        let deadline = Instant::now() + OPENING_MAX;
        while Instant::now() < deadline {
            match self.hear(IDLE) {
                Ok(Message::Text(text)) => {
                    let from = parse_resume(&text);
                    if from.is_none() {
                        let _ = self.socket.close(Some(CloseFrame {
                            code: CloseCode::Policy,
                            reason: "the first message must be a resume".into(),
                        }));
                        ending::finish(&self.guest);
                    }
                    return from;
                }
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Listens to the client for one message, at most for `wait`. Pings are answered at the next write.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Message, Error> {
        // Zero would mean for ever.
        self.guest.stream.set_read_timeout(Some(wait.max(BEHIND)))?;
        self.socket.read()
    }

    pub(super) fn feed(&self) -> &'a Feed {
        &self.shared.feeds[self.feed]
    }

    fn draw_fault_time(&self) -> Option<Instant> {
        match self.shared.gate.phase() {
            Phase::Hostile => Some(Instant::now() + self.shared.draw_life(self.feed)),
            Phase::Healed | Phase::Stopping => None,
        }
    }

    fn draw_ending(&self) -> Option<Ending> {
        match self.shared.gate.phase() {
            Phase::Hostile => {
                let hand = self.shared.faults.deal(self.feed);
                self.guest.port.meet_dials_with(hand.dials);
                hand.ending
            }
            Phase::Healed | Phase::Stopping => None,
        }
    }
}

/// Whether an operation only ran out of its time.
pub(super) fn is_pause(error: &Error) -> bool {
    matches!(error, Error::Io(error) if is_timeout(error))
}

/// Whether a blocking call only ran out of its time. Systems differ in the name.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The socket, with the request that was read from it put back in front.
pub(super) struct Replay {
    request: Cursor<Vec<u8>>,
    stream: Arc<TcpStream>,
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.request.read(buffer)? {
            0 => (&*self.stream).read(buffer),
            count => Ok(count),
        }
    }
}

impl Write for Replay {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}

/// Reads up to the empty line that ends a request. A client sends nothing more before the 101
/// (RFC 6455 §4.1).
fn read_request(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + OPENING_MAX;
    stream.set_read_timeout(Some(IDLE))?;
    let mut request = Vec::new();
    let mut chunk = [0; 2048];
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES_MAX || Instant::now() > deadline {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => request.extend_from_slice(&chunk[..count]),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(request)
}

fn refuse(mut stream: &TcpStream, status: &str, header: &str) -> io::Result<()> {
    let response =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n");
    stream.write_all(response.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

fn feed_of(request: &[u8]) -> Option<usize> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let path = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    path.strip_prefix("/feed/")?.parse().ok()
}

fn parse_resume(text: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let from = value.get("from")?.as_u64()?;
    (value.get("op")? == "resume" && from >= 1).then_some(from)
}
