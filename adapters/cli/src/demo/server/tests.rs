//! The server as its clients see it, over real sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

use super::fault::{DialFault, Fault, PortFault, SessionFault};
use super::{DemoOptions, DemoServer};

fn server(connections: usize, faults: &[Fault]) -> DemoServer {
    DemoServer::start(&DemoOptions {
        // So many that sessions live as short as they may.
        faults_wanted: u32::MAX,
        faults: faults.to_vec(),
        ..DemoOptions::new(11, connections, Duration::from_secs(20))
    })
    .unwrap()
}

#[test]
fn resume_gives_exactly_the_numbers_asked_for() {
    let server = server(2, &[]);
    for from in [1, 57, 5, 80] {
        let mut client = resume(&server, 1, from);
        for number in from..from + 40 {
            assert_eq!(next_number(&mut client), number);
        }
    }
    let report = server.stop();
    assert!(report.feeds[1].last >= 119);
    assert_eq!(report.sockets_accepted, 4);
    assert!(report.faults.is_empty());
}

#[test]
fn same_number_is_the_same_message_on_every_socket() {
    let server = server(1, &[]);
    let texts = |from| {
        let mut client = resume(&server, 0, from);
        let mut texts: Vec<_> = (from..=60).map(|_| client.read().unwrap()).collect();
        texts.split_off(texts.len() - 10)
    };
    assert_eq!(texts(1), texts(40));
}

#[test]
fn ping_is_answered() {
    let server = server(1, &[]);
    let mut client = resume(&server, 0, 1_000_000);
    for payload in ["one", "two", "three"] {
        client.send(Message::Ping(payload.into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong(payload.into()));
    }
}

#[test]
fn close_of_the_client_is_answered() {
    let server = server(1, &[]);
    let mut client = resume(&server, 0, 1_000_000);
    client.close(None).unwrap();
    assert_eq!(client.read().unwrap(), Message::Close(None));
    assert!(matches!(
        client.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
}

#[test]
fn nonsense_is_refused() {
    let server = server(1, &[]);
    let unknown = server.url(0).replace("/feed/0", "/feed/1");
    let Seen::Status(404) = Client::new(&unknown).dial() else {
        panic!("a feed that does not exist was served");
    };
    let mut client = connect(&server.url(0));
    client
        .send(Message::text(r#"{"op":"resume","from":0}"#))
        .unwrap();
    let Message::Close(Some(frame)) = client.read().unwrap() else {
        panic!("a resume from 0 was accepted");
    };
    assert_eq!(u16::from(frame.code), 1008);
}

#[test]
fn reset_is_between_two_frames() {
    assert_one_client_sees(SessionFault::Reset, &Seen::Reset { unfinished: 0 });
}

#[test]
fn reset_mid_frame_leaves_half_a_frame() {
    let server = server(1, &[Fault::Session(SessionFault::ResetMidFrame)]);
    let Seen::Reset { unfinished } = Client::new(&server.url(0)).dial() else {
        panic!("no reset");
    };
    assert!(unfinished > 2);
    assert_eq!(server.stop().faults["reset_mid_frame"], 1);
}

#[test]
fn half_open_socket_answers_no_ping() {
    assert_one_client_sees(SessionFault::HalfOpen, &Seen::Silence);
}

#[test]
fn close_1001_is_a_close_frame() {
    assert_one_client_sees(SessionFault::Close1001, &Seen::Close(1001));
}

#[test]
fn close_1011_is_a_close_frame() {
    assert_one_client_sees(SessionFault::Close1011, &Seen::Close(1011));
}

#[test]
fn eof_comes_without_a_close_frame() {
    assert_one_client_sees(SessionFault::EofWithoutClose, &Seen::Eof);
}

#[test]
fn protocol_violation_is_a_forbidden_frame_and_comes_once_a_feed() {
    let violation = Fault::Session(SessionFault::ProtocolViolation);
    let eof = Fault::Session(SessionFault::EofWithoutClose);
    let server = server(1, &[violation, eof]);
    let mut client = Client::new(&server.url(0));
    let seen: Vec<_> = (0..5).map(|_| client.dial()).collect();
    let violations = seen.iter().filter(|seen| **seen == Seen::Violation);
    assert_eq!(violations.count(), 1, "{seen:?}");
    let counts = server.stop().faults;
    assert_eq!(counts["protocol_violation"], 1);
    assert_eq!(counts["eof_without_close"], 4);
}

#[test]
fn faults_of_dials_meet_the_dials_after_a_session() {
    for (fault, as_seen) in [
        (DialFault::ClosedAtOnce, Seen::ClosedAtOnce),
        (DialFault::UpgradeStalled, Seen::Stalled),
        (DialFault::Http503, Seen::Status(503)),
    ] {
        let (fault, eof) = (
            Fault::Dial(fault),
            Fault::Session(SessionFault::EofWithoutClose),
        );
        let server = server(1, &[fault, eof]);
        let mut client = Client::new(&server.url(0));
        let (mut dials, mut sessions) = (0, 0);
        while dials < 2 {
            let end = client.dial();
            if end == as_seen {
                dials += 1;
            } else {
                assert_eq!(end, Seen::Eof, "instead of {}", fault.name());
                sessions += 1;
            }
        }
        wait_for_count(&server, fault, dials);
        let counts = server.stop().faults;
        assert_eq!(counts[fault.name()], dials);
        assert_eq!(counts["eof_without_close"], sessions);
    }
}

#[test]
fn refusal_ends_one_session_and_refuses_dials() {
    let server = server(1, &[Fault::Port(PortFault::Refused)]);
    let mut client = Client::new(&server.url(0));
    let mut sessions = 0;
    while client.dial() != Seen::Refused {
        sessions += 1;
    }
    // The port is back after a while.
    while client.dial() == Seen::Refused {}
    assert!(server.stop().faults["refused"] >= sessions);
    assert!(sessions >= 1);
}

#[test]
fn restart_ends_every_session_of_the_port() {
    let server = server(3, &[Fault::Port(PortFault::Restart)]);
    let mut idle = [0, 1].map(|feed| connect(&server.url(feed)));
    let mut client = Client::new(&server.url(2));
    while client.dial() != Seen::Refused {}
    for bystander in &mut idle {
        assert!(bystander.read().is_err());
    }
    while client.dial() == Seen::Refused {}
    assert!(server.stop().faults["restart"] >= 1);
}

#[test]
fn no_message_is_lost_by_clients_that_resume() {
    const THREADS: usize = 11;
    let server = server(THREADS + 1, &Fault::ALL);
    let healed = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|feed| {
            let (mut client, healed) = (Client::new(&server.url(feed)), Arc::clone(&healed));
            thread::spawn(move || (client.dial_until(&healed), client.next - 1))
        })
        .collect();
    // The last client is this thread's, and gives it its pace.
    let mut client = Client::new(&server.url(THREADS));
    let mut seen: BTreeMap<Seen, u64> = BTreeMap::new();
    while server.report().faults.values().any(|count| *count < 2) {
        *seen.entry(client.dial()).or_default() += 1;
    }
    server.stop_faults();
    healed.store(true, Ordering::SeqCst);

    let mut clients: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    clients.push((client.dial_until(&healed), client.next - 1));
    let mut received = Vec::new();
    for (of_client, last) in clients {
        received.push(last);
        for (end, count) in of_client {
            *seen.entry(end).or_default() += count;
        }
    }
    let report = server.stop();
    let produced: Vec<_> = report.feeds.iter().map(|feed| feed.last).collect();
    assert_eq!(received, produced);
    for (name, as_seen) in [
        ("http_503", Seen::Status(503)),
        ("close_1001", Seen::Close(1001)),
        ("close_1011", Seen::Close(1011)),
        ("protocol_violation", Seen::Violation),
    ] {
        assert_eq!(report.faults[name], seen[&as_seen], "{name}: {seen:?}");
    }
    // A client may give up just when the server heals.
    assert!(report.faults["half_open"] <= seen[&Seen::Silence]);
    assert!(report.faults["upgrade_stalled"] <= seen[&Seen::Stalled]);
}

#[test]
fn healed_server_serves_and_produces_no_more() {
    let server = server(1, &Fault::ALL);
    let mut client = Client::new(&server.url(0));
    client.dial();
    server.stop_faults();
    let healed = server.report();
    while client.dial() != Seen::Idle {}
    assert_eq!(client.next - 1, healed.feeds[0].last);
    assert_eq!(server.stop().feeds, healed.feeds);
}

#[test]
fn stop_leaves_no_thread_and_no_socket() {
    let server = server(8, &Fault::ALL);
    let urls: Vec<_> = (0..3).map(|feed| server.url(feed)).collect();
    // A session, a client that has said nothing, and one that has not even asked for an upgrade.
    let open = [resume(&server, 0, 1), connect(&urls[1])];
    let mut dialled = TcpStream::connect(address_of(&urls[2])).unwrap();
    let shared = Arc::downgrade(&server.shared);
    server.stop();
    assert_eq!(shared.strong_count(), 0, "a thread is left");
    for mut client in open {
        while client.read().is_ok() {}
    }
    assert!(matches!(dialled.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn stop_does_not_wait_for_faults_that_last() {
    let server = server(1, &[Fault::Session(SessionFault::HalfOpen)]);
    let mut client = resume(&server, 0, 1);
    let shared = Arc::downgrade(&server.shared);
    // The longest gap between two bursts is shorter than this, so the session is half open by then.
    client
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    while client.read().is_ok() {}
    let report = server.stop();
    assert_eq!(shared.strong_count(), 0);
    assert_eq!(report.faults["half_open"], 0, "the client has not given up");
}

fn assert_one_client_sees(fault: SessionFault, expected: &Seen) {
    let fault = Fault::Session(fault);
    let server = server(1, &[fault]);
    assert_eq!(Client::new(&server.url(0)).dial(), *expected);
    wait_for_count(&server, fault, 1);
    assert_eq!(server.stop().faults[fault.name()], 1);
}

/// Waits until the server, too, knows how a socket ended.
fn wait_for_count(server: &DemoServer, fault: Fault, count: u64) {
    while server.report().faults[fault.name()] < count {
        thread::yield_now();
    }
}

fn address_of(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

fn connect(url: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address_of(url)).unwrap();
    tungstenite::client(url, stream).unwrap().0
}

fn resume(server: &DemoServer, feed: usize, from: u64) -> WebSocket<TcpStream> {
    let mut client = connect(&server.url(feed));
    client
        .send(Message::text(format!(r#"{{"op":"resume","from":{from}}}"#)))
        .unwrap();
    let answer: Value = serde_json::from_str(client.read().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(answer, serde_json::json!({ "op": "resumed", "from": from }));
    client
}

fn next_number(client: &mut WebSocket<TcpStream>) -> u64 {
    let message = client.read().unwrap();
    let value: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    value["seq"].as_u64().unwrap()
}

/// How a dial ended, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Refused,
    ClosedAtOnce,
    Stalled,
    Status(u16),
    Eof,
    Reset {
        unfinished: usize,
    },
    Close(u16),
    Violation,
    /// Nothing comes, not even a pong.
    Silence,
    /// Nothing comes but pongs.
    Idle,
}

/// A client on a bare socket, which sees each byte, resumes with each dial, and checks that no number is
/// missing.
struct Client {
    url: String,
    next: u64,
}

/// After this time without a byte a client asks for a sign of life, and after it again it gives up. The
/// bursts of a feed are closer to each other.
const KEEPALIVE: Duration = Duration::from_millis(700);

impl Client {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            next: 1,
        }
    }

    /// Dials, resumes, and receives until the socket ends or nothing more comes.
    fn dial(&mut self) -> Seen {
        let mut stream = match TcpStream::connect(address_of(&self.url)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Seen::Refused,
            // The listener went away with the dial in its queue.
            Err(_) => return Seen::ClosedAtOnce,
        };
        stream.set_read_timeout(Some(KEEPALIVE)).unwrap();
        match upgrade(&mut stream, &self.url) {
            Ok(101) => {}
            Ok(status) => return Seen::Status(status),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Seen::Stalled,
            Err(_) => return Seen::ClosedAtOnce,
        }
        let text = format!(r#"{{"op":"resume","from":{}}}"#, self.next);
        if write_masked(&mut stream, 0x81, text.as_bytes()).is_err() {
            return Seen::Eof;
        }
        self.receive(&mut stream)
    }

    /// Dials again and again, until it has all that there is after the server was `healed`.
    fn dial_until(&mut self, healed: &AtomicBool) -> BTreeMap<Seen, u64> {
        let mut seen = BTreeMap::new();
        loop {
            let is_last = healed.load(Ordering::SeqCst);
            let end = self.dial();
            if is_last && end == Seen::Idle {
                return seen;
            }
            *seen.entry(end).or_default() += 1;
        }
    }

    fn receive(&mut self, stream: &mut TcpStream) -> Seen {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        let mut sign = SignOfLife::Recent;
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Seen::Eof,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => match sign {
                    SignOfLife::Recent => {
                        sign = SignOfLife::Asked;
                        // Fails if the socket has ended, as the next read says.
                        let _ = write_masked(stream, 0x89, b"");
                    }
                    SignOfLife::Asked => return Seen::Silence,
                    SignOfLife::OnlyPong => return Seen::Idle,
                },
                Err(_) => {
                    return Seen::Reset {
                        unfinished: bytes.len(),
                    };
                }
            }
            while let Some((first, payload)) = split_frame(&mut bytes) {
                match first {
                    0x81 => {
                        sign = SignOfLife::Recent;
                        self.take(&payload);
                    }
                    0x8a => sign = SignOfLife::OnlyPong,
                    0x88 => return Seen::Close(u16::from_be_bytes([payload[0], payload[1]])),
                    _ => return Seen::Violation,
                }
            }
        }
    }

    fn take(&mut self, text: &[u8]) {
        let value: Value = serde_json::from_slice(text).unwrap();
        if value["op"] == "resumed" {
            assert_eq!(value["from"], self.next);
        } else {
            assert_eq!(value["seq"], self.next, "a number is missing");
            self.next += 1;
        }
    }
}

enum SignOfLife {
    Recent,
    Asked,
    OnlyPong,
}

/// Takes one whole frame off the front. A masked one is given out with a first byte that is never valid.
fn split_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = bytes[..] else {
        return None;
    };
    if second & 0x80 != 0 {
        return Some((0xff, Vec::new()));
    }
    let end = 2 + usize::from(second);
    if bytes.len() < end {
        return None;
    }
    let frame: Vec<u8> = bytes.drain(..end).collect();
    Some((first, frame[2..].to_vec()))
}

fn write_masked(stream: &mut TcpStream, first: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}

/// Asks for an upgrade and returns the status of the answer.
fn upgrade(stream: &mut TcpStream, url: &str) -> io::Result<u16> {
    let host = address_of(url);
    let (_, path) = url.split_once(host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
}
