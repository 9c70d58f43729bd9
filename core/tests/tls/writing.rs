//! What leaves: records that the kernel takes in parts, and what became of the messages in them.

use ropewalk_core::settings::Deflate;
use ropewalk_core::{Hooks, Kind, Message, MessageId, Outcome, Packed, Report, Settings};

use crate::pair::peer::Receiver;
use crate::pair::{frame, frames_of, raw_frames_of, response_with};
use crate::reset;
use crate::server::{Secure, Setup};

/// Lets the kernel take this many bytes more; how many it was offered.
fn write(secure: &mut Secure, bytes: usize) -> usize {
    let socket = secure.pair.socket.expect("a socket");
    let mut left = bytes;
    let mut offered = 0;
    while let Some(transmit) = secure.pair.set.transmit(secure.pair.now, socket) {
        let taken = transmit.len().min(left);
        offered += transmit.len();
        if taken == 0 {
            return offered;
        }
        secure
            .pair
            .written
            .extend_from_slice(&transmit.slices()[0][..taken]);
        transmit.advance(taken);
        secure.pair.drain();
        left -= taken;
    }
    offered
}

/// Queues a message before the connection has had a chance to encrypt what is there.
fn send_later(secure: &mut Secure, message: Message) -> MessageId {
    let pair = &mut secure.pair;
    let sent = pair.set.send(pair.now, pair.id, message, Report::Outcome);
    sent.expect("there is room")
}

fn blocked() -> Secure {
    let mut secure = Secure::new();
    secure.open();
    secure.pair.is_blocked = true;
    secure
}

#[test]
fn a_record_counts_when_its_last_byte_is_taken_and_is_lost_when_any_was() {
    // Three messages of 11 bytes as frames: one record with 5 bytes of header and 17 of proof.
    let record = 5 + 33 + 17;
    for taken in 0..=record {
        let mut secure = blocked();
        let [first, again, third] = [
            Message::text("first"),
            Message::text("again").idempotent(),
            Message::text("third"),
        ]
        .map(|message| send_later(&mut secure, message));
        write(&mut secure, taken);
        let counters = secure
            .pair
            .set
            .counters(secure.pair.id)
            .expect("it is there");
        let expected_in_flight = if (1..record).contains(&taken) { 3 } else { 0 };
        assert_eq!(counters.in_flight_out, expected_in_flight, "{taken}");
        reset(&mut secure.pair);
        let at_loss = match taken {
            0 => vec![],
            _ if taken == record => vec![
                (first, Outcome::Written),
                (again, Outcome::Written),
                (third, Outcome::Written),
            ],
            _ => vec![(first, Outcome::Interrupted), (third, Outcome::Interrupted)],
        };
        assert_eq!(secure.pair.outcomes, at_loss, "{taken}");
        secure.pair.is_blocked = false;
        secure.accept_again();
        secure.open();
        let later: Vec<_> = frames_of(&secure.server.plaintext)
            .into_iter()
            .map(|(_, payload)| payload)
            .collect();
        let expected: &[&[u8]] = match taken {
            0 => &[b"first", b"again", b"third"],
            _ if taken == record => &[],
            _ => &[b"again"],
        };
        assert_eq!(later, expected, "{taken}");
    }
}

#[test]
fn what_was_taken_in_parts_of_any_size_is_one_stream() {
    for part in [1, 2, 16, 17, 1_000, 16_383, 16_384, 16_385, 50_000] {
        let mut secure = blocked();
        let messages: Vec<_> = [0, 1, 125, 126, 16_369, 16_370, 16_371, 70_000, 3]
            .iter()
            .map(|len| "m".repeat(*len))
            .collect();
        let ids: Vec<_> = messages
            .iter()
            .map(|message| secure.pair.send(message.as_str()))
            .collect();
        let mut rounds = 0;
        while write(&mut secure, part) > 0 {
            rounds += 1;
            assert!(rounds < 1_000_000, "no progress");
        }
        let written = secure.pair.take_written();
        secure.server.feed(&written);
        let said: Vec<_> = frames_of(&secure.server.plaintext)
            .into_iter()
            .map(|(_, payload)| String::from_utf8(payload).expect("text"))
            .collect();
        assert!(said == messages, "part {part}");
        let outcomes: Vec<_> = ids.into_iter().map(|id| (id, Outcome::Written)).collect();
        assert_eq!(secure.pair.outcomes, outcomes);
        assert_eq!(secure.pair.set.charged_bytes(), 0, "buffers are given back");
    }
}

/// Queues a pack of these texts.
fn send_packed(secure: &mut Secure, texts: &[String]) {
    let mut packed = Packed::default();
    for text in texts {
        assert!(packed.push_bytes(Kind::Text, text.as_bytes()));
    }
    let pair = &mut secure.pair;
    pair.set
        .send_packed(pair.now, pair.id, packed, |error| panic!("{error}"));
    pair.drain();
    pair.set.check_invariants();
}

/// The texts that the server has got since it was asked last.
fn said(secure: &mut Secure) -> Vec<String> {
    let written = secure.pair.take_written();
    secure.server.feed(&written);
    let frames = frames_of(&secure.server.plaintext).into_iter();
    frames
        .map(|(_, payload)| String::from_utf8(payload).expect("text"))
        .collect()
}

#[test]
fn packed_messages_in_records_that_are_taken_in_parts_arrive_once_and_in_order() {
    // Three records, whose borders are within messages.
    let texts: Vec<String> = (0..200)
        .map(|n| format!("{n} {}", "p".repeat(n * 7 % 450)))
        .collect();
    let (first, second) = texts.split_at(80);
    for part in [1, 5, 22, 23, 1_000, 16_383, 16_384, 16_406, 16_407, 50_000] {
        let mut secure = blocked();
        send_packed(&mut secure, first);
        write(&mut secure, part);
        // A record with the first of them waits, and others come behind.
        send_packed(&mut secure, second);
        let mut rounds = 0;
        while write(&mut secure, part) > 0 {
            secure.pair.set.check_invariants();
            rounds += 1;
            assert!(rounds < 1_000_000, "no progress");
        }
        assert!(said(&mut secure) == texts, "part {part}");
        let counters = secure.pair.set.counters(secure.pair.id);
        let counters = counters.expect("it is there");
        assert_eq!((counters.written, counters.in_flight_out), (200, 0));
        assert_eq!(secure.pair.set.charged_bytes(), 0, "buffers are given back");
    }
}

#[test]
fn packed_messages_in_a_record_that_was_cut_are_interrupted_and_all_others_go_to_the_next_socket() {
    let texts: Vec<String> = (0..60)
        .map(|n| format!("{n} {}", "p".repeat(n * 37 % 900)))
        .collect();
    let whole = texts.iter().map(String::len).sum::<usize>();
    assert!(whole > 16_384, "more than one record");
    for taken in (0..whole).step_by(613) {
        let mut secure = blocked();
        send_packed(&mut secure, &texts);
        write(&mut secure, taken);
        reset(&mut secure.pair);
        let counters = secure.pair.set.counters(secure.pair.id);
        let counters = counters.expect("it is there");
        let gone = usize::try_from(counters.written + counters.interrupted).expect("few");
        // The message in which the first record ends is begun with the next.
        match taken {
            0 => assert_eq!(gone, 0),
            1..16_000 => assert!(counters.written == 0 && gone > 10, "{counters:?}"),
            _ => assert!(counters.written > 10, "{counters:?}"),
        }
        secure.pair.is_blocked = false;
        secure.accept_again();
        secure.open();
        assert!(said(&mut secure) == texts[gone..], "{taken}");
    }
}

#[test]
fn a_message_of_many_records_is_written_with_its_last() {
    let mut secure = blocked();
    let long = secure.pair.send("l".repeat(100_000));
    let next = secure.pair.send("next");
    write(&mut secure, 60_000);
    assert!(secure.pair.outcomes.is_empty());
    assert!(
        secure.pair.set.charged_bytes() < 200_000,
        "no copy of it is kept"
    );
    reset(&mut secure.pair);
    assert_eq!(secure.pair.outcomes, [(long, Outcome::Interrupted)]);
    secure.pair.is_blocked = false;
    secure.accept_again();
    secure.open();
    assert_eq!(secure.pair.outcomes[1], (next, Outcome::Written));
}

#[test]
fn a_pong_goes_out_between_the_records_of_a_long_message_at_its_end() {
    let mut secure = blocked();
    secure.pair.send("l".repeat(40_000));
    secure.pair.send("after");
    write(&mut secure, 20_000);
    secure.server.say(&frame(9, b"?"));
    let ping = secure.server.take();
    secure.pair.receive(&ping);
    while write(&mut secure, usize::MAX) > 0 {}
    let written = secure.pair.take_written();
    secure.server.feed(&written);
    let opcodes: Vec<_> = frames_of(&secure.server.plaintext)
        .into_iter()
        .map(|(opcode, _)| opcode)
        .collect();
    assert_eq!(opcodes, [1, 10, 1]);
}

#[test]
fn compressed_messages_in_records_that_are_taken_in_parts_are_one_stream() {
    for part in [1, 100, 16_384, 60_000] {
        let settings = Settings {
            deflate: Some(Deflate::default()),
            ..Settings::default()
        };
        let mut secure = Secure::with(Setup::default(), settings, Hooks::default());
        secure.exchange(usize::MAX);
        let request = std::mem::take(&mut secure.server.plaintext);
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        secure.server.say(&response_with(&request, agreed));
        secure.exchange(usize::MAX);
        secure.pair.is_blocked = true;
        // Every second one does not get shorter; the others refer to one another.
        let mut state = 1_u32;
        let messages: Vec<String> = (0..40)
            .map(|n| {
                let noise = (0..n * 200).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from(b' ' + (state >> 24).to_le_bytes()[0] % 95)
                });
                match n % 2 {
                    0 => "again and again ".repeat(n * 30),
                    _ => noise.collect(),
                }
            })
            .collect();
        for message in &messages {
            secure.pair.send(message.as_str());
        }
        while write(&mut secure, part) > 0 {}
        let written = secure.pair.take_written();
        secure.server.feed(&written);
        let mut receiver = Receiver::default();
        let mut compressed = 0;
        let said: Vec<_> = raw_frames_of(&secure.server.plaintext)
            .into_iter()
            .map(|(first, payload)| match first & 0x40 {
                0 => payload,
                _ => {
                    compressed += 1;
                    receiver.decompress(&payload)
                }
            })
            .map(|payload| String::from_utf8(payload).expect("text"))
            .collect();
        assert!(said == messages, "part {part}");
        assert!(compressed > 15, "{compressed}");
    }
}
