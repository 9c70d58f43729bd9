//! What becomes of messages that a full queue, a deadline or a lost socket leaves behind.

mod pair;

use std::time::Duration;

use bytes::Bytes;
use pair::peer::Receiver;
use pair::{Pair, raw_frames_of, text};
use ropewalk_core::settings::{Deflate, DropPolicy, Overflow};
use ropewalk_core::{
    Acknowledge, Coalesce, EventKind, Hooks, Input, Lane, Message, Offline, Outcome, Report,
    SendErrorCause, Settings, Shutdown, Stage, TransportError, TransportErrorKind,
};

const MS: Duration = Duration::from_millis(1);
const RSV1: u8 = 0x40;

fn settings(when_full: Overflow, items_max: usize) -> Settings {
    let mut settings = Settings::default();
    settings.outbound.when_full = when_full;
    settings.outbound.items_max = items_max;
    settings
}

/// An open connection whose kernel takes nothing.
fn blocked(settings: Settings) -> Pair {
    let hooks = Hooks {
        coalesce: Some(Coalesce::new(before_the_equals_sign)),
        ..Hooks::default()
    };
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

fn before_the_equals_sign(message: &Message) -> Option<Bytes> {
    let at = message.as_bytes().iter().position(|byte| *byte == b'=')?;
    Some(Bytes::copy_from_slice(&message.as_bytes()[..at]))
}

/// The kernel takes this many bytes of what is offered.
fn take(pair: &mut Pair, bytes: usize) {
    let socket = pair.socket.expect("there is a socket");
    let transmit = pair.set.transmit(pair.now, socket).expect("more to write");
    let piece = transmit.slices()[0][..bytes].to_vec();
    transmit.advance(bytes);
    pair.written.extend(piece);
    pair.drain();
}

/// What has reached the server when the kernel takes everything again.
fn sent(pair: &mut Pair) -> Vec<String> {
    pair.unblock();
    let mut receiver = Receiver::default();
    let frames = raw_frames_of(&pair.take_written()).into_iter();
    frames
        .map(|(first, payload)| {
            let payload = match first & RSV1 {
                0 => payload,
                _ => receiver.decompress(&payload),
            };
            String::from_utf8(payload).expect("text")
        })
        .collect()
}

/// How many messages were begun on a further socket.
fn resent(pair: &Pair) -> u64 {
    let counters = pair.set.counters(pair.id);
    counters.expect("the connection is there").resent
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.take().expect("there is a socket");
    let error = TransportError::new(TransportErrorKind::Reset);
    pair.handle(Input::TransportFailed { socket, error });
}

fn refusal(pair: &mut Pair, message: Message) -> SendErrorCause {
    let error = pair
        .set
        .send(pair.now, pair.id, message, Report::Outcome)
        .expect_err("it is refused");
    pair.drain();
    error.cause
}

#[test]
fn a_full_queue_that_waits_or_rejects_gives_the_message_back() {
    for when_full in [Overflow::Wait, Overflow::Reject] {
        let mut pair = blocked(settings(when_full, 2));
        pair.send("a");
        pair.send("b");
        assert_eq!(refusal(&mut pair, "c".into()), SendErrorCause::Full);
        assert_eq!(sent(&mut pair), ["a", "b"]);
    }
}

#[test]
fn a_full_queue_that_drops_the_oldest_sends_the_newest() {
    let mut pair = blocked(settings(Overflow::DropOldest, 2));
    let ids: Vec<_> = ["a", "b", "c", "d"].map(|text| pair.send(text)).into();
    let dropped = Outcome::Dropped(DropPolicy::Oldest);
    assert_eq!(
        pair.outcomes,
        [(ids[0], dropped.clone()), (ids[1], dropped)]
    );
    assert_eq!(sent(&mut pair), ["c", "d"]);
    let counters = pair.set.counters(pair.id).expect("it is there");
    assert_eq!((counters.dropped_out, counters.written), (2, 2));
}

#[test]
fn drops_are_told_once_a_second() {
    let mut pair = blocked(settings(Overflow::DropOldest, 1));
    for _ in 0..5 {
        pair.send("x");
    }
    pair.advance(1_000 * MS);
    pair.send("y");
    let told: Vec<_> = pair
        .kinds()
        .into_iter()
        .filter_map(|kind| {
            let EventKind::Dropped { policy, total } = kind else {
                return None;
            };
            Some((*policy, *total))
        })
        .collect();
    assert_eq!(told, [(DropPolicy::Oldest, 1), (DropPolicy::Oldest, 5)]);
}

#[test]
fn a_message_that_is_on_its_way_is_not_dropped_for_a_newer_one() {
    let mut pair = blocked(settings(Overflow::DropOldest, 1));
    pair.send("begun");
    take(&mut pair, 3);
    let late = pair.send("late");
    assert_eq!(
        pair.outcomes,
        [(late, Outcome::Dropped(DropPolicy::Newest))]
    );
    assert_eq!(sent(&mut pair), ["begun"]);
}

#[test]
fn a_full_queue_that_drops_the_newest_sends_the_oldest() {
    let mut pair = blocked(settings(Overflow::DropNewest, 2));
    pair.send("a");
    pair.send("b");
    let third = pair.send("c");
    assert_eq!(
        pair.outcomes,
        [(third, Outcome::Dropped(DropPolicy::Newest))]
    );
    assert_eq!(sent(&mut pair), ["a", "b"]);
}

#[test]
fn a_message_replaces_the_waiting_one_of_its_key_and_stands_at_the_end() {
    let mut pair = blocked(settings(Overflow::Coalesce, 3));
    let first = pair.send("x=1");
    pair.send("y=1");
    pair.send("no key");
    pair.send("x=2");
    let coalesced = Outcome::Dropped(DropPolicy::Coalesced);
    assert_eq!(pair.outcomes, [(first, coalesced)]);
    // Nothing has its key: the oldest gives way.
    pair.send("z=1");
    assert_eq!(sent(&mut pair), ["no key", "x=2", "z=1"]);
}

#[test]
fn a_message_that_is_on_its_way_is_not_replaced() {
    let mut pair = blocked(settings(Overflow::Coalesce, 3));
    pair.send("x=1");
    take(&mut pair, 1);
    pair.send("x=2");
    pair.send("x=3");
    assert_eq!(sent(&mut pair), ["x=1", "x=3"]);
}

#[test]
fn the_priority_lane_overtakes_what_is_not_begun() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    pair.send("begun");
    take(&mut pair, 3);
    pair.send("normal 1");
    pair.send(Message::text("urgent 1").lane(Lane::Priority));
    pair.send("normal 2");
    pair.send(Message::text("urgent 2").lane(Lane::Priority));
    assert_eq!(
        sent(&mut pair),
        ["begun", "urgent 1", "urgent 2", "normal 1", "normal 2"]
    );
}

#[test]
fn the_priority_lane_is_dropped_last() {
    let mut pair = blocked(settings(Overflow::DropOldest, 2));
    pair.send(Message::text("urgent").lane(Lane::Priority));
    pair.send("a");
    pair.send("b");
    assert_eq!(sent(&mut pair), ["urgent", "b"]);
}

#[test]
fn an_idempotent_message_that_was_cut_goes_ahead_of_the_priority_lane() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    pair.send(Message::text("again").idempotent());
    take(&mut pair, 3);
    pair.send("normal");
    reset(&mut pair);
    pair.send(Message::text("urgent").lane(Lane::Priority));
    pair.is_blocked = false;
    pair.advance(1_000 * MS);
    pair.open();
    assert_eq!(sent(&mut pair), ["again", "urgent", "normal"]);
    assert_eq!(resent(&pair), 1);
}

/// An open connection whose messages wait 5 ms for others.
fn lingering(change: impl FnOnce(&mut Settings)) -> Pair {
    let mut settings = Settings::default();
    settings.outbound.linger = 5 * MS;
    change(&mut settings);
    let mut pair = blocked(settings);
    pair.is_blocked = false;
    pair
}

#[test]
fn messages_that_linger_leave_in_one_write_at_the_nanosecond_of_the_first() {
    let mut pair = lingering(|_| {});
    pair.send("a");
    pair.advance(3 * MS);
    pair.send("b");
    pair.advance(2 * MS - Duration::from_nanos(1));
    assert!(pair.take_written().is_empty());
    pair.advance(Duration::from_nanos(1));
    assert_eq!(sent(&mut pair), ["a", "b"]);
    // The next ones wait for their own time.
    pair.send("c");
    pair.advance(5 * MS - Duration::from_nanos(1));
    assert!(pair.take_written().is_empty());
    pair.advance(Duration::from_nanos(1));
    assert_eq!(sent(&mut pair), ["c"]);
}

#[test]
fn nothing_lingers_behind_a_message_of_the_priority_lane() {
    let mut pair = lingering(|_| {});
    pair.send("normal");
    pair.send(Message::text("urgent").lane(Lane::Priority));
    assert_eq!(sent(&mut pair), ["urgent", "normal"]);
}

#[test]
fn half_a_queue_and_a_full_write_do_not_linger() {
    let mut pair = lingering(|settings| settings.outbound.items_max = 4);
    pair.send("a");
    assert!(pair.take_written().is_empty());
    pair.send("b");
    assert_eq!(sent(&mut pair), ["a", "b"]);

    let mut pair = lingering(|settings| settings.outbound.bytes_max = 10);
    pair.send("1234");
    assert!(pair.take_written().is_empty());
    pair.send("5");
    assert_eq!(sent(&mut pair), ["1234", "5"]);

    let mut pair = lingering(|_| {});
    pair.send(vec![0; (64 << 10) - 1]);
    assert!(pair.take_written().is_empty());
    pair.send(vec![1]);
    assert_eq!(raw_frames_of(&pair.take_written()).len(), 2);
    // What comes then waits for more again.
    pair.send(vec![2]);
    assert!(pair.take_written().is_empty());
    pair.advance(5 * MS);
    assert_eq!(raw_frames_of(&pair.take_written()), [(0x82, vec![2])]);
}

#[test]
fn pongs_do_not_linger_and_take_nothing_along() {
    let mut pair = lingering(|_| {});
    pair.send("waits");
    pair.receive(&[0x89, 1, b'?']);
    assert_eq!(raw_frames_of(&pair.take_written()), [(0x8a, b"?".to_vec())]);
    pair.advance(5 * MS);
    assert_eq!(sent(&mut pair), ["waits"]);
}

#[test]
fn a_connection_that_ends_sends_what_lingers_first() {
    let mut pair = lingering(|_| {});
    let id = pair.send("last");
    let deadline = pair.now + 1_000 * MS;
    pair.set
        .remove(pair.now, pair.id, Shutdown::Graceful { deadline });
    pair.drain();
    let frames = raw_frames_of(&pair.take_written());
    assert_eq!(frames[0], (0x81, b"last".to_vec()));
    assert_eq!(frames[1].0, 0x88);
    assert!(pair.outcomes.contains(&(id, Outcome::Written)));
}

#[test]
fn a_message_expires_at_its_own_nanosecond_and_becomes_a_letter() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    pair.send("stays");
    let brief = pair.send(Message::text("brief").ttl(50 * MS));
    pair.advance(50 * MS - Duration::from_nanos(1));
    assert_eq!(pair.outcomes, []);
    pair.advance(Duration::from_nanos(1));
    assert_eq!(pair.outcomes, [(brief, Outcome::Expired)]);
    let letter = &pair.letters[0];
    assert_eq!(
        (&letter.payload[..], letter.stage),
        (&b"brief"[..], Stage::Network)
    );
    assert_eq!(&*letter.reason, "it waited for longer than 50ms");
    assert_eq!(sent(&mut pair), ["stays"]);
}

#[test]
fn a_message_that_is_on_its_way_does_not_expire_until_its_socket_is_lost() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    let id = pair.send(Message::text("brief").ttl(50 * MS).idempotent());
    take(&mut pair, 3);
    pair.advance(100 * MS);
    assert_eq!(pair.outcomes, []);
    reset(&mut pair);
    pair.advance(MS);
    // A part of it is out: nobody can say that it was never sent.
    assert_eq!(pair.outcomes, [(id, Outcome::Interrupted)]);
}

#[test]
fn what_a_lost_socket_had_begun_is_neither_dropped_nor_replaced() {
    for when_full in [Overflow::DropOldest, Overflow::Coalesce] {
        let mut pair = blocked(settings(when_full, 1));
        pair.send(Message::text("x=1").idempotent());
        take(&mut pair, 3);
        reset(&mut pair);
        let newer = pair.send("x=2");
        assert_eq!(
            pair.outcomes,
            [(newer, Outcome::Dropped(DropPolicy::Newest))]
        );
        pair.is_blocked = false;
        pair.advance(1_000 * MS);
        pair.open();
        assert_eq!(sent(&mut pair), ["x=1"]);
    }
}

#[test]
fn nothing_is_dropped_for_a_message_that_has_no_room_even_then() {
    for when_full in [Overflow::DropOldest, Overflow::Coalesce] {
        let mut settings = settings(when_full, 10);
        settings.outbound.bytes_max = 12;
        let mut pair = blocked(settings);
        pair.send("begun");
        take(&mut pair, 3);
        pair.send("x=1");
        let large = pair.send("x=2 and much more");
        assert_eq!(
            pair.outcomes,
            [(large, Outcome::Dropped(DropPolicy::Newest))]
        );
        assert_eq!(sent(&mut pair), ["begun", "x=1"]);
    }
}

#[test]
fn what_a_lost_socket_had_begun_is_interrupted_when_there_is_no_other() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    let begun = pair.send(Message::text("begun").idempotent());
    let waiting = pair.send("waiting");
    take(&mut pair, 3);
    reset(&mut pair);
    pair.set.remove(pair.now, pair.id, Shutdown::Abort);
    pair.drain();
    assert_eq!(
        pair.outcomes,
        [(begun, Outcome::Interrupted), (waiting, Outcome::NotSent)]
    );
}

#[test]
fn a_message_waits_for_a_socket_for_its_time_and_no_longer() {
    let mut pair = Pair::new(settings(Overflow::Wait, 10), Hooks::default());
    let id = pair.send(Message::text("brief").ttl(50 * MS));
    pair.advance(50 * MS);
    assert_eq!(pair.outcomes, [(id, Outcome::Expired)]);
}

#[test]
fn what_is_not_to_wait_for_a_socket_is_refused_without_one() {
    let only_online = || Message::text("now").offline(Offline::Refuse);
    let mut pair = Pair::new(settings(Overflow::Wait, 10), Hooks::default());
    assert_eq!(refusal(&mut pair, only_online()), SendErrorCause::Offline);
    pair.open();
    pair.is_blocked = true;
    let waiting = pair.send("waits");
    let refusing = pair.send(only_online());
    reset(&mut pair);
    assert_eq!(pair.outcomes, [(refusing, Outcome::NotSent)]);
    pair.is_blocked = false;
    pair.advance(1_000 * MS);
    pair.open();
    assert_eq!(pair.outcomes[1], (waiting, Outcome::Written));
}

#[test]
fn what_was_compressed_ahead_is_compressed_anew_when_the_order_changes() {
    let mut settings = settings(Overflow::Coalesce, 4);
    settings.deflate = Some(Deflate {
        threshold: 0,
        ..Deflate::default()
    });
    let mut pair = blocked(settings);
    let words = "a message that refers to the one before it";
    pair.send(format!("1 {words}"));
    pair.send(format!("2={words}"));
    pair.send(format!("3 {words}"));
    pair.send(format!("4 {words}"));
    pair.send(format!("2={words}!"));
    pair.send(Message::text(format!("5 {words}")).lane(Lane::Priority));
    assert_eq!(
        sent(&mut pair),
        [
            format!("5 {words}"),
            format!("3 {words}"),
            format!("4 {words}"),
            format!("2={words}!")
        ]
    );
}

/// An open connection whose requests and replies begin with an identifier and a colon.
fn asking(settings: Settings) -> Pair {
    let identifier = |bytes: &[u8]| {
        let at = bytes.iter().position(|byte| *byte == b':')?;
        Some(Bytes::copy_from_slice(&bytes[..at]))
    };
    let hooks = Hooks {
        acknowledge: Some(Acknowledge::new(
            move |request| identifier(request.as_bytes()),
            move |reply| identifier(reply.as_bytes()),
        )),
        ..Hooks::default()
    };
    let mut pair = Pair::new(settings, hooks);
    pair.open();
    pair.take_written();
    pair
}

#[test]
fn a_reply_acknowledges_its_request_and_is_delivered() {
    let mut pair = asking(Settings::default());
    let (first, second) = (pair.send("1:what?"), pair.send("2:where?"));
    let plain = pair.send("no identifier");
    assert_eq!(pair.outcomes, [(plain, Outcome::Written)]);
    pair.receive(&[text("2:there"), text("3:nobody asked"), text("1:that")].concat());
    let acknowledged = |reply: &str| Outcome::Acknowledged(Box::new(Message::text(reply)));
    assert_eq!(
        pair.outcomes[1..],
        [
            (second, acknowledged("2:there")),
            (first, acknowledged("1:that"))
        ]
    );
    assert_eq!(pair.texts(), ["2:there", "3:nobody asked", "1:that"]);
    let counters = pair.set.counters(pair.id).expect("it is there");
    assert_eq!((counters.written, counters.acknowledged), (3, 2));
}

#[test]
fn a_request_without_a_reply_was_written_and_no_more() {
    let mut pair = asking(Settings::default());
    let id = pair.send("1:what?");
    let timeout = Settings::default().timeouts.acknowledge;
    pair.advance(timeout - Duration::from_nanos(1));
    assert_eq!(pair.outcomes, []);
    pair.advance(Duration::from_nanos(1));
    assert_eq!(pair.outcomes, [(id, Outcome::Written)]);
    pair.receive(&text("1:too late"));
    assert_eq!(pair.outcomes.len(), 1);
}

#[test]
fn a_request_waits_for_its_reply_while_this_side_does_not_read() {
    let mut settings = Settings::default();
    settings.inbound.items_max = 1;
    settings.batch.count_max = 1;
    let mut pair = asking(settings);
    let id = pair.send("1:what?");
    pair.stop_asking();
    pair.receive(&text("delivered"));
    pair.receive(&text("waits"));
    pair.advance(Duration::from_secs(15));
    assert_eq!(pair.outcomes, []);
    pair.ask();
    pair.receive(&text("1:that"));
    assert_eq!(pair.outcomes[0].0, id);
    assert!(matches!(pair.outcomes[0].1, Outcome::Acknowledged(_)));
}

#[test]
fn requests_in_flight_fill_the_queue() {
    let mut pair = asking(settings(Overflow::Reject, 2));
    pair.send("1:a");
    pair.send("2:b");
    assert_eq!(refusal(&mut pair, "3:c".into()), SendErrorCause::Full);
    pair.receive(&text("1:done"));
    pair.send("3:c");
}

#[test]
fn what_was_not_acknowledged_when_the_socket_was_lost_goes_out_again_if_it_may() {
    let mut pair = asking(Settings::default());
    let again = pair.send(Message::text("1:again").idempotent());
    let once = pair.send("2:once");
    let too = pair.send(Message::text("3:too").idempotent());
    pair.is_blocked = true;
    pair.send("4:later");
    pair.send(Message::text("5:urgent").lane(Lane::Priority));
    reset(&mut pair);
    assert_eq!(pair.outcomes, [(once, Outcome::Written)]);
    pair.is_blocked = false;
    pair.advance(1_000 * MS);
    pair.open();
    assert_eq!(sent(&mut pair), ["1:again", "3:too", "5:urgent", "4:later"]);
    assert_eq!(resent(&pair), 2);
    pair.receive(&[text("1:"), text("3:")].concat());
    let ids: Vec<_> = pair.outcomes[1..].iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [again, too]);
}

#[test]
fn what_was_written_and_not_acknowledged_was_written_however_it_ends() {
    let brief = |message: Message| message.ttl(50 * MS);
    let refusing = |message: Message| message.offline(Offline::Refuse);
    for change in [brief, refusing] {
        let mut pair = asking(Settings::default());
        let id = pair.send(change(Message::text("1:again").idempotent()));
        reset(&mut pair);
        pair.advance(50 * MS);
        assert_eq!(pair.outcomes, [(id, Outcome::Written)]);
        assert!(pair.letters.is_empty());
    }
}

#[test]
fn a_message_of_the_same_identifier_takes_the_reply() {
    let mut pair = asking(Settings::default());
    let first = pair.send("1:a");
    let second = pair.send("1:b");
    assert_eq!(pair.outcomes, [(first, Outcome::Written)]);
    pair.receive(&text("1:"));
    assert_eq!(pair.outcomes[1].0, second);
}

#[test]
fn messages_that_are_queued_together_are_as_if_queued_one_by_one() {
    for when_full in [
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Coalesce,
    ] {
        let texts = ["a=1", "b=1", "a=2", "c=1", "d=1"];
        let messages = || {
            texts.into_iter().map(|text| {
                let lane = if text == "c=1" {
                    Lane::Priority
                } else {
                    Lane::Normal
                };
                Message::text(text).lane(lane)
            })
        };
        let mut together = blocked(settings(when_full, 3));
        let mut told = Vec::new();
        let with_numbers = messages()
            .zip(0..)
            .map(|(message, n)| (message, Report::Outcome, n));
        let (now, id) = (together.now, together.id);
        together
            .set
            .send_all(now, id, with_numbers, |n, sent| told.push((n, sent)));
        together.drain();
        together.set.check_invariants();

        let mut alone = blocked(settings(when_full, 3));
        for (n, message) in messages().enumerate() {
            let sent = alone
                .set
                .send(alone.now, alone.id, message, Report::Outcome);
            alone.drain();
            assert_eq!(told[n], (n, sent), "{when_full:?}");
        }
        assert_eq!(together.set.counters(id), alone.set.counters(alone.id));
        assert_eq!(sent(&mut together), sent(&mut alone), "{when_full:?}");
    }
}

#[test]
fn messages_for_a_connection_that_is_gone_all_come_back() {
    let mut pair = blocked(settings(Overflow::Wait, 3));
    pair.set.remove(pair.now, pair.id, Shutdown::Abort);
    pair.drain();
    let mut told = Vec::new();
    let messages = ["a", "b"].map(|text| (Message::text(text), Report::Outcome, ()));
    pair.set.send_all(pair.now, pair.id, messages, |(), sent| {
        let error = sent.expect_err("there is no connection");
        told.push((error.message, error.cause));
    });
    let back = ["a", "b"].map(|text| (Message::text(text), SendErrorCause::Closed));
    assert_eq!(told, back);
}

#[test]
fn a_long_message_that_leaves_in_parts_is_written_with_its_last() {
    let mut pair = blocked(settings(Overflow::Wait, 10));
    let short = pair.send("short");
    let long = pair.send(vec![7; 600 << 10]);
    let last = pair.send("last");
    let socket = pair.socket.expect("there is a socket");
    let mut parts = 0;
    while let Some(transmit) = pair.set.transmit(pair.now, socket) {
        pair.written.extend_from_slice(&transmit.slices()[0]);
        let len = transmit.len();
        transmit.advance(len);
        pair.drain();
        parts += 1;
        let expected: &[_] = match parts {
            1 | 2 => &[(short, Outcome::Written)],
            _ => &[short, long, last].map(|id| (id, Outcome::Written)),
        };
        assert_eq!(pair.outcomes, expected, "after {parts} parts");
    }
    assert_eq!(parts, 3);
    let frames = raw_frames_of(&pair.take_written());
    let lengths: Vec<_> = frames.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [5, 600 << 10, 4]);
}
