//! What arrives: in pieces, while nobody wants it, and up to an end.

use std::time::Duration;

use ropewalk_core::settings::QueueBounds;
use ropewalk_core::{
    CloseReason, Hooks, Settings, Shutdown, State, TlsErrorKind, TransportErrorKind,
};

use crate::pair::{close, frame, frames_of, text};
use crate::server::{Secure, Setup};
use crate::{end, last_closed};

#[test]
fn pieces_of_every_size_make_the_same_stream() {
    for piece in [1, 2, 3, 5, 7, 64, 1_000, 4_097] {
        let mut secure = Secure::new();
        secure.open_in_pieces(piece);
        let long = "x".repeat(40_000);
        for message in ["a", "", &long, "b"] {
            secure.server.say(&text(message));
            secure.exchange(piece);
        }
        assert_eq!(secure.pair.texts(), ["a", "", &long, "b"]);
    }
}

#[test]
fn every_split_of_the_servers_first_flight_opens() {
    let mut split = 0;
    loop {
        let mut secure = Secure::new();
        let hello = secure.pair.take_written();
        secure.server.feed(&hello);
        let flight = secure.server.take();
        if split > flight.len() {
            break;
        }
        let (first, second) = flight.split_at(split);
        for part in [first, second] {
            if !part.is_empty() {
                assert_eq!(secure.pair.receive(part), part.len());
            }
        }
        secure.open();
        // Signatures differ in length by a few bytes, so the last splits of a flight are not always there.
        split += if cfg!(debug_assertions) { 5 } else { 1 };
    }
    assert!(split > 500);
}

#[test]
fn frames_in_the_same_record_as_the_101_are_delivered() {
    let mut secure = Secure::new();
    secure.exchange(usize::MAX);
    let request = std::mem::take(&mut secure.server.plaintext);
    let mut answer = crate::pair::response_to(&request);
    answer.extend_from_slice(&[text("a"), text("b")].concat());
    secure.server.say(&answer);
    secure.exchange(usize::MAX);
    assert_eq!(secure.pair.texts(), ["a", "b"]);
}

fn with_queue_of(items_max: usize) -> Secure {
    let settings = Settings {
        inbound: QueueBounds {
            items_max,
            ..QueueBounds::default()
        },
        batch: ropewalk_core::settings::BatchPolicy {
            count_max: items_max,
            ..ropewalk_core::settings::BatchPolicy::default()
        },
        ..Settings::default()
    };
    let mut secure = Secure::with(Setup::default(), settings, Hooks::default());
    secure.pair.stop_asking();
    secure.open();
    secure
}

/// Gives the client these bytes as a driver does that is told when to stop; what is left.
fn drive(secure: &mut Secure, mut bytes: Vec<u8>) -> Vec<u8> {
    let socket = secure.pair.socket.expect("a socket");
    while !bytes.is_empty() && secure.pair.set.wants_read(socket) {
        let taken = secure.pair.receive(&bytes);
        bytes.drain(..taken);
    }
    bytes
}

#[test]
fn what_a_slow_consumer_does_not_take_is_held_and_none_of_it_is_lost() {
    // Small messages, many to a record; and one record split over many reads.
    for (count, len) in [(3_000, 5), (40, 3_000)] {
        let mut secure = with_queue_of(4);
        let payload = "z".repeat(len);
        let messages: Vec<_> = (0..count).map(|n| format!("{n} {payload}")).collect();
        let stream: Vec<u8> = messages.iter().flat_map(|message| text(message)).collect();
        let mut rest = secure.server.encrypt(&stream);
        let mut rounds = 0;
        while secure.pair.texts().len() < count {
            rest = drive(&mut secure, rest);
            // What the driver keeps is charged too.
            let charged = secure.pair.set.charged_bytes();
            let held = charged - rest.len() as u64;
            assert!(held < 64 * 1024, "{held} bytes held");
            secure.pair.ask();
            rounds += 1;
            assert!(rounds < 100_000, "stuck");
        }
        assert!(rest.is_empty());
        assert_eq!(secure.pair.texts(), messages);
    }
}

#[test]
fn an_end_that_comes_while_messages_are_held_comes_after_them() {
    for is_closed in [true, false] {
        let mut secure = with_queue_of(2);
        let stream: Vec<u8> = (0..50).flat_map(|n| text(&n.to_string())).collect();
        let mut bytes = secure.server.encrypt(&stream);
        if is_closed {
            secure.server.tls.send_close_notify();
        } else {
            // A record that is none: everything before it was good.
            bytes.extend_from_slice(&[0x17, 3, 3, 0, 32]);
            bytes.extend_from_slice(&[0x55; 32]);
        }
        bytes.extend_from_slice(&secure.server.take());
        let mut rounds = 0;
        while secure.pair.socket.is_some() && rounds < 1_000 {
            bytes = drive(&mut secure, bytes);
            secure.pair.ask();
            rounds += 1;
        }
        for _ in 0..5 {
            secure.pair.ask();
        }
        assert_eq!(secure.pair.texts().len(), 50);
        let reason = last_closed(&secure.pair);
        if is_closed {
            let is_eof = matches!(reason, CloseReason::Transport(error)
                if error.kind == TransportErrorKind::Eof);
            assert!(is_eof, "{reason:?}");
        } else {
            let is_broken = matches!(reason, CloseReason::Tls(error)
                if error.kind == TlsErrorKind::Protocol);
            assert!(is_broken, "{reason:?}");
        }
    }
}

#[test]
fn what_is_held_for_a_consumer_that_is_gone_does_not_hold_up_the_close_behind_it() {
    let mut secure = with_queue_of(2);
    let mut stream: Vec<u8> = (0..50).flat_map(|n| text(&n.to_string())).collect();
    stream.extend_from_slice(&close(1001));
    let bytes = secure.server.encrypt(&stream);
    let rest = drive(&mut secure, bytes);
    let deadline = secure.pair.now + Duration::from_secs(60);
    let (now, id) = (secure.pair.now, secure.pair.id);
    secure
        .pair
        .set
        .remove(now, id, Shutdown::Unread { deadline });
    secure.pair.drain();
    drive(&mut secure, rest);
    secure.exchange(usize::MAX);
    end(&mut secure.pair);
    assert_eq!(secure.pair.removed.len(), 1);
    let counters = secure.pair.removed[0].counters;
    assert_eq!((counters.received, counters.delivered), (50, 2));
    assert_eq!(counters.dropped, 48);
}

#[test]
fn a_stream_that_is_cut_off_is_told_from_one_that_is_closed() {
    for is_closed in [true, false] {
        let mut secure = Secure::new();
        secure.open();
        secure.server.say(&text("last"));
        if is_closed {
            secure.server.tls.send_close_notify();
        }
        secure.exchange(usize::MAX);
        if secure.pair.socket.is_some() {
            end(&mut secure.pair);
        }
        assert_eq!(secure.pair.texts(), ["last"]);
        let CloseReason::Transport(error) = last_closed(&secure.pair) else {
            panic!("{:?}", last_closed(&secure.pair));
        };
        assert_eq!(error.kind, TransportErrorKind::Eof);
        assert_eq!(error.detail.contains("cut off"), !is_closed, "{error}");
        assert_eq!(secure.pair.state(), State::Backoff);
    }
}

#[test]
fn a_message_that_is_cut_off_is_never_delivered() {
    let mut secure = Secure::new();
    secure.open();
    let bytes = secure.server.encrypt(&text("complete"));
    for cut in 0..bytes.len() {
        let mut secure = Secure::new();
        secure.open();
        let bytes = secure.server.encrypt(&text("complete"));
        if cut > 0 {
            secure.pair.receive(&bytes[..cut]);
        }
        end(&mut secure.pair);
        assert!(secure.pair.texts().is_empty());
    }
}

#[test]
fn the_servers_close_is_echoed_and_then_tls_is_closed_too() {
    let mut secure = Secure::new();
    secure.open();
    secure.server.say(&close(1001));
    secure.exchange(usize::MAX);
    let echo = frames_of(&secure.server.plaintext);
    assert_eq!(echo, [(8, 1001_u16.to_be_bytes().to_vec())]);
    assert!(has_closed(&mut secure), "no close_notify");
    end(&mut secure.pair);
    assert!(matches!(last_closed(&secure.pair), CloseReason::Peer(_)));
}

#[test]
fn our_close_waits_for_its_echo_before_tls_is_closed() {
    let mut secure = Secure::new();
    secure.open();
    let deadline = secure.pair.now + Duration::from_secs(10);
    let id = secure.pair.id;
    let how = Shutdown::Graceful { deadline };
    secure.pair.set.remove(secure.pair.now, id, how);
    secure.pair.drain();
    secure.exchange(usize::MAX);
    let said = frames_of(&secure.server.plaintext);
    assert_eq!(said, [(8, 1000_u16.to_be_bytes().to_vec())]);
    assert!(
        !has_closed(&mut secure),
        "a server might take it for an end"
    );
    secure.server.say(&close(1000));
    secure.exchange(usize::MAX);
    assert!(has_closed(&mut secure), "no close_notify");
    end(&mut secure.pair);
    assert_eq!(secure.pair.removed.len(), 1);
}

/// Whether the client's `close_notify` has arrived.
fn has_closed(secure: &mut Secure) -> bool {
    let state = secure.server.tls.process_new_packets();
    state.expect("nothing is wrong").peer_has_closed()
}

#[test]
fn a_ping_is_answered_while_a_record_waits_to_be_written() {
    let mut secure = Secure::new();
    secure.open();
    secure.pair.is_blocked = true;
    secure.pair.send("before");
    for n in 0..100_u8 {
        secure.server.say(&frame(9, &[n]));
        secure.exchange(usize::MAX);
    }
    secure.pair.unblock();
    secure.exchange(usize::MAX);
    let pongs: Vec<_> = frames_of(&secure.server.plaintext)
        .into_iter()
        .filter(|(opcode, _)| *opcode == 10)
        .map(|(_, payload)| payload[0])
        .collect();
    // The newest is always among them (RFC 6455 §5.5.3).
    assert_eq!(pongs.last(), Some(&99), "{pongs:?}");
    assert!(pongs.len() <= 17);
}
