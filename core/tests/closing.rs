//! What a server sends while the connection closes (RFC 6455 §5.5.1, §7.1), in virtual time.

mod pair;

use std::time::Duration;

use pair::{Pair, close, frame, frames_of, text};
use ropewalk_core::websocket::ProtocolError;
use ropewalk_core::{CloseReason, EventKind, Hooks, Input, Settings, State};

const FIN: u8 = 0x80;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const CODE_NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
const CODE_PROTOCOL: [u8; 2] = 1002_u16.to_be_bytes();

/// Who closed, or what was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Our close frame is out, and the server's is awaited.
    Ours,
    /// The server's close frame is here, and ours has answered it.
    Theirs,
    /// The server broke the protocol, and our close frame said so.
    Violation,
}

fn closing(how: Closing) -> Pair {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.open();
    pair.receive(&text("before"));
    let code = match how {
        Closing::Ours => {
            pair.set.pause(pair.now, pair.id);
            pair.drain();
            CODE_NORMAL
        }
        Closing::Theirs => {
            pair.receive(&close(1000));
            CODE_NORMAL
        }
        Closing::Violation => {
            pair.receive(&[FIN | 3, 0]);
            CODE_PROTOCOL
        }
    };
    assert_eq!(pair.state(), State::Closing);
    assert_eq!(frames_of(&pair.take_written()), [(CLOSE, code.to_vec())]);
    pair
}

/// The frame that a header of these two bytes begins, complete: with 16 and 64 bits of length it has as
/// many bytes as that length needs at least.
fn complete(first: u8, second: u8) -> Vec<u8> {
    let mut frame = vec![first, second];
    let len = match second & 0x7f {
        126 => {
            frame.extend(126_u16.to_be_bytes());
            126
        }
        127 => {
            frame.extend(65_536_u64.to_be_bytes());
            65_536
        }
        len => usize::from(len),
    };
    if second >> 7 == 1 {
        frame.extend([1, 2, 3, 4]);
    }
    let payload = match first & 0x0f {
        CLOSE if len >= 2 => [&CODE_NORMAL[..], &vec![b'x'; len - 2]].concat(),
        _ => vec![b'x'; len],
    };
    frame.extend(payload);
    frame
}

/// How long the messages are that this frame and the text "behind" after it bring, while a server may
/// still send.
fn expected(first: u8, second: u8) -> Vec<usize> {
    const BEHIND: usize = 6;
    let len = match second & 0x7f {
        126 => 126,
        127 => 65_536,
        len => usize::from(len),
    };
    let is_final = first >> 7 == 1;
    let is_broken = first & 0x70 != 0 || second >> 7 == 1;
    match first & 0x0f {
        _ if is_broken => vec![],
        1 | 2 if is_final => vec![len, BEHIND],
        9 | 10 if is_final && len <= 125 => vec![BEHIND],
        // A close frame, whatever is in it; a message that "behind" does not continue; no frame at all.
        _ => vec![],
    }
}

fn lengths(pair: &Pair) -> Vec<usize> {
    let messages = pair.batches.iter().flat_map(|batch| batch.iter());
    messages.map(|message| message.as_bytes().len()).collect()
}

fn closed_reasons(pair: &Pair) -> Vec<&CloseReason> {
    let reasons = pair.events.iter().filter_map(|event| {
        if let EventKind::Closed { reason, .. } = &event.kind {
            Some(reason)
        } else {
            None
        }
    });
    reasons.collect()
}

/// Feeds every frame that begins with one of these first bytes, and the text "behind" after it.
fn check_headers(how: Closing, firsts: impl Iterator<Item = u8>) {
    let behind = text("behind");
    for first in firsts {
        for second in 0..=u8::MAX {
            let mut pair = closing(how);
            pair.receive(&[&complete(first, second)[..], &behind].concat());
            let mut messages = vec![b"before".len()];
            if how == Closing::Ours {
                messages.extend(expected(first, second));
            }
            let place = || format!("{first:02x}{second:02x} {how:?}");
            assert_eq!(lengths(&pair), messages, "{}", place());
            // No pong, and no second close frame.
            assert_eq!(pair.written, [], "{}", place());
            assert_eq!(pair.state(), State::Closing, "{}", place());
            let socket = pair.socket.expect("the server ends the stream");
            pair.handle(Input::Eof { socket });
            let reasons = closed_reasons(&pair);
            let is_as_it_began = match (how, &reasons[..]) {
                (Closing::Ours, [reason]) => **reason == CloseReason::Local,
                (Closing::Theirs, [reason]) => matches!(reason, CloseReason::Peer(Some(_))),
                (Closing::Violation, [reason]) => {
                    **reason == CloseReason::Protocol(ProtocolError::ReservedOpcode(3))
                }
                _ => false,
            };
            assert!(is_as_it_began, "{} {reasons:?}", place());
        }
    }
}

#[test]
fn messages_are_still_received_after_our_close_frame_and_nothing_is_sent() {
    check_headers(
        Closing::Ours,
        [0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a].into_iter(),
    );
}

#[test]
fn nothing_after_the_servers_close_frame_or_a_violation_is_looked_at() {
    for how in [Closing::Theirs, Closing::Violation] {
        check_headers(how, [0x01, 0x80, 0x81, 0x83, 0x88, 0x89, 0xc1].into_iter());
    }
}

#[test]
#[ignore = "65,536 connections: `.ci/run` plays them in release"]
fn every_two_byte_header_after_our_close_frame_is_judged_as_the_specification_says() {
    check_headers(Closing::Ours, 0..=u8::MAX);
}

#[test]
#[ignore = "131,072 connections: `.ci/run` plays them in release"]
fn no_two_byte_header_is_looked_at_after_the_servers_close_frame_or_a_violation() {
    check_headers(Closing::Theirs, 0..=u8::MAX);
    check_headers(Closing::Violation, 0..=u8::MAX);
}

/// What is seen of a closing connection: messages, bytes written, reasons told, and the state.
fn seen(pieces: &[&[u8]], how: Closing) -> (Vec<usize>, Vec<u8>, Vec<CloseReason>, State) {
    let mut pair = closing(how);
    for piece in pieces {
        pair.receive(piece);
    }
    pair.advance(Duration::from_millis(1));
    let reasons = closed_reasons(&pair).into_iter().cloned().collect();
    (lengths(&pair), pair.written.clone(), reasons, pair.state())
}

#[test]
fn how_the_stream_is_cut_while_it_closes_changes_nothing() {
    let streams = [
        [text("late"), frame(PING, b"?"), close(1000), text("behind")].concat(),
        [
            vec![0x01, 1, b'a'],
            frame(PING, b""),
            vec![0x80, 1, b'b'],
            close(1001),
        ]
        .concat(),
        [vec![0x01, 1, b'a'], close(1000), vec![0x80, 1, b'b']].concat(),
        [text("late"), vec![FIN | 1, 2, 0xc3, 0x28], text("behind")].concat(),
        [text("late"), vec![FIN | CLOSE, 1, 3], text("behind")].concat(),
        [text("late"), close(1005), text("behind")].concat(),
        [close(1000), close(1000), vec![0xff; 20]].concat(),
    ];
    for how in [Closing::Ours, Closing::Theirs, Closing::Violation] {
        for stream in &streams {
            let whole = seen(&[stream], how);
            let bytes: Vec<_> = stream.chunks(1).collect();
            assert_eq!(seen(&bytes, how), whole, "{stream:02x?} {how:?}");
            for cut in 0..=stream.len() {
                let (front, back) = stream.split_at(cut);
                assert_eq!(
                    seen(&[front, back], how),
                    whole,
                    "{stream:02x?} {how:?} {cut}"
                );
            }
        }
    }
}
