//! How long a message may take to arrive, in virtual time.

mod pair;

use std::time::Duration;

use pair::{Pair, frame, text};
use ropewalk_core::settings::{BatchPolicy, Keepalive, QueueBounds, Timeouts};
use ropewalk_core::{
    CloseReason, Consumer, EventKind, Hooks, Input, Settings, State, TimerKind, Verdict,
};

const PING: u8 = 9;
const LIMIT: Duration = Duration::from_secs(4);

fn settings() -> Settings {
    Settings {
        timeouts: Timeouts {
            message: Some(LIMIT),
            ..Timeouts::default()
        },
        ..Settings::default()
    }
}

fn opened(settings: Settings) -> Pair {
    let mut pair = Pair::new(settings, Hooks::default());
    pair.open();
    pair
}

#[track_caller]
fn check_late(pair: &Pair) {
    let late = CloseReason::Timeout(TimerKind::Message);
    let is_late =
        |kind: &&EventKind| matches!(kind, EventKind::Closed { reason, .. } if *reason == late);
    assert!(pair.kinds().iter().any(is_late), "{:?}", pair.kinds());
    assert_eq!((pair.state(), pair.socket), (State::Backoff, None));
}

/// Brings one byte after the other, with this pause before each.
fn drip(pair: &mut Pair, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        pair.advance(pause);
        if pair.state() == State::Open {
            pair.receive(&[*byte]);
        }
    }
}

#[test]
fn a_message_that_drips_longer_than_its_time_costs_the_socket() {
    for cuts in 0..3 {
        let mut pair = opened(settings());
        // Cut in its header, in its payload, and after a fragment.
        match cuts {
            0 => pair.receive(&[0x81]),
            1 => pair.receive(&[0x81, 9, b'x']),
            _ => pair.receive(&[0x01, 1, b'x']),
        };
        pair.advance(LIMIT - Duration::from_nanos(1));
        assert_eq!(pair.state(), State::Open);
        pair.advance(Duration::from_nanos(1));
        check_late(&pair);
        assert_eq!(pair.set.charged_bytes(), 0);
    }
}

#[test]
fn neither_bytes_nor_control_frames_nor_fragments_win_a_message_time() {
    let mut pair = opened(settings());
    pair.receive(&[0x01, 1, b'x']);
    for _ in 0..3 {
        pair.advance(Duration::from_secs(1));
        pair.receive(&frame(PING, b"still here"));
        pair.receive(&[0x00, 1, b'x']);
        assert_eq!(pair.state(), State::Open);
    }
    pair.advance(Duration::from_secs(1));
    check_late(&pair);
}

#[test]
fn a_message_that_is_complete_in_time_gives_the_next_one_all_of_its_own() {
    let mut pair = opened(settings());
    let slow = text("slow");
    let pause = (LIMIT - Duration::from_nanos(1)) / 5;
    for _ in 0..3 {
        // The last byte of one and the first of the next come together.
        drip(&mut pair, &slow, pause);
    }
    let (front, back) = slow.split_at(2);
    pair.receive(front);
    pair.advance(LIMIT / 2);
    pair.receive(&[back, front].concat());
    pair.advance(LIMIT - Duration::from_nanos(1));
    pair.receive(back);
    assert_eq!(pair.texts().len(), 5);
    pair.advance(LIMIT * 2);
    assert_eq!(pair.state(), State::Open, "nothing has begun");
    pair.receive(&[0x89, 4, b'p']);
    pair.advance(LIMIT * 2);
    assert_eq!(pair.state(), State::Open, "a ping is no message");
}

#[test]
fn a_message_has_all_the_time_it_wants_unless_there_is_a_limit() {
    let mut pair = opened(Settings::default());
    pair.receive(&[0x81, 100]);
    drip(&mut pair, &[b'x'; 99], Duration::from_secs(19));
    assert_eq!(pair.state(), State::Open);
}

#[test]
fn a_message_time_stands_still_while_its_socket_is_not_read() {
    let settings = Settings {
        inbound: QueueBounds {
            items_max: 1,
            ..QueueBounds::default()
        },
        batch: BatchPolicy {
            count_max: 1,
            ..BatchPolicy::default()
        },
        keepalive: Some(Keepalive::default()),
        ..settings()
    };
    let mut pair = opened(settings);
    pair.stop_asking();
    pair.receive(&text("taken at once"));
    // A whole message fills the queue; what is behind it is not looked at.
    let cut = [&text("waits")[..], &[0x81, 2, b'n']].concat();
    let rest = cut.len() - pair.receive(&cut);
    assert_eq!(rest, 3);
    pair.advance(LIMIT * 10);
    assert_eq!(pair.state(), State::Open);
    pair.ask();
    assert_eq!(pair.receive(&cut[cut.len() - rest..]), rest);
    pair.advance(LIMIT - Duration::from_nanos(1));
    assert_eq!(pair.state(), State::Open);
    pair.advance(Duration::from_nanos(1));
    check_late(&pair);
}

#[test]
fn what_was_not_taken_is_charged_until_it_is() {
    let settings = Settings {
        inbound: QueueBounds {
            items_max: 1,
            ..QueueBounds::default()
        },
        batch: BatchPolicy {
            count_max: 1,
            ..BatchPolicy::default()
        },
        ..Settings::default()
    };
    let mut pair = opened(settings);
    pair.stop_asking();
    pair.receive(&text("taken at once"));
    pair.receive(&text("fills the queue"));
    let full = pair.set.charged_bytes();
    let more = vec![text("more"); 100].concat();
    assert_eq!(pair.receive(&more), 0);
    assert_eq!(pair.set.charged_bytes(), full + more.len() as u64);
    pair.ask();
    assert_eq!(pair.receive(&more), 6);
    pair.receive(&[]);
    let socket = pair.socket.expect("it is open");
    pair.handle(Input::TransportFailed {
        socket,
        error: std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
    });
    pair.ask();
    assert_eq!(pair.set.charged_bytes(), 0);
}

#[test]
fn what_a_processor_gives_back_stops_the_time_of_the_message_behind_it() {
    let mut settings = settings();
    settings.inbound.items_max = 1;
    settings.batch.count_max = 1;
    settings.retry.initial = LIMIT * 10;
    settings.retry.max = LIMIT * 10;
    let mut pair = Pair::with(settings, Hooks::default(), Consumer::Process, 1);
    pair.open();
    pair.receive(&text("again"));
    pair.receive(&[0x81, 2, b'o']);
    pair.advance(LIMIT - Duration::from_secs(1));
    let batch = pair.batches.remove(0);
    // It is in the queue again, which is full of it.
    pair.handle(Input::Judged(
        batch.judge(|_| Verdict::Retry { after: None }),
    ));
    pair.advance(LIMIT * 10 - Duration::from_nanos(1));
    assert_eq!(pair.state(), State::Open);
    pair.advance(Duration::from_nanos(1));
    assert_eq!(pair.texts(), ["again"]);
    pair.advance(Duration::from_secs(1) - Duration::from_nanos(1));
    assert_eq!(pair.state(), State::Open);
    pair.advance(Duration::from_nanos(1));
    check_late(&pair);
}
