//! Messages that are packed share the fate of those that are sent one by one, whatever becomes of them.

mod pair;

use std::time::Duration;

use pair::{Pair, raw_frames_of};
use ropewalk_core::settings::{Deflate, Overflow};
use ropewalk_core::{
    Acknowledge, Hooks, Input, Kind, Lane, Message, Packed, Report, SendErrorCause, Settings,
    Shutdown, TransportError, TransportErrorKind,
};

const MS: Duration = Duration::from_millis(1);

/// How messages are given to the set.
#[derive(Clone, Copy, PartialEq)]
enum Given {
    Packed,
    Alone,
}

fn messages() -> Vec<Message> {
    let texts = [0, 1, 125, 126].map(|len| Message::text("x".repeat(len)));
    let data = [3, 2048].map(|len| Message::binary(vec![7; len]));
    texts.into_iter().chain(data).collect()
}

/// Queues the messages; how many were refused.
fn give(pair: &mut Pair, given: Given, messages: Vec<Message>) -> Vec<(Message, SendErrorCause)> {
    let mut refused = Vec::new();
    match given {
        Given::Packed => {
            let mut packed = Packed::default();
            for message in messages {
                packed.push(message).expect("it is short and plain");
            }
            pair.set.send_packed(pair.now, pair.id, packed, |error| {
                refused.push((error.message, error.cause));
            });
        }
        Given::Alone => {
            for message in messages {
                let sent = pair.set.send(pair.now, pair.id, message, Report::Quiet);
                refused.extend(sent.err().map(|error| (error.message, error.cause)));
            }
        }
    }
    pair.drain();
    pair.set.check_invariants();
    refused
}

fn blocked(settings: Settings, hooks: Hooks) -> Pair {
    let answer = match settings.deflate {
        Some(_) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        None => "",
    };
    let mut pair = Pair::new(settings, hooks);
    pair.accept();
    pair.upgrade_with(answer, b"");
    pair.take_written();
    pair.is_blocked = true;
    pair
}

/// The kernel takes this many bytes, in pieces of at most `piece`.
fn take(pair: &mut Pair, mut bytes: usize, piece: usize) {
    let socket = pair.socket.expect("there is a socket");
    while bytes > 0
        && let Some(transmit) = pair.set.transmit(pair.now, socket)
    {
        let taken = bytes.min(piece).min(transmit.len());
        pair.written
            .extend_from_slice(&transmit.slices()[0][..taken]);
        transmit.advance(taken);
        bytes -= taken;
        pair.drain();
        pair.set.check_invariants();
    }
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.take().expect("there is a socket");
    let error = TransportError::new(TransportErrorKind::Reset);
    pair.handle(Input::TransportFailed { socket, error });
}

/// All that can be seen of a connection's messages.
fn seen(pair: &mut Pair) -> impl PartialEq + std::fmt::Debug + use<> {
    let letters: Vec<_> = pair
        .letters
        .iter()
        .map(|letter| {
            let at = (letter.received_at, letter.first_failed_at);
            (
                letter.seq,
                letter.kind,
                letter.payload.clone(),
                letter.reason.clone(),
                at,
            )
        })
        .collect();
    let counters = pair.set.counters(pair.id);
    (
        letters,
        counters,
        pair.outcomes.clone(),
        pair.set.state(pair.id),
    )
}

/// What reaches the server over the next socket.
fn over_the_next_socket(pair: &mut Pair) -> Vec<(u8, Vec<u8>)> {
    pair.is_blocked = false;
    pair.advance(1_000 * MS);
    pair.open();
    raw_frames_of(&pair.take_written())
}

#[test]
fn wherever_a_socket_is_lost_packed_messages_fare_as_others_do() {
    let plain = Settings::default();
    let bytes: usize = messages().iter().map(|it| it.len() + 8).sum();
    fare_alike(&plain, bytes);
    for client_no_context_takeover in [false, true] {
        let compressing = Settings {
            deflate: Some(Deflate {
                threshold: 1,
                client_no_context_takeover,
                ..Deflate::default()
            }),
            ..Settings::default()
        };
        fare_alike(&compressing, 150);
    }
}

/// Whichever of the first `bytes` is the last that the kernel takes.
fn fare_alike(settings: &Settings, bytes: usize) {
    // Within the longest message one place is much as another.
    for taken in (0..bytes).filter(|taken| *taken < 300 || taken % 53 == 0) {
        for piece in [1_000_000, 100] {
            let [packed, alone] = [Given::Packed, Given::Alone].map(|given| {
                let mut pair = blocked(settings.clone(), Hooks::default());
                assert_eq!(give(&mut pair, given, messages()), []);
                take(&mut pair, taken, piece);
                let before = seen(&mut pair);
                reset(&mut pair);
                let lost = seen(&mut pair);
                pair.written.clear();
                let frames = over_the_next_socket(&mut pair);
                (before, lost, frames, seen(&mut pair))
            });
            assert_eq!(packed, alone, "{taken} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn whatever_comes_behind_packed_messages_finds_its_place() {
    let others = [
        ("a plain one", Message::text("plain")),
        ("a prompt one", Message::text("prompt").lane(Lane::Priority)),
        ("a brief one", Message::text("brief").ttl(5 * MS)),
        ("a long one", Message::text("x".repeat(2049))),
    ];
    for (name, other) in others {
        for report in [Report::Quiet, Report::Outcome] {
            for taken in [0, 3, 6, 10, 300] {
                let [packed, alone] = [Given::Packed, Given::Alone].map(|given| {
                    let mut pair = blocked(Settings::default(), Hooks::default());
                    give(&mut pair, given, messages());
                    take(&mut pair, taken, 1_000);
                    pair.set
                        .send(pair.now, pair.id, other.clone(), report)
                        .expect("there is room");
                    pair.drain();
                    give(&mut pair, given, messages());
                    pair.advance(10 * MS);
                    let before = seen(&mut pair);
                    pair.unblock();
                    let frames = raw_frames_of(&pair.take_written());
                    (before, frames, seen(&mut pair))
                });
                assert_eq!(packed, alone, "{name} {report:?} after {taken}");
                assert!(packed.1.len() >= 2 * messages().len());
            }
        }
    }
}

#[test]
fn packed_messages_that_are_never_sent_become_letters_of_their_own() {
    let [packed, alone] = [Given::Packed, Given::Alone].map(|given| {
        let mut pair = Pair::new(Settings::default(), Hooks::default());
        give(&mut pair, given, messages());
        pair.now += 7 * MS;
        give(&mut pair, given, messages());
        pair.set.remove(pair.now, pair.id, Shutdown::Abort);
        pair.drain();
        assert_eq!(pair.letters.len(), 2 * messages().len());
        seen(&mut pair)
    });
    assert_eq!(packed, alone);
}

#[test]
fn the_queue_is_bounded_whether_messages_are_packed_or_not() {
    let all = messages().len();
    for when_full in [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest] {
        for items_max in 1..=2 * all + 1 {
            for bytes_max in [100, 2303, 2304, 10_000] {
                let [packed, alone] = [Given::Packed, Given::Alone].map(|given| {
                    let mut settings = Settings::default();
                    settings.outbound.when_full = when_full;
                    settings.outbound.items_max = items_max;
                    settings.outbound.bytes_max = bytes_max;
                    let mut pair = blocked(settings, Hooks::default());
                    let first = give(&mut pair, given, messages());
                    let second = give(&mut pair, given, messages());
                    pair.unblock();
                    let frames = raw_frames_of(&pair.take_written());
                    (first, second, frames, seen(&mut pair))
                });
                assert_eq!(packed, alone, "{when_full:?} {items_max} {bytes_max}");
            }
        }
    }
}

#[test]
fn packed_messages_await_replies_linger_and_are_compressed_as_others_are() {
    fn first_byte(message: &Message) -> Option<bytes::Bytes> {
        let first = message.as_bytes().first()?;
        Some(vec![*first].into())
    }
    let mut lingering = Settings::default();
    lingering.outbound.linger = 5 * MS;
    let compressing = Settings {
        deflate: Some(Deflate::default()),
        ..Settings::default()
    };
    let replies = || Hooks {
        acknowledge: Some(Acknowledge::new(first_byte, |_| None)),
        ..Hooks::default()
    };
    let variants = [
        ("replies", Settings::default(), replies as fn() -> Hooks),
        ("lingering", lingering, Hooks::default),
        ("compressing", compressing, Hooks::default),
    ];
    for (name, settings, hooks) in variants {
        let [packed, alone] = [Given::Packed, Given::Alone].map(|given| {
            let mut pair = blocked(settings.clone(), hooks());
            pair.is_blocked = false;
            give(&mut pair, given, messages());
            let at_once = raw_frames_of(&pair.take_written());
            let waiting = seen(&mut pair);
            pair.advance(5 * MS);
            let later = raw_frames_of(&pair.take_written());
            reset(&mut pair);
            (at_once, waiting, later, seen(&mut pair))
        });
        assert_eq!(packed.1, alone.1, "{name}");
        assert_eq!(packed.3, alone.3, "{name}");
        assert_eq!(packed.2, alone.2, "{name}");
        match name {
            // One by one, they are compressed and written one by one.
            "lingering" => assert_eq!(packed.0, []),
            _ => assert_eq!(packed.0.len(), alone.0.len(), "{name}"),
        }
    }
}

#[test]
fn what_is_long_or_has_options_is_not_packed() {
    let mut packed = Packed::default();
    let long = Message::text("x".repeat(2049));
    let idempotent = Message::text("again").idempotent();
    for message in [long, idempotent, Message::text("now").lane(Lane::Priority)] {
        assert!(!Packed::can_hold(&message));
        assert_eq!(packed.push(message.clone()), Err(message));
    }
    assert!(packed.is_empty());
    let mut count = 0;
    while packed.push_bytes(Kind::Binary, &[1; 500]) {
        count += 1;
    }
    assert_eq!(count, (64 << 10) / 500);
    assert_eq!((packed.len(), packed.bytes()), (count, 500 * count));
    let full = Message::binary(vec![1; 500]);
    assert_eq!(packed.push(full.clone()), Err(full));
}

#[test]
fn what_packs_hold_is_charged_until_they_are_gone() {
    let mut pair = blocked(Settings::default(), Hooks::default());
    let idle = pair.set.charged_bytes();
    let bytes: usize = messages().iter().map(Message::len).sum();
    give(&mut pair, Given::Packed, messages());
    give(&mut pair, Given::Packed, messages());
    let held = pair.set.charged_bytes() - idle;
    assert!((2 * bytes..4 * bytes + 1_000).contains(&usize::try_from(held).unwrap()));
    // A pack is freed as a whole.
    take(&mut pair, 600, 100);
    assert!(pair.set.charged_bytes() - idle >= 2 * bytes as u64);
    pair.unblock();
    assert_eq!(pair.set.charged_bytes(), idle);
}
