//! What one connection does, told from outside, in virtual time.

mod pair;

use std::num::NonZeroU64;
use std::time::Duration;

use pair::{Pair, close, frame, frames_of, text};
use ropewalk_core::hooks::{Expect, ReadyStep, Resume, Template};
use ropewalk_core::settings::{BatchPolicy, Keepalive, QueueBounds};
use ropewalk_core::{
    Admission, AdmissionLimits, CloseReason, Config, Consumer, EventKind, GaveUpCause, Hooks,
    Input, Message, MessageRef, Outcome, Settings, Shutdown, State, TimerKind, TransportError,
    TransportErrorKind, Verdict,
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn opened() -> Pair {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.open();
    assert_eq!(pair.state(), State::Open);
    pair
}

fn last_closed(pair: &Pair) -> &CloseReason {
    let closed = pair.kinds().into_iter().rev().find_map(|kind| {
        if let EventKind::Closed { reason, .. } = kind {
            Some(reason)
        } else {
            None
        }
    });
    closed.expect("something ended")
}

fn reset(pair: &mut Pair) {
    let socket = pair.socket.take().expect("there is a socket");
    let error = TransportError::new(TransportErrorKind::Reset);
    pair.handle(Input::TransportFailed { socket, error });
}

#[test]
fn messages_flow_both_ways() {
    let mut pair = opened();
    pair.receive(&text("hello"));
    assert_eq!(pair.texts(), ["hello"]);
    let id = pair.send("world");
    assert_eq!(frames_of(&pair.written), [(TEXT, b"world".to_vec())]);
    assert_eq!(pair.outcomes, [(id, Outcome::Written)]);
}

#[test]
fn an_open_connection_wakes_for_its_ping_and_not_for_what_its_dial_had_to_wait_for() {
    let pair = opened();
    let interval = Settings::default().keepalive.unwrap().interval;
    let waits = pair.next_timeout.unwrap().saturating_since(pair.now);
    assert!(waits > interval - interval / 32, "{waits:?}");
}

#[test]
fn an_open_connection_that_does_not_ping_wakes_for_nothing() {
    let settings = Settings {
        keepalive: None,
        ..Settings::default()
    };
    let mut pair = Pair::new(settings, Hooks::default());
    pair.open();
    assert_eq!(pair.state(), State::Open);
    assert_eq!(pair.next_timeout, None);
}

#[test]
fn frames_in_the_same_segment_as_the_101_are_delivered() {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.accept();
    pair.upgrade(&[text("a"), text("b")].concat());
    assert_eq!(pair.texts(), ["a", "b"]);
}

#[test]
fn a_message_that_the_kernel_took_a_part_of_is_interrupted_and_the_rest_goes_out_next() {
    let mut pair = opened();
    pair.kernel_takes = 9;
    pair.is_blocked = true;
    let first = pair.send("first");
    let second = pair.send("second");
    let third = pair.send("third");
    // 11 bytes a frame: 18 are one frame and a part of the second.
    pair.is_blocked = false;
    let socket = pair.socket.expect("a socket");
    for _ in 0..2 {
        let transmit = pair.set.transmit(pair.now, socket).expect("more to write");
        transmit.advance(9);
        pair.drain();
    }
    assert_eq!(pair.outcomes, [(first, Outcome::Written)]);
    pair.kernel_takes = usize::MAX;
    reset(&mut pair);
    assert_eq!(pair.outcomes[1], (second, Outcome::Interrupted));
    pair.advance(Duration::from_secs(1));
    pair.open();
    assert_eq!(frames_of(&pair.written), [(TEXT, b"third".to_vec())]);
    assert_eq!(pair.outcomes[2], (third, Outcome::Written));
}

#[test]
fn an_idempotent_message_that_was_cut_goes_out_again_whole_and_first() {
    let mut pair = opened();
    pair.is_blocked = true;
    pair.send(Message::text("again").idempotent());
    pair.send("after");
    let socket = pair.socket.expect("a socket");
    pair.set
        .transmit(pair.now, socket)
        .expect("more")
        .advance(3);
    pair.drain();
    reset(&mut pair);
    pair.is_blocked = false;
    pair.advance(Duration::from_secs(1));
    pair.open();
    let sent: Vec<_> = frames_of(&pair.written).into_iter().map(|f| f.1).collect();
    assert_eq!(sent, [b"again".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_large_message_is_written_piece_by_piece_and_arrives_whole() {
    let mut pair = opened();
    let payload: Vec<u8> = (0..300_000u32).map(|i| i.to_le_bytes()[0]).collect();
    pair.kernel_takes = 50_001;
    pair.send(payload.clone());
    pair.send("next");
    let frames = frames_of(&pair.written);
    assert_eq!(frames, [(2, payload), (TEXT, b"next".to_vec())]);
}

#[test]
fn a_ping_is_answered_between_messages_and_not_inside_one() {
    let mut pair = opened();
    pair.is_blocked = true;
    pair.send("0123456789");
    let socket = pair.socket.expect("a socket");
    pair.set
        .transmit(pair.now, socket)
        .expect("more")
        .advance(5);
    pair.drain();
    pair.send("later");
    pair.receive(&frame(PING, b"?"));
    pair.written.clear();
    pair.unblock();
    // The first five bytes of the first frame went to a kernel of which this test keeps no record.
    let rest = &pair.written[11..];
    assert_eq!(
        frames_of(rest),
        [(PONG, b"?".to_vec()), (TEXT, b"later".to_vec())]
    );
}

#[test]
fn keepalive_pings_an_idle_peer_and_redials_a_silent_one() {
    let mut pair = opened();
    pair.take_written();
    pair.advance(Duration::from_secs(20));
    let pings = frames_of(&pair.written);
    assert_eq!((pings.len(), pings[0].0), (1, PING));
    pair.advance(Duration::from_secs(20));
    assert_eq!(
        *last_closed(&pair),
        CloseReason::Timeout(TimerKind::KeepaliveTimeout)
    );
    pair.advance(Duration::from_secs(1));
    assert_eq!((pair.state(), pair.dials.len()), (State::Connecting, 2));
}

#[test]
fn any_byte_counts_as_life_and_a_pong_measures_the_round_trip() {
    let mut pair = opened();
    pair.take_written();
    pair.advance(Duration::from_secs(20));
    let ping = frames_of(&pair.take_written()).remove(0);
    pair.advance(Duration::from_millis(30));
    pair.receive(&frame(PONG, &ping.1));
    assert_eq!(pair.state(), State::Open);
    let counters = pair.set.counters(pair.id).expect("it is there");
    assert!(counters.round_trip_last_micros >= 30_000);
    // Half a frame, then the rest: the peer lives although no message arrived.
    for byte in text("x") {
        pair.advance(Duration::from_secs(19));
        pair.receive(&[byte]);
    }
    assert_eq!(pair.state(), State::Open);
}

#[test]
fn a_message_is_life_at_once_although_the_answer_to_a_ping_has_longer_than_the_next_ping() {
    let keepalive = Keepalive {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(30),
    };
    let mut pair = Pair::opened(Settings {
        keepalive: Some(keepalive),
        ..Settings::default()
    });
    pair.take_written();
    // The first ping may come up to an interval early.
    pair.advance(Duration::from_secs(5));
    assert_eq!(frames_of(&pair.take_written()).len(), 1);
    pair.receive(&text("alive"));
    assert_eq!(pair.batches.len(), 1);
    // This one comes a 32nd of an interval early at most.
    pair.advance(Duration::from_millis(4_843));
    assert_eq!(pair.take_written(), []);
    pair.advance(Duration::from_millis(157));
    let pings = frames_of(&pair.take_written());
    assert_eq!((pings.len(), pings[0].0), (1, PING));
}

#[test]
fn a_suspended_machine_asks_again_before_it_gives_a_peer_up() {
    let mut pair = opened();
    pair.advance(Duration::from_secs(20));
    pair.take_written();
    pair.now += Duration::from_secs(8 * 3600);
    pair.handle(Input::Timeout);
    assert_eq!(pair.state(), State::Open);
    assert_eq!(frames_of(&pair.written).len(), 1);
}

#[test]
fn no_deadline_runs_while_a_slow_consumer_keeps_the_socket_unread() {
    let settings = Settings {
        inbound: QueueBounds {
            items_max: 2,
            bytes_max: 1000,
        },
        batch: BatchPolicy {
            count_max: 2,
            bytes_max: 1000,
            ..BatchPolicy::default()
        },
        stale_after: Some(Duration::from_secs(30)),
        ..Settings::default()
    };
    let mut pair = Pair::new(settings, Hooks::default());
    pair.stop_asking();
    pair.open();
    let bytes = [text("a"), text("b"), text("c"), text("d"), text("e")].concat();
    let taken = pair.receive(&text("first")) + pair.receive(&bytes);
    assert!(taken < bytes.len() + 7);
    pair.advance(Duration::from_secs(3600));
    assert_eq!(pair.state(), State::Open);
    let socket = pair.socket.expect("a socket");
    assert!(!pair.set.wants_read(socket));
    pair.ask();
    assert!(pair.set.wants_read(socket));
}

#[test]
fn no_peer_is_given_up_while_no_socket_is_read_for_want_of_bytes() {
    let mut pair = opened();
    pair.stop_asking();
    pair.admission = Admission::new(AdmissionLimits {
        bytes_max: NonZeroU64::MIN,
        ..AdmissionLimits::default()
    });
    // The batch that was asked for goes out; what comes after it is held, and is more than may be held.
    for _ in 0..2 {
        pair.receive(&text(&"x".repeat(1000)));
    }
    let socket = pair.socket.expect("a socket");
    assert!(!pair.set.wants_read(socket));
    pair.advance(Duration::from_secs(3600));
    assert_eq!((pair.state(), pair.dials.len()), (State::Open, 1));
    pair.ask();
    assert!(pair.set.wants_read(socket));
}

#[test]
fn what_came_before_a_violation_is_delivered_and_answered_before_the_close() {
    let mut pair = opened();
    pair.stop_asking();
    pair.take_written();
    let violation = vec![0xc1, 0x01, b'x'];
    pair.receive(&[text("good"), violation, text("never seen")].concat());
    assert_eq!(pair.texts(), ["good"]);
    assert_eq!(frames_of(&pair.written), []);
    pair.send("answer");
    pair.ask();
    let frames = frames_of(&pair.written);
    assert_eq!(frames[0], (TEXT, b"answer".to_vec()));
    assert_eq!(frames[1], (CLOSE, 1002u16.to_be_bytes().to_vec()));
    let socket = pair.socket.expect("the socket waits for the server");
    pair.handle(Input::Eof { socket });
    assert!(matches!(last_closed(&pair), CloseReason::Protocol(_)));
    assert_eq!(pair.state(), State::Backoff);
}

#[test]
fn a_consumer_that_never_asks_delays_the_close_by_a_second_at_most() {
    let mut pair = opened();
    pair.stop_asking();
    pair.take_written();
    pair.receive(&[text("unanswered"), close(1000)].concat());
    pair.advance(Duration::from_millis(999));
    assert_eq!(frames_of(&pair.written), []);
    pair.advance(Duration::from_millis(1));
    assert_eq!(frames_of(&pair.written)[0].0, CLOSE);
}

#[test]
fn a_server_that_never_ends_the_stream_is_aborted() {
    let mut pair = opened();
    pair.receive(&close(1001));
    assert_eq!(pair.state(), State::Closing);
    pair.advance(Duration::from_secs(5));
    assert!(matches!(last_closed(&pair), CloseReason::Peer(Some(_))));
    assert_ne!(pair.state(), State::Closing);
}

#[test]
fn the_ready_script_runs_before_the_backlog() {
    let hooks = Hooks {
        ready: vec![
            ReadyStep::Send(Template::parse("login").expect("a template")),
            ReadyStep::Expect(Expect::contains("welcome")),
            ReadyStep::Send(Template::parse("from ${next}").expect("a template")),
        ],
        resume: Some(Resume::new(7, |message| message.text().ok()?.parse().ok())),
        ..Hooks::default()
    };
    let mut pair = Pair::new(Settings::default(), hooks);
    pair.send("backlog");
    pair.open();
    assert_eq!(pair.state(), State::Readying);
    assert_eq!(frames_of(&pair.take_written()), [(TEXT, b"login".to_vec())]);
    pair.receive(&text("welcome"));
    assert_eq!(pair.state(), State::Open);
    assert_eq!(
        frames_of(&pair.take_written()),
        [(TEXT, b"from 7".to_vec()), (TEXT, b"backlog".to_vec())]
    );
    pair.receive(&[text("7"), text("8"), text("11")].concat());
    assert!(pair.kinds().contains(&&EventKind::Gap {
        expected: 9,
        received: 11
    }));
    reset(&mut pair);
    pair.advance(Duration::from_secs(2));
    pair.open();
    pair.take_written();
    pair.receive(&text("welcome"));
    assert_eq!(frames_of(&pair.written), [(TEXT, b"from 12".to_vec())]);
}

#[test]
fn a_processors_verdicts_retry_in_order_and_then_make_a_dead_letter() {
    let mut pair = Pair::with(Settings::default(), Hooks::default(), Consumer::Process, 1);
    pair.stop_asking();
    pair.open();
    pair.receive(&[text("poison"), text("slow"), text("good")].concat());
    pair.receive(&text("later"));
    let mut handed = Vec::new();
    while let Some(batch) = pair.batches.pop() {
        handed.extend(batch.iter().map(|m| m.text().expect("text").to_owned()));
        let judged = batch.judge(|message| match message.text() {
            Ok("poison") => Verdict::reject("no"),
            Ok("slow") => Verdict::retry(),
            Ok(_) | Err(_) => Verdict::Ack,
        });
        pair.handle(Input::Judged(judged));
        pair.ask();
        pair.advance(Duration::from_secs(1));
    }
    assert_eq!(
        handed,
        ["poison", "slow", "good", "slow", "slow", "slow", "later"]
    );
    let reasons: Vec<_> = pair.letters.iter().map(|l| (l.seq, l.attempts)).collect();
    assert_eq!(reasons, [(1, 1), (2, 4)]);
    let counters = pair.set.counters(pair.id).expect("it is there");
    assert_eq!((counters.delivered, counters.rejected), (2, 2));
}

#[test]
fn a_graceful_end_sends_the_backlog_and_reports_every_message() {
    let mut pair = opened();
    pair.take_written();
    pair.is_blocked = true;
    pair.send("one");
    let deadline = pair.now + Duration::from_secs(5);
    pair.set
        .remove(pair.now, pair.id, Shutdown::Graceful { deadline });
    pair.drain();
    pair.unblock();
    let opcodes: Vec<_> = frames_of(&pair.written).iter().map(|f| f.0).collect();
    assert_eq!(opcodes, [TEXT, CLOSE]);
    pair.receive(&close(1000));
    let socket = pair.socket.expect("it waits for the server's end");
    pair.handle(Input::Eof { socket });
    let report = &pair.removed[0];
    assert_eq!((report.counters.written, report.counters.not_sent), (1, 0));
    assert!(pair.set.is_empty());
    assert_eq!(pair.next_timeout, None);
}

#[test]
fn an_end_without_a_consumer_waits_for_no_consumer() {
    let mut pair = opened();
    pair.stop_asking();
    pair.receive(&[text("taken"), text("never asked for")].concat());
    let deadline = pair.now + Duration::from_secs(5);
    let how = Shutdown::Unread { deadline };
    pair.set.remove(pair.now, pair.id, how);
    pair.drain();
    pair.receive(&[text("too late"), close(1000)].concat());
    let socket = pair.socket.expect("it waits for the server's end");
    pair.handle(Input::Eof { socket });
    let counters = pair.removed[0].counters;
    assert_eq!(
        (counters.received, counters.dropped),
        (3, 3 - counters.delivered)
    );
    assert!(counters.are_conserved());
}

#[test]
fn an_end_with_a_silent_server_keeps_its_deadline() {
    let mut pair = opened();
    let deadline = pair.now + Duration::from_secs(2);
    pair.set
        .remove(pair.now, pair.id, Shutdown::Graceful { deadline });
    pair.drain();
    pair.advance(Duration::from_secs(2));
    assert_eq!(pair.removed.len(), 1);
    assert_eq!(pair.socket, None);
}

#[test]
fn giving_up_makes_dead_letters_of_what_was_queued() {
    let mut pair = Pair::new(Settings::default(), Hooks::default());
    pair.stop_asking();
    let id = pair.send("never sent");
    pair.accept();
    pair.take_written();
    pair.receive(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    assert!(pair.kinds().iter().any(|kind| matches!(
        kind,
        EventKind::GaveUp {
            cause: GaveUpCause::Terminal,
            ..
        }
    )));
    assert_eq!(pair.outcomes, [(id, Outcome::NotSent)]);
    assert_eq!(pair.letters[0].payload, "never sent");
    assert_eq!(pair.removed.len(), 1);
}

#[test]
fn a_pause_closes_the_session_and_a_resume_dials_again() {
    let mut pair = opened();
    pair.set.pause(pair.now, pair.id);
    pair.drain();
    pair.receive(&close(1000));
    let socket = pair.socket.expect("it waits for the server's end");
    pair.handle(Input::Eof { socket });
    assert_eq!(pair.state(), State::Paused);
    pair.send("waits");
    pair.advance(Duration::from_secs(600));
    assert_eq!((pair.state(), pair.dials.len()), (State::Paused, 1));
    pair.set.resume(pair.now, pair.id);
    pair.drain();
    pair.open();
    assert_eq!(frames_of(&pair.written), [(TEXT, b"waits".to_vec())]);
}

#[test]
fn a_peer_that_accepts_no_byte_is_given_up() {
    let mut pair = opened();
    pair.is_blocked = true;
    pair.send("stuck");
    for _ in 0..4 {
        // It talks, so keepalive has nothing to say.
        pair.advance(Duration::from_millis(7_400));
        pair.receive(&text("x"));
    }
    assert_eq!(pair.state(), State::Open);
    pair.advance(Duration::from_secs(1));
    assert_eq!(
        *last_closed(&pair),
        CloseReason::Timeout(TimerKind::WriteProgress)
    );
}

#[test]
fn a_feed_without_data_is_stale_although_its_peer_answers_pings() {
    let settings = Settings {
        stale_after: Some(Duration::from_secs(30)),
        keepalive: Some(Keepalive {
            interval: Duration::from_secs(4),
            timeout: Duration::from_secs(4),
        }),
        ..Settings::default()
    };
    let mut pair = Pair::new(settings, Hooks::default());
    pair.open();
    for _ in 0..29 {
        pair.advance(Duration::from_secs(1));
        pair.receive(&frame(PONG, b""));
    }
    assert_eq!(pair.state(), State::Open);
    pair.advance(Duration::from_secs(1));
    assert_eq!(pair.state(), State::Closing);
    let socket = pair.socket.expect("a socket");
    pair.handle(Input::Eof { socket });
    assert_eq!(*last_closed(&pair), CloseReason::Timeout(TimerKind::Stale));
}

#[test]
fn batches_grow_while_the_consumer_is_busy() {
    let settings = Settings {
        batch: BatchPolicy {
            count_max: 3,
            ..BatchPolicy::default()
        },
        ..Settings::default()
    };
    let mut pair = Pair::new(settings, Hooks::default());
    pair.stop_asking();
    pair.open();
    for n in 0..8 {
        pair.receive(&text(&n.to_string()));
    }
    for _ in 0..3 {
        pair.ask();
    }
    let sizes: Vec<_> = pair.batches.iter().map(ropewalk_core::Batch::len).collect();
    assert_eq!(sizes, [1, 3, 3, 1]);
}

#[test]
fn messages_are_numbered_from_the_next_after_those_that_were_had_before() {
    let hooks = Hooks {
        numbered_after: 41,
        ..Hooks::default()
    };
    let mut pair = Pair::new(Settings::default(), hooks);
    pair.open();
    pair.receive(&text("a"));
    pair.receive(&text("b"));
    let seqs: Vec<_> = pair
        .batches
        .iter()
        .flat_map(|batch| batch.iter())
        .map(MessageRef::seq)
        .collect();
    assert_eq!(seqs, [42, 43]);
    let counters = pair.set.counters(pair.id).expect("there is one");
    assert_eq!(counters.received, 2);

    let hooks = Hooks {
        numbered_after: (1 << 63) + 1,
        ..Hooks::default()
    };
    let error = Config::new(Settings::default(), hooks).unwrap_err();
    assert_eq!(error.key, "numbered_after");
}
