//! Servers that never come to the point: too much, too slowly, or nothing of use.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::tls::rustls::version::{TLS12, TLS13};
use ropewalk_core::tls::rustls::{HandshakeKind, SupportedProtocolVersion};
use ropewalk_core::{CloseReason, Hooks, Settings, State, TimerKind, TlsErrorKind};

use crate::pair::{frames_of, text};
use crate::server::{Authority, HOST, Secure, Setup, URL, record_types, trusting};
use crate::{last_closed, reset};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    let len = u16::try_from(fragment.len()).expect("a record's length");
    let mut record = vec![kind, 3, 3];
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(fragment);
    record
}

fn over(version: &'static SupportedProtocolVersion) -> Secure {
    let setup = Setup {
        versions: vec![version],
        ..Setup::default()
    };
    Secure::with(setup, Settings::default(), Hooks::default())
}

/// Sends this until the client has enough; how many bytes it took.
fn flood(secure: &mut Secure, first: &[u8], then: &[u8]) -> usize {
    secure.pair.receive(first);
    let mut bytes = first.len();
    while secure.pair.socket.is_some() && bytes < 1 << 20 {
        secure.pair.receive(then);
        bytes += then.len();
    }
    bytes
}

#[test]
fn a_handshake_that_never_ends_is_left_before_it_fills_memory() {
    // A ServerHello of 16 MiB; a change of ciphers, a warning and an empty record, again and again.
    let endless_hello = [&[2, 0xff, 0xff, 0xff][..], &[0x55; 16_000]].concat();
    let more = record(HANDSHAKE, &[0x55; 16_000]);
    for (first, then) in [
        (record(HANDSHAKE, &endless_hello), more),
        (
            record(CHANGE_CIPHER_SPEC, &[1]),
            record(CHANGE_CIPHER_SPEC, &[1]),
        ),
        // user_canceled, a warning.
        (record(ALERT, &[1, 90]), record(ALERT, &[1, 90])),
        (record(HANDSHAKE, &[]), record(HANDSHAKE, &[])),
        (
            record(APPLICATION_DATA, &[0; 17]),
            record(APPLICATION_DATA, &[0; 17]),
        ),
    ] {
        let mut secure = Secure::new();
        let hello = secure.pair.take_written();
        let bytes = flood(&mut secure, &first, &then);
        assert!(bytes < 128 * 1024, "{bytes} bytes, kind {}", first[0]);
        let CloseReason::Tls(error) = last_closed(&secure.pair) else {
            panic!("{:?}", last_closed(&secure.pair));
        };
        assert_eq!(error.kind, TlsErrorKind::Protocol, "{error}");
        assert_eq!(record_types(&hello), [HANDSHAKE]);
        assert!(secure.pair.take_written().is_empty());
    }
}

#[test]
fn a_handshake_that_drips_does_not_put_its_deadline_off() {
    let mut secure = Secure::new();
    let hello = secure.pair.take_written();
    secure.server.feed(&hello);
    let flight = secure.server.take();
    let begun = secure.pair.now;
    let dials = secure.pair.dials.len();
    for byte in flight {
        if secure.pair.socket.is_none() {
            break;
        }
        secure.pair.receive(&[byte]);
        secure.pair.advance(Duration::from_millis(20));
    }
    assert_eq!(
        *last_closed(&secure.pair),
        CloseReason::Timeout(TimerKind::Tls)
    );
    assert_eq!(secure.pair.dials.len(), dials);
    let waited = secure.pair.now.saturating_since(begun);
    assert_eq!(waited, Duration::from_secs(5));
}

#[test]
fn a_server_that_does_not_take_the_clients_last_flight_is_left_in_time() {
    for (version, waits_in, timer) in [
        (&TLS12, State::TlsHandshaking, TimerKind::Tls),
        // For the client TLS 1.3 is done, and the request waits behind the last flight.
        (&TLS13, State::Upgrading, TimerKind::Upgrade),
    ] {
        let mut secure = over(version);
        let hello = secure.pair.take_written();
        secure.server.feed(&hello);
        let flight = secure.server.take();
        secure.pair.is_blocked = true;
        secure.pair.receive(&flight);
        assert_eq!(secure.pair.state(), waits_in);
        secure.pair.advance(Duration::from_secs(5));
        assert_eq!(*last_closed(&secure.pair), CloseReason::Timeout(timer));
        assert!(secure.pair.take_written().is_empty());
    }
}

#[test]
fn changes_of_keys_between_messages_pile_nothing_up() {
    let mut secure = over(&TLS13);
    secure.open();
    secure.pair.is_blocked = true;
    for _ in 0..2_000 {
        secure.server.tls.refresh_traffic_keys().expect("TLS 1.3");
        secure.server.say(&text("x"));
        let bytes = secure.server.take();
        secure.pair.receive(&bytes);
    }
    assert_eq!(secure.pair.texts().len(), 2_000);
    assert!(secure.pair.set.charged_bytes() < 4 * 1024);
    secure.pair.unblock();
    let answered = secure.pair.take_written();
    assert!(answered.len() < 1_024, "{} bytes", answered.len());
    secure.server.feed(&answered);
    secure.pair.send("y");
    secure.exchange(usize::MAX);
    assert_eq!(frames_of(&secure.server.plaintext), [(1, b"y".to_vec())]);
}

/// A client of a server that gives it so many sessions to resume at once.
fn given_sessions(count: usize) -> Secure {
    let authority = Authority::new();
    let setup = Setup {
        versions: vec![&TLS13],
        ..Setup::default()
    };
    let mut config = setup.config(&authority.issue(&[HOST]));
    Arc::get_mut(&mut config)
        .expect("nobody has it yet")
        .send_tls13_tickets = count;
    let tls = trusting(&authority).build().expect("roots");
    Secure::to(URL, tls, config, Settings::default(), Hooks::default())
}

#[test]
fn sessions_to_resume_in_great_number_are_taken_and_one_is_used() {
    let mut secure = given_sessions(200);
    secure.open();
    assert_eq!(secure.pair.set.charged_bytes(), 0);
    reset(&mut secure.pair);
    secure.accept_again();
    secure.open();
    let kind = secure.server.tls.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed));
}

#[test]
fn a_server_that_gives_nothing_but_sessions_to_resume_is_left() {
    let mut secure = given_sessions(2_000);
    let hello = secure.pair.take_written();
    secure.server.feed(&hello);
    let flight = secure.server.take();
    secure.pair.receive(&flight);
    let finished = secure.pair.take_written();
    secure.server.feed(&finished);
    let sessions = secure.server.take();
    assert!(sessions.len() > 128 * 1024, "{} bytes", sessions.len());
    secure.pair.receive(&sessions);
    let CloseReason::Tls(error) = last_closed(&secure.pair) else {
        panic!("{:?}", last_closed(&secure.pair));
    };
    assert_eq!(error.kind, TlsErrorKind::Protocol, "{error}");
}

#[test]
fn no_changed_byte_of_a_handshake_hangs_the_attempt_or_lets_a_request_out_unencrypted() {
    for version in [&TLS12, &TLS13] {
        let mut at = 0;
        loop {
            let mut secure = over(version);
            let hello = secure.pair.take_written();
            secure.server.feed(&hello);
            let mut flight = secure.server.take();
            if at >= flight.len() {
                break;
            }
            flight[at] ^= 1 << (at % 8);
            secure.pair.receive(&flight);
            let said = secure.pair.take_written();
            assert!(
                !String::from_utf8_lossy(&said).contains("HTTP/1.1"),
                "byte {at}"
            );
            // Few bytes are of no importance; then nobody answers the request.
            secure.pair.advance(Duration::from_secs(10));
            last_closed(&secure.pair);
            at += 7;
        }
        assert!(at > 500);
    }
}
