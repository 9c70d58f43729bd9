//! A connection whose messages are compressed (RFC 7692), told from outside, in virtual time.

mod pair;

use std::num::NonZeroU64;
use std::time::Duration;

use pair::peer::{Receiver, Sender};
use pair::{Pair, frame, raw_frames_of, text};
use ropewalk_core::admission::Admission;
use ropewalk_core::hooks::{ReadyStep, Template};
use ropewalk_core::settings::{Deflate, Limits};
use ropewalk_core::websocket::deflate::{
    Agreement, Context, Deflator, INFLATOR_BYTES, Inflator, ParameterProblem, WhenIdle, WindowBits,
};
use ropewalk_core::websocket::{self, Decoder, Item, ProtocolError, UpgradeError};
use ropewalk_core::{
    AdmissionLimits, CloseReason, EventKind, Hooks, Input, Kind, Lane, Message, Outcome, Packed,
    Settings, State, TransportError, TransportErrorKind,
};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const ACCEPTED: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// Compresses every message.
fn eager() -> Deflate {
    Deflate {
        threshold: 0,
        ..Deflate::default()
    }
}

fn with(deflate: Deflate) -> Settings {
    Settings {
        deflate: Some(deflate),
        ..Settings::default()
    }
}

fn opened_with(settings: Settings, answer: &str) -> Pair {
    let mut pair = Pair::new(settings, Hooks::default());
    pair.accept();
    pair.upgrade_with(answer, b"");
    assert_eq!(pair.state(), State::Open);
    pair
}

fn opened() -> Pair {
    opened_with(with(eager()), ACCEPTED)
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.take().expect("there is a socket");
    let error = TransportError::new(TransportErrorKind::Reset);
    pair.handle(Input::TransportFailed { socket, error });
}

fn reopen(pair: &mut Pair) {
    pair.advance(Duration::from_secs(1));
    pair.accept();
    pair.upgrade_with(ACCEPTED, b"");
}

/// The data messages in what the client wrote to one socket, decompressed.
fn messages(receiver: &mut Receiver, written: &[u8]) -> Vec<String> {
    let frames = raw_frames_of(written).into_iter();
    let data = frames.filter(|(first, _)| matches!(first & 0x0f, TEXT | BINARY));
    data.map(|(first, payload)| {
        let payload = match first & RSV1 {
            0 => payload,
            _ => receiver.decompress(&payload),
        };
        String::from_utf8(payload).expect("text")
    })
    .collect()
}

/// What each session was told about compression.
fn agreed(pair: &Pair) -> Vec<Option<Agreement>> {
    let mut agreed = Vec::new();
    for kind in pair.kinds() {
        if let EventKind::Ready { compression, .. } = kind {
            agreed.push(*compression);
        }
    }
    agreed
}

fn last_closed(pair: &Pair) -> CloseReason {
    let closed = pair.kinds().into_iter().rev().find_map(|kind| {
        if let EventKind::Closed { reason, .. } = kind {
            Some(reason.clone())
        } else {
            None
        }
    });
    closed.expect("something ended")
}

#[test]
fn compression_is_offered_only_if_asked_for() {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.accept();
    let request = String::from_utf8(pair.take_written()).unwrap();
    assert!(!request.contains("Extensions"), "{request}");

    let mut pair = Pair::new(with(eager()), Hooks::default());
    pair.accept();
    let request = String::from_utf8(pair.take_written()).unwrap();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    assert!(request.contains(offer), "{request}");
}

#[test]
fn a_server_that_declines_gets_and_sends_plain_messages() {
    let mut pair = opened_with(with(eager()), "");
    pair.receive(&text("hello"));
    assert_eq!(pair.texts(), ["hello"]);
    pair.send("world");
    assert_eq!(
        raw_frames_of(&pair.written),
        [(FIN | TEXT, b"world".to_vec())]
    );
    pair.receive(&frame(RSV1 | TEXT, &[0]));
    let error = CloseReason::Protocol(ProtocolError::ReservedBits);
    pair.socket.expect("the close handshake is under way");
    pair.advance(Duration::from_secs(6));
    assert_eq!(last_closed(&pair), error);
}

#[test]
fn the_event_of_a_ready_session_tells_what_was_agreed_on_its_socket() {
    let own = Deflate {
        client_no_context_takeover: true,
        client_max_window_bits: 12,
        ..eager()
    };
    let script = Hooks {
        ready: vec![ReadyStep::Send(Template::parse("subscribe").unwrap())],
        ..Hooks::default()
    };
    let full = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                server_max_window_bits=10; client_max_window_bits=9";
    for hooks in [Hooks::default(), script] {
        let mut pair = Pair::new(with(own), hooks);
        let mut shown = Vec::new();
        for answer in [
            "",
            ACCEPTED,
            &format!("Sec-WebSocket-Extensions: {full}\r\n"),
        ] {
            pair.accept();
            pair.upgrade_with(answer, b"");
            shown.push(
                agreed(&pair)
                    .pop()
                    .expect("it is ready")
                    .map(|it| it.to_string()),
            );
            reset(&mut pair);
            while pair.socket.is_none() {
                pair.advance(Duration::from_millis(100));
            }
        }
        let ours = "permessage-deflate; client_no_context_takeover; client_max_window_bits=12";
        assert_eq!(shown, [None, Some(ours.into()), Some(full.into())]);
        assert_eq!(agreed(&pair).len(), 3);
    }
    let exactly = Agreement {
        server_context: Context::TakenOver,
        client_context: Context::PerMessage,
        server_window: WindowBits::MAX,
        client_window: WindowBits::new(12).expect("8 to 15"),
    };
    assert_eq!(agreed(&opened_with(with(own), ACCEPTED)), [Some(exactly)]);
}

#[test]
fn compressed_messages_flow_both_ways_and_refer_to_earlier_ones() {
    let mut pair = opened();
    let (mut sender, mut receiver) = (Sender::new(15), Receiver::default());
    let mut expected = Vec::new();
    for round in 0..20 {
        let message = format!("the price of number {} is {}", round % 3, round * 7);
        pair.receive(&frame(RSV1 | TEXT, &sender.compress(message.as_bytes())));
        pair.send(message.as_str());
        expected.push(message);
    }
    assert_eq!(pair.texts(), expected);
    let frames = raw_frames_of(&pair.written);
    assert!(frames.iter().all(|(first, _)| *first == FIN | RSV1 | TEXT));
    let sizes: Vec<_> = frames.iter().map(|(_, payload)| payload.len()).collect();
    assert!(sizes[19] * 2 < sizes[0], "{sizes:?}");
    assert_eq!(messages(&mut receiver, &pair.written), expected);
    assert!(
        pair.outcomes
            .iter()
            .all(|(_, outcome)| *outcome == Outcome::Written)
    );
}

#[test]
fn frames_in_the_segment_of_the_101_may_be_compressed() {
    let mut pair = Pair::new(with(eager()), Hooks::default());
    pair.accept();
    let first = frame(RSV1 | TEXT, &Sender::new(15).compress(b"at once"));
    pair.upgrade_with(ACCEPTED, &first);
    assert_eq!(pair.texts(), ["at once"]);
}

#[test]
fn small_messages_control_frames_and_the_ready_script_are_not_compressed() {
    let hooks = Hooks {
        ready: vec![ReadyStep::Send(
            Template::parse("secret ".repeat(50).as_str()).unwrap(),
        )],
        ..Hooks::default()
    };
    let mut pair = Pair::new(with(Deflate::default()), hooks);
    pair.accept();
    pair.upgrade_with(ACCEPTED, b"");
    pair.receive(&frame(PING, &[b'?'; 100]));
    pair.send("x".repeat(63).as_str());
    pair.send("x".repeat(64).as_str());
    let firsts: Vec<_> = raw_frames_of(&pair.written)
        .iter()
        .map(|frame| frame.0)
        .collect();
    assert_eq!(
        firsts,
        [FIN | TEXT, FIN | PONG, FIN | TEXT, FIN | RSV1 | TEXT]
    );
}

#[test]
fn a_compressed_message_is_one_frame_of_its_kind_with_rsv1_and_no_other_frame_has_it() {
    let mut pair = opened();
    let (words, bytes) = ("x".repeat(100_000), vec![0xff; 100_000]);
    pair.send(words.as_str());
    pair.receive(&frame(PING, b"?"));
    pair.send(Message::binary(bytes.clone()));
    pair.set.pause(pair.now, pair.id);
    pair.drain();
    let frames = raw_frames_of(&pair.written);
    let firsts: Vec<_> = frames.iter().map(|(first, _)| *first).collect();
    let (text, binary) = (FIN | RSV1 | TEXT, FIN | RSV1 | BINARY);
    assert_eq!(firsts, [text, FIN | PONG, binary, FIN | CLOSE]);
    let mut receiver = Receiver::default();
    assert_eq!(receiver.decompress(&frames[0].1), words.as_bytes());
    assert_eq!(frames[1].1, b"?");
    assert_eq!(receiver.decompress(&frames[2].1), bytes);
    // What stands for an empty block at the end of each is left out (RFC 7692 §7.2.1).
    for (_, payload) in [&frames[0], &frames[2]] {
        assert!(!payload.ends_with(&[0, 0, 0xff, 0xff]));
        assert!(payload.len() < 1_000, "they are compressed");
    }
}

#[test]
fn a_kernel_that_takes_any_few_bytes_at_a_time_gets_every_message_once() {
    let sent: Vec<String> = (0..30)
        .map(|i| format!("message {i} ").repeat(i % 7 + 1))
        .collect();
    for takes in 1..40 {
        let mut pair = opened();
        pair.kernel_takes = takes;
        pair.is_blocked = true;
        for message in &sent {
            pair.send(message.as_str());
        }
        pair.receive(&frame(PING, b"?"));
        pair.unblock();
        assert_eq!(
            messages(&mut Receiver::default(), &pair.written),
            sent,
            "{takes}"
        );
        assert_eq!(pair.outcomes.len(), sent.len());
    }
}

#[test]
fn what_is_offered_and_not_taken_is_offered_again_as_it_was() {
    let mut pair = opened();
    pair.is_blocked = true;
    let socket = pair.socket.expect("a socket");
    let mut expected = Vec::new();
    for round in 0..10 {
        let message = format!("message number {round}");
        pair.send(message.as_str());
        expected.push(message);
        for _ in 0..3 {
            // Dropped: nothing was written.
            let offered = pair.set.transmit(pair.now, socket).expect("more to write");
            assert!(offered.len() > 0);
        }
        if round % 3 == 0 {
            // A part of what is offered is taken, at times inside a frame.
            let transmit = pair.set.transmit(pair.now, socket).expect("more");
            let taken = transmit.len().min(5 + round);
            pair.written
                .extend_from_slice(&transmit.slices()[0][..taken]);
            transmit.advance(taken);
            pair.drain();
        }
    }
    pair.unblock();
    assert_eq!(messages(&mut Receiver::default(), &pair.written), expected);
}

#[test]
fn many_messages_of_one_turn_still_leave_in_one_write() {
    let mut pair = opened();
    pair.is_blocked = true;
    for i in 0..50 {
        pair.send(format!("message {i}").as_str());
    }
    let socket = pair.socket.expect("a socket");
    let offered = pair.set.transmit(pair.now, socket).expect("more");
    assert_eq!(raw_frames_of(offered.slices()[0].as_ref()).len(), 50);
}

#[test]
fn a_new_socket_starts_with_a_fresh_context_and_sends_what_the_lost_one_had_not() {
    let mut pair = opened();
    let common = "something that every message repeats, ";
    pair.send(format!("{common}zero").as_str());
    pair.is_blocked = true;
    let socket = pair.socket.expect("a socket");
    let cut = pair.send(format!("{common}one").as_str());
    pair.send(format!("{common}two").as_str());
    pair.set
        .transmit(pair.now, socket)
        .expect("more")
        .advance(9);
    pair.drain();
    reset(&mut pair);
    assert_eq!(pair.outcomes[1], (cut, Outcome::Interrupted));
    pair.is_blocked = false;
    reopen(&mut pair);
    let expected = [format!("{common}two")];
    assert_eq!(messages(&mut Receiver::default(), &pair.written), expected);
}

#[test]
fn an_idempotent_message_that_was_cut_is_compressed_anew() {
    for taken in 1..20 {
        let mut pair = opened();
        pair.send("again and again and again, zero");
        pair.is_blocked = true;
        let socket = pair.socket.expect("a socket");
        pair.send(Message::text("again and again and again, one").idempotent());
        pair.send(Message::text("again and again and again, two").idempotent());
        let transmit = pair.set.transmit(pair.now, socket).expect("more");
        let taken = taken.min(transmit.len() - 1);
        transmit.advance(taken);
        pair.drain();
        reset(&mut pair);
        pair.is_blocked = false;
        reopen(&mut pair);
        let sent = messages(&mut Receiver::default(), &pair.written);
        let written = pair.outcomes.len();
        assert_eq!(written, 3);
        assert_eq!(sent.last().unwrap(), "again and again and again, two");
        assert!(sent.len() == 1 || sent[0] == "again and again and again, one");
    }
}

#[test]
fn a_message_goes_out_whole_after_a_hundred_kibibytes_of_partial_writes() {
    let mut pair = opened();
    // Larger than what one write holds.
    let message = Noise(1).text(300_000);
    pair.kernel_takes = 10_007;
    pair.send(message.as_str());
    pair.send("next");
    let got = messages(&mut Receiver::default(), &pair.written);
    assert_eq!(got, [message, "next".to_owned()]);
}

#[test]
fn the_servers_restrictions_are_kept() {
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
                  client_max_window_bits=9; server_no_context_takeover\r\n";
    let mut pair = opened_with(with(eager()), answer);
    let mut receiver = Receiver::forgetful();
    let sent: Vec<String> = (0..5)
        .map(|i| format!("number {i}, ").repeat(1_000))
        .collect();
    for message in &sent {
        pair.send(message.as_str());
    }
    assert_eq!(messages(&mut receiver, &pair.written), sent);
    assert!(receiver.farthest <= 512);
    // A server that forgets may not refer to earlier messages.
    let mut sender = Sender::new(15);
    for _ in 0..2 {
        let payload = sender.compress(b"hello hello hello hello");
        pair.receive(&frame(RSV1 | TEXT, &payload));
    }
    assert_eq!(pair.texts().len(), 1);
    assert_eq!(pair.state(), State::Closing);
}

#[test]
fn a_window_of_256_bytes_is_accepted_and_nothing_compressed_with_it() {
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=8; \
                  server_max_window_bits=8\r\n";
    let mut pair = opened_with(with(eager()), answer);
    let message = "x".repeat(500);
    pair.send(message.as_str());
    assert_eq!(
        raw_frames_of(&pair.written),
        [(FIN | TEXT, message.into_bytes())]
    );
    pair.receive(&frame(RSV1 | TEXT, &Sender::new(8).compress(b"hello")));
    assert_eq!(pair.texts(), ["hello"]);
}

#[test]
fn a_bad_answer_fails_the_handshake_before_any_frame() {
    let mut pair = Pair::new(with(eager()), Hooks::default());
    pair.accept();
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n";
    pair.upgrade_with(answer, &text("never seen"));
    let expected = UpgradeError::ExtensionParameter {
        parameter: "server_max_window_bits".into(),
        problem: ParameterProblem::NotWindowBits,
    };
    assert_eq!(last_closed(&pair), CloseReason::Upgrade(expected));
    assert!(pair.batches.is_empty() && pair.written.is_empty());
    assert_eq!(pair.state(), State::Backoff);
}

#[test]
fn corrupt_data_close_with_1007_and_a_bomb_with_1009_after_what_was_good() {
    let bomb = Sender::new(15).compress(&vec![0; 100_000]);
    for (payload, code) in [(vec![7], 1007_u16), (bomb, 1009)] {
        let limits = Limits {
            message_bytes_max: 10_000,
            ..Limits::default()
        };
        let settings = Settings {
            limits,
            ..with(eager())
        };
        let mut pair = opened_with(settings, ACCEPTED);
        let good = frame(RSV1 | TEXT, &Sender::new(15).compress(b"good"));
        let stream = [good, frame(RSV1 | BINARY, &payload), text("after")].concat();
        pair.receive(&stream);
        assert_eq!(pair.texts(), ["good"]);
        pair.ask();
        pair.advance(Duration::from_millis(1_100));
        let frames = raw_frames_of(&pair.written);
        assert_eq!(frames, [(FIN | CLOSE, code.to_be_bytes().to_vec())]);
    }
}

#[test]
fn a_message_that_is_cut_within_a_later_block_is_refused_at_whichever_byte() {
    let agreed = agreed(&opened())[0].expect("it is accepted");
    for symbols in 2..40 {
        // A short block that describes no codes, and one that does.
        let mut sender = Sender::new(15);
        let words: Vec<u8> = (0..symbols * 20)
            .map(|at| b' ' + u8::try_from(at * at / 3 % symbols).expect("below 40"))
            .collect();
        let first = sender.compress(b"a");
        let second = sender.compress(&words);
        let payload = [&first[..], &[0, 0, 0xff, 0xff], &second].concat();
        let whole = frame(RSV1 | BINARY, &payload);
        for cut in first.len() + 5..=payload.len() {
            let mut decoder = Decoder::inflating(Inflator::new(&agreed, None, WhenIdle::Keep));
            let cut_off = frame(RSV1 | BINARY, &payload[..cut]);
            let item = decoder.next(&websocket::Limits::default(), &mut &cut_off[..]);
            if cut_off == whole {
                let payload = [b"a", &words[..]].concat().into();
                let kind = Kind::Binary;
                assert_eq!(item, Ok(Some(Item::Message { kind, payload })));
            } else {
                assert_eq!(item, Err(ProtocolError::InvalidDeflate), "{symbols}: {cut}");
            }
        }
    }
}

#[test]
fn a_backlog_is_compressed_in_parts_and_leaves_whole() {
    let mut pair = Pair::new(with(eager()), Hooks::default());
    pair.accept();
    let messages: Vec<String> = (0..50).map(|i| format!("{i}, ").repeat(5_000)).collect();
    for message in &messages {
        pair.send(message.as_str());
    }
    pair.is_blocked = true;
    pair.upgrade_with(ACCEPTED, b"");
    let socket = pair.socket.expect("a socket");
    let offered = pair.set.transmit(pair.now, socket).expect("more");
    let frames = raw_frames_of(offered.slices()[0].as_ref()).len();
    assert!((2..40).contains(&frames), "{frames} of 50 at once");
    pair.unblock();
    assert_eq!(
        self::messages(&mut Receiver::default(), &pair.written),
        messages
    );
}

#[test]
fn messages_that_become_short_leave_in_few_writes_and_those_that_do_not_in_parts() {
    let mut noise = Noise(1);
    for (messages, writes) in [
        (vec!["{\"price\": 17.25}, ".repeat(55); 1_000], 1..=8),
        ((0..1_000).map(|_| noise.text(1_000)).collect(), 40..=80),
    ] {
        let mut pair = opened();
        pair.is_blocked = true;
        let mut packed = Packed::default();
        for message in &messages {
            if !packed.push_bytes(Kind::Text, message.as_bytes()) {
                let full = std::mem::take(&mut packed);
                pair.set.send_packed(pair.now, pair.id, full, |_| panic!());
                assert!(packed.push_bytes(Kind::Text, message.as_bytes()));
            }
        }
        pair.set
            .send_packed(pair.now, pair.id, packed, |_| panic!());
        pair.drain();
        let socket = pair.socket.expect("a socket");
        let mut offers = 0;
        while let Some(transmit) = pair.set.transmit(pair.now, socket) {
            offers += 1;
            pair.written.extend_from_slice(&transmit.slices()[0]);
            let len = transmit.len();
            transmit.advance(len);
            pair.drain();
            pair.set.check_invariants();
        }
        assert!(writes.contains(&offers), "{offers} writes");
        assert_eq!(
            self::messages(&mut Receiver::default(), &pair.written),
            messages
        );
    }
}

#[test]
fn what_is_compressed_ahead_is_bounded_and_charged_until_it_is_written() {
    let mut noise = Noise(1);
    let mut pair = opened();
    pair.is_blocked = true;
    let (mut queued, mut most) = (0, 0);
    for _ in 0..500 {
        let message = noise.text(1_000);
        queued += message.len() as u64;
        pair.send(message.as_str());
        pair.set.check_invariants();
        let compressor = Deflator::bytes(WindowBits::MAX) as u64;
        most = most.max(pair.set.charged_bytes() - compressor - queued);
    }
    // Places in the queue too.
    let places = 500 * 128;
    assert!(
        (64 * 1024..2 * 64 * 1024 + places).contains(&most),
        "{most}"
    );
    pair.unblock();
    let compressor = Deflator::bytes(WindowBits::MAX) as u64;
    assert_eq!(pair.set.charged_bytes(), compressor);
}

#[test]
fn a_message_that_overtakes_what_was_compressed_ahead_leaves_none_of_it_unreadable() {
    let common = "something that every message repeats, ";
    let sent: Vec<_> = (0..5).map(|n| format!("{common}{n}")).collect();
    for taken in 0..60 {
        let mut pair = opened();
        pair.is_blocked = true;
        for message in &sent {
            pair.send(message.as_str());
        }
        let socket = pair.socket.expect("a socket");
        let transmit = pair.set.transmit(pair.now, socket).expect("more");
        pair.written
            .extend_from_slice(&transmit.slices()[0][..taken]);
        transmit.advance(taken);
        pair.drain();
        pair.send(Message::text("now").lane(Lane::Priority));
        pair.unblock();
        let mut said = messages(&mut Receiver::default(), &pair.written);
        let place = said.iter().position(|it| it == "now").expect("it is sent");
        said.remove(place);
        assert_eq!(said, sent, "{taken}");
        assert!(place < 3, "{taken}: {place}");
    }
}

/// Text that is hardly compressible.
struct Noise(u32);

impl Noise {
    fn text(&mut self, len: usize) -> String {
        let next = |_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + self.0.to_be_bytes()[0] % 94)
        };
        (0..len).map(next).collect()
    }
}

#[test]
fn the_state_of_both_directions_is_charged_while_it_exists() {
    let compressor = Deflator::bytes(WindowBits::MAX) as u64;
    let hello = frame(RSV1 | TEXT, &Sender::new(15).compress(b"hello"));
    let mut pair = opened();
    assert_eq!(pair.set.charged_bytes(), 0);
    pair.receive(&hello);
    assert_eq!(pair.set.charged_bytes(), INFLATOR_BYTES as u64);
    pair.send("hello");
    assert_eq!(pair.set.charged_bytes(), INFLATOR_BYTES as u64 + compressor);
    reset(&mut pair);
    assert_eq!(pair.set.charged_bytes(), 0);

    let frugal = Deflate {
        free_when_idle: true,
        server_no_context_takeover: true,
        ..eager()
    };
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let mut pair = opened_with(with(frugal), answer);
    pair.receive(&hello);
    assert_eq!(pair.texts(), ["hello"]);
    pair.is_blocked = true;
    pair.send("hello");
    assert!(pair.set.charged_bytes() > compressor);
    pair.unblock();
    assert_eq!(pair.set.charged_bytes(), 0);
}

#[test]
fn a_compressor_is_given_up_when_all_connections_together_hold_too_much_for_long() {
    let mut pair = opened();
    pair.admission = Admission::new(AdmissionLimits {
        bytes_max: NonZeroU64::new(300 * 1024).unwrap(),
        ..AdmissionLimits::default()
    });
    let sent = ["first", "second", "second again"];
    for message in sent {
        pair.send(message);
    }
    assert!(pair.set.charged_bytes() > 300 * 1024);
    // Until the next time that the connection has something to do anyway.
    pair.advance(Duration::from_secs(21));
    assert_eq!(pair.set.charged_bytes(), 0);
    pair.send("fourth");
    let sent = [&sent[..], &["fourth"]].concat();
    assert_eq!(messages(&mut Receiver::default(), &pair.written), sent);
}
