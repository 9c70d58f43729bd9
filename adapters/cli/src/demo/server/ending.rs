//! How sockets are ended, each way as a client would meet it in the wild.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::fault::{Ending, Fault, PortFault, SessionFault};
use super::gate::Phase;
use super::noise::mix;
use super::port::{AlreadyAway, Guest};
use super::session::{Session, is_pause, is_timeout};
use super::shared::Shared;

/// How long a client has to close its side.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// How long a silent socket is kept: far longer than any keepalive of the demo.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often a waiting session looks at the server's phase.
const GLANCE: Duration = Duration::from_millis(50);
/// Lets the client read half a frame before the reset takes it.
const BEFORE_RESET: Duration = Duration::from_millis(5);

/// How a silence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The client gave up.
    ClientGone,
    /// The port ended the socket.
    Evicted,
    /// The server heals or has waited long enough; the socket is still open.
    Over,
}

/// Ends an open session, all of whose bytes are written. `next` is the next number to send.
pub(super) fn inflict(mut session: Session<'_>, ending: Ending, next: u64) {
    if session.guest.is_evicted() {
        return;
    }
    let fault = match ending {
        Ending::Session(fault) => fault,
        Ending::Port(fault) => return leave_port(&session, fault),
    };
    match fault {
        SessionFault::Reset => reset(&session, fault),
        SessionFault::ResetMidFrame => {
            let frame = text_frame(session.feed().message(next).as_bytes());
            if write_raw(&session, &frame[..frame.len() / 2]).is_ok() {
                session.shared.gate.wait_for(Phase::Stopping, BEFORE_RESET);
                reset(&session, fault);
            }
        }
        SessionFault::HalfOpen => match keep_silent(&session.guest, session.shared) {
            Silence::ClientGone => count(&session, fault),
            // What the client has seen by then is a stream that ends.
            Silence::Over => end_stream(&session, SessionFault::EofWithoutClose),
            Silence::Evicted => {}
        },
        SessionFault::Close1001 => close(&mut session, fault, CloseCode::Away),
        SessionFault::Close1011 => close(&mut session, fault, CloseCode::Error),
        SessionFault::EofWithoutClose => end_stream(&session, fault),
        SessionFault::ProtocolViolation => {
            if write_raw(&session, &forbidden_frame(session.shared.seed, next)).is_ok() {
                count(&session, fault);
                finish(&session.guest);
            }
        }
    }
}

/// Neither answers nor sends anything until the client has gone.
///
/// What comes is read and thrown away: to the client that looks as if nobody read it, and it shows at once
/// when the client ends the socket.
pub(super) fn keep_silent(guest: &Guest, shared: &Shared) -> Silence {
    let deadline = Instant::now() + SILENCE_MAX;
    match discard_until(guest, || {
        Instant::now() > deadline || shared.gate.phase() != Phase::Hostile
    }) {
        Discarded::WaitEnded => Silence::Over,
        Discarded::SocketEnded if guest.is_evicted() => Silence::Evicted,
        Discarded::SocketEnded => Silence::ClientGone,
    }
}

/// Ends the server's side and waits a while for the client's.
///
/// To close with bytes unread would reset the socket, and could destroy what the client has not read yet.
pub(super) fn finish(guest: &Guest) {
    let deadline = Instant::now() + FINISH_MAX;
    if guest.stream.shutdown(Shutdown::Write).is_ok() {
        discard_until(guest, || Instant::now() > deadline);
    }
}

fn close(session: &mut Session<'_>, fault: SessionFault, code: CloseCode) {
    let frame = CloseFrame {
        code,
        reason: "the demo closes".into(),
    };
    if session.socket.close(Some(frame)).is_err() {
        return;
    }
    count(session, fault);
    let deadline = Instant::now() + FINISH_MAX;
    while Instant::now() < deadline {
        match session.hear(GLANCE) {
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            // The client's close frame was read, or the client has gone without one.
            Err(_) => break,
        }
    }
    finish(&session.guest);
}

fn end_stream(session: &Session<'_>, fault: SessionFault) {
    count(session, fault);
    finish(&session.guest);
}

/// Makes the end of the socket, which comes with that of the session, a reset.
fn reset(session: &Session<'_>, fault: SessionFault) {
    if SockRef::from(&*session.guest.stream)
        .set_linger(Some(Duration::ZERO))
        .is_ok()
    {
        count(session, fault);
    }
}

fn leave_port(session: &Session<'_>, fault: PortFault) {
    match (session.guest.port.take_away(fault), fault) {
        (Ok(()), PortFault::Restart) => {}
        (Ok(()), PortFault::Refused) => finish(&session.guest),
        (Err(AlreadyAway), PortFault::Restart | PortFault::Refused) => {
            end_stream(session, SessionFault::EofWithoutClose);
        }
    }
}

fn count(session: &Session<'_>, fault: SessionFault) {
    session.shared.faults.count(Fault::Session(fault));
}

fn write_raw(session: &Session<'_>, bytes: &[u8]) -> io::Result<()> {
    (&*session.guest.stream).write_all(bytes)
}

const FIN_TEXT: u8 = 0b1000_0001;
const RESERVED_1: u8 = 0b0100_0000;
const MASKED: u8 = 0b1000_0000;

/// A frame with a reserved bit that no extension has claimed, or one that is masked.
fn forbidden_frame(seed: u64, number: u64) -> Vec<u8> {
    const PAYLOAD: &[u8] = br#"{"seq":0,"kind":"tick","price":0.00}"#;
    let mut frame = text_frame(PAYLOAD);
    if mix([seed, number]).is_multiple_of(2) {
        frame[0] |= RESERVED_1;
    } else {
        frame[1] |= MASKED;
        // A mask of zeros leaves the payload as it is.
        frame.splice(2..2, [0; 4]);
    }
    frame
}

/// A text frame with a short payload (RFC 6455 §5.2).
fn text_frame(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len())
        .ok()
        .filter(|length| *length < 126)
        .expect("the messages of the demo are shorter than 126 bytes");
    let mut frame = vec![FIN_TEXT, length];
    frame.extend_from_slice(payload);
    frame
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Discarded {
    /// The socket has ended.
    SocketEnded,
    /// The socket is still open.
    WaitEnded,
}

/// Throws away what the client sends until it ends the socket, or `is_over`.
fn discard_until(guest: &Guest, is_over: impl Fn() -> bool) -> Discarded {
    let mut stream = &*guest.stream;
    let mut chunk = [0; 4096];
    if stream.set_read_timeout(Some(GLANCE)).is_err() {
        return Discarded::SocketEnded;
    }
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Discarded::SocketEnded,
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => return Discarded::SocketEnded,
        }
        if is_over() {
            return Discarded::WaitEnded;
        }
    }
}
