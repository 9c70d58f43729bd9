//! What a connection does when it does not understand its server, in virtual time.

mod pair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::{Pair, frame, frames_of, text};
use ropewalk_core::settings::{Deflate, InvalidFate, InvalidPolicy, Reconnect};
use ropewalk_core::{
    Class, CloseReason, Consumer, Decode, Disagreement, EventKind, Expect, GaveUpCause, Hooks,
    Input, Invalid, InvalidKind, Kind, Message, Offering, Outcome, Provider, ReadyStep,
    Renegotiate, Renegotiation, Reply, Resume, Settings, State, Target, Template, Terms,
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Messages begin with the name of their fault, or are sound.
fn decode() -> Decode {
    Decode::new(|message| {
        let kind = match message.as_bytes().first() {
            Some(b'!') => InvalidKind::Malformed,
            Some(b'b') => InvalidKind::WrongType,
            Some(b's') => InvalidKind::Protocol,
            Some(b'p') => InvalidKind::Policy,
            Some(_) | None => return Ok(()),
        };
        Err(Invalid::new(kind, format!("fault {}", message.seq())))
    })
}

fn settings() -> Settings {
    Settings {
        invalid: InvalidPolicy {
            invalid_max: 2,
            ..InvalidPolicy::default()
        },
        ..Settings::default()
    }
}

fn target(subprotocols: &[&str]) -> Target {
    let target = Target::parse("ws://127.0.0.1:9/feed").unwrap();
    subprotocols.iter().fold(target, |target, name| {
        target.subprotocol(name).expect("a token")
    })
}

fn pair(subprotocols: &[&str], settings: Settings, hooks: Hooks) -> Pair {
    Pair::dialling(target(subprotocols), settings, hooks, Consumer::Pull, 1)
}

fn walking(subprotocols: &[&str]) -> Pair {
    let hooks = Hooks {
        decode: Some(decode()),
        ..Hooks::default()
    };
    pair(subprotocols, settings(), hooks)
}

fn choosing(
    subprotocols: &[&str],
    decide: impl Fn(&Disagreement) -> Renegotiation + Send + Sync + 'static,
) -> Pair {
    let hooks = Hooks {
        decode: Some(decode()),
        renegotiate: Some(Renegotiate::new(decide)),
        ..Hooks::default()
    };
    pair(subprotocols, settings(), hooks)
}

fn chosen(terms: Terms) -> Renegotiation {
    Renegotiation::Terms(Box::new(terms))
}

/// The value of a header of the upgrade request that was just written.
fn header(pair: &Pair, name: &str) -> Option<String> {
    let request = std::str::from_utf8(&pair.written).expect("a request");
    assert!(request.starts_with("GET "), "{request}");
    let line = request.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim_start_matches(": ").to_owned())
}

fn offer(pair: &Pair) -> Option<String> {
    header(pair, "Sec-WebSocket-Protocol")
}

/// Waits for the next dial and accepts it, up to the request.
fn dialled(pair: &mut Pair) {
    for _ in 0..10_000 {
        if pair.state() == State::Connecting {
            return pair.accept();
        }
        pair.advance(Duration::from_millis(10));
    }
    panic!("there is no dial: {:?}", pair.state());
}

/// The server chooses.
fn choose(pair: &mut Pair, subprotocol: &str) {
    pair.upgrade_with(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"), b"");
    assert_eq!(pair.state(), State::Open);
}

/// The server is not understood; returns the close code that it is told.
fn disagree(pair: &mut Pair, messages: &[&str]) -> u16 {
    pair.take_written();
    let frames: Vec<u8> = messages.iter().flat_map(|message| text(message)).collect();
    pair.receive(&frames);
    let frames = frames_of(&pair.take_written());
    let (opcode, payload) = frames.last().expect("a close frame");
    assert_eq!(*opcode, CLOSE);
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
    u16::from_be_bytes([payload[0], payload[1]])
}

const GARBAGE: [&str; 3] = ["!", "!", "!"];

fn classes(pair: &Pair) -> Vec<Class> {
    let class = |kind: &&EventKind| match kind {
        EventKind::Retrying { class, .. } => Some(*class),
        _ => None,
    };
    pair.kinds().iter().filter_map(class).collect()
}

fn renegotiations(pair: &Pair) -> Vec<(String, Offering)> {
    let renegotiating = |kind: &&EventKind| match kind {
        EventKind::Renegotiating {
            subprotocols,
            compression,
        } => Some((subprotocols.join(" "), *compression)),
        _ => None,
    };
    pair.kinds().iter().filter_map(renegotiating).collect()
}

fn gave_up(pair: &Pair) -> Option<GaveUpCause> {
    pair.kinds().iter().find_map(|kind| match kind {
        EventKind::GaveUp { cause, .. } => Some(*cause),
        _ => None,
    })
}

#[test]
fn the_close_code_is_that_of_the_last_invalid_message() {
    for (message, code) in [("!", 1007), ("b", 1003), ("s", 1002), ("p", 1008)] {
        let mut pair = walking(&[]);
        pair.open();
        assert_eq!(disagree(&mut pair, &["!", "s", message]), code);
    }
}

#[test]
fn as_many_invalid_messages_as_allowed_are_filtered_and_the_session_goes_on() {
    let mut pair = walking(&[]);
    pair.open();
    pair.receive(&[text("!1"), text("good"), text("!2"), text("good too")].concat());
    assert_eq!(pair.state(), State::Open);
    assert_eq!(pair.texts(), ["good", "good too"]);
    let counters = pair.set.counters(pair.id).unwrap();
    assert_eq!((counters.filtered, counters.delivered), (2, 2));
    assert!(counters.are_conserved());
}

#[test]
fn the_window_begins_with_the_first_invalid_message() {
    let mut pair = walking(&[]);
    pair.open();
    // Not with the connection: the third lies within a minute of the first.
    pair.advance(Duration::from_secs(30));
    pair.receive(&[text("!"), text("!")].concat());
    pair.advance(Duration::from_secs(19));
    pair.receive(&frame(10, b""));
    pair.advance(Duration::from_secs(19));
    pair.receive(&text("!"));
    assert_eq!(pair.state(), State::Closing);
}

#[test]
fn what_is_invalid_once_the_window_is_over_is_counted_anew() {
    let mut pair = walking(&[]);
    pair.open();
    pair.receive(&[text("!"), text("!")].concat());
    for _ in 0..4 {
        pair.advance(Duration::from_secs(15));
        pair.receive(&text("good"));
    }
    pair.receive(&[text("!"), text("!")].concat());
    assert_eq!(pair.state(), State::Open);
    pair.receive(&text("!"));
    assert_eq!(pair.state(), State::Closing);
}

#[test]
fn the_message_that_is_one_too_many_is_a_letter_and_what_is_behind_it_was_not_received() {
    let mut settings = settings();
    settings.invalid.dead_letter = InvalidFate::DeadLetter;
    let hooks = Hooks {
        decode: Some(decode()),
        ..Hooks::default()
    };
    let mut pair = pair(&[], settings, hooks);
    pair.open();
    let read = ["good", "!1", "!2", "good too", "!3", "behind", "!behind"];
    disagree(&mut pair, &read);
    let letters: Vec<_> = pair.letters.iter().map(|it| it.payload.clone()).collect();
    assert_eq!(letters, ["!1", "!2", "!3"]);
    assert_eq!(pair.texts(), ["good", "good too"]);
    let counters = pair.set.counters(pair.id).unwrap();
    assert_eq!((counters.received, counters.filtered), (5, 3));
    assert!(counters.are_conserved());
}

#[test]
fn the_list_is_walked_and_no_step_of_the_walk_is_a_strike() {
    let mut pair = walking(&["v5", "v4", "v3", "v2", "v1"]);
    for (offered, agreed) in [
        ("v5, v4, v3, v2, v1", "v5"),
        // A server may choose what is less wanted.
        ("v4, v3, v2, v1", "v3"),
        ("v4, v2, v1", "v4"),
        ("v2, v1", "v2"),
    ] {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some(offered));
        choose(&mut pair, agreed);
        disagree(&mut pair, &GARBAGE);
    }
    dialled(&mut pair);
    assert_eq!(offer(&pair).as_deref(), Some("v1"));
    choose(&mut pair, "v1");
    pair.receive(&text("understood"));
    assert_eq!(pair.texts(), ["understood"]);
    assert_eq!(classes(&pair), [Class::Retry; 4]);
    let told: Vec<_> = renegotiations(&pair).into_iter().map(|it| it.0).collect();
    assert_eq!(told, ["v4 v3 v2 v1", "v4 v2 v1", "v2 v1", "v1"]);
}

#[test]
fn when_the_list_is_used_up_it_starts_again_and_the_third_time_is_final() {
    let mut pair = walking(&["v2", "v1"]);
    for _ in 0..3 {
        for (offered, agreed) in [("v2, v1", "v2"), ("v1", "v1")] {
            dialled(&mut pair);
            assert_eq!(offer(&pair).as_deref(), Some(offered));
            choose(&mut pair, agreed);
            disagree(&mut pair, &GARBAGE);
        }
    }
    assert_eq!(gave_up(&pair), Some(GaveUpCause::Strikes));
    let expected = [
        Class::Retry,
        Class::Strike,
        Class::Retry,
        Class::Strike,
        Class::Retry,
    ];
    assert_eq!(classes(&pair), expected);
}

#[test]
fn a_server_that_nothing_was_agreed_with_strikes_at_once() {
    let mut pair = walking(&["v2", "v1"]);
    for _ in 0..3 {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some("v2, v1"));
        pair.upgrade(b"");
        disagree(&mut pair, &GARBAGE);
    }
    assert_eq!(gave_up(&pair), Some(GaveUpCause::Strikes));
    assert_eq!(renegotiations(&pair), []);
}

#[test]
fn the_whole_list_is_walked_once_more_without_compression() {
    let mut settings = settings();
    settings.deflate = Some(Deflate::default());
    let hooks = Hooks {
        decode: Some(decode()),
        ..Hooks::default()
    };
    let mut pair = pair(&["v2", "v1"], settings, hooks);
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for (offered, agreed, extension) in [
        ("v2, v1", "v2", deflate),
        ("v1", "v1", deflate),
        ("v2, v1", "v2", ""),
        ("v1", "v1", ""),
        ("v2, v1", "v2", deflate),
    ] {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some(offered));
        let is_offered = header(&pair, "Sec-WebSocket-Extensions").is_some();
        assert_eq!(is_offered, !extension.is_empty(), "{offered}");
        let headers = format!("Sec-WebSocket-Protocol: {agreed}\r\n{extension}");
        pair.upgrade_with(&headers, b"");
        disagree(&mut pair, &GARBAGE);
    }
    let told = renegotiations(&pair);
    let expected = [
        ("v1", Offering::Offered),
        ("v2 v1", Offering::LeftOut),
        ("v1", Offering::LeftOut),
        ("v2 v1", Offering::Offered),
        ("v1", Offering::Offered),
    ];
    let expected = expected.map(|(names, compression)| (names.to_owned(), compression));
    assert_eq!(told, expected);
    let strikes = classes(&pair).into_iter().filter(|it| *it == Class::Strike);
    assert_eq!(strikes.count(), 1);
}

#[test]
fn an_offer_that_is_understood_is_kept_for_later_sockets() {
    let mut pair = walking(&["v2", "v1"]);
    dialled(&mut pair);
    choose(&mut pair, "v2");
    disagree(&mut pair, &GARBAGE);
    for _ in 0..3 {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some("v1"));
        choose(&mut pair, "v1");
        pair.receive(&text("understood"));
        pair.advance(Duration::from_secs(15));
        let socket = pair.socket.expect("there is a socket");
        pair.handle(Input::Eof { socket });
    }
    // What no longer works is given up for what was configured.
    dialled(&mut pair);
    choose(&mut pair, "v1");
    disagree(&mut pair, &GARBAGE);
    dialled(&mut pair);
    assert_eq!(offer(&pair).as_deref(), Some("v2, v1"));
}

#[test]
fn a_pause_ends_what_was_negotiated_and_counts_anew() {
    let mut pair = walking(&["v2", "v1"]);
    dialled(&mut pair);
    choose(&mut pair, "v2");
    disagree(&mut pair, &GARBAGE);
    dialled(&mut pair);
    choose(&mut pair, "v1");
    pair.receive(&[text("!"), text("!")].concat());
    pair.set.pause(pair.now, pair.id);
    pair.drain();
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
    assert_eq!(pair.state(), State::Paused);
    pair.set.resume(pair.now, pair.id);
    pair.drain();
    dialled(&mut pair);
    assert_eq!(offer(&pair).as_deref(), Some("v2, v1"));
    choose(&mut pair, "v2");
    pair.receive(&[text("!"), text("!")].concat());
    assert_eq!(pair.state(), State::Open);
}

#[test]
fn a_server_that_chooses_what_was_left_out_fails_the_handshake() {
    let mut pair = walking(&["v2", "v1"]);
    dialled(&mut pair);
    choose(&mut pair, "v2");
    disagree(&mut pair, &GARBAGE);
    dialled(&mut pair);
    pair.upgrade_with("Sec-WebSocket-Protocol: v2\r\n", b"");
    assert_eq!(pair.state(), State::Backoff);
    assert_eq!(classes(&pair), [Class::Retry, Class::Strike]);
}

#[test]
fn an_offer_that_is_refused_gives_way_to_what_was_configured() {
    let refusals: [fn(&mut Pair); 2] = [
        |pair| {
            pair.receive(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        },
        |pair| pair.upgrade(b""),
    ];
    for refuse in refusals {
        let hooks = Hooks {
            decode: Some(decode()),
            ..Hooks::default()
        };
        let target = target(&["v2", "v1"]).require_subprotocol();
        let mut pair = Pair::dialling(target, settings(), hooks, Consumer::Pull, 1);
        dialled(&mut pair);
        choose(&mut pair, "v2");
        disagree(&mut pair, &GARBAGE);
        dialled(&mut pair);
        refuse(&mut pair);
        assert_eq!(pair.state(), State::Backoff, "it is not final");
        assert_eq!(classes(&pair), [Class::Retry, Class::Strike]);
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some("v2, v1"));
        // As configured it is as final as ever.
        refuse(&mut pair);
        assert_eq!(gave_up(&pair), Some(GaveUpCause::Terminal));
    }
}

#[test]
fn a_request_providers_list_is_walked_too() {
    let hooks = Hooks {
        decode: Some(decode()),
        provider: Provider::PerAttempt,
        ..Hooks::default()
    };
    let mut pair = pair(&["old"], settings(), hooks);
    let provide = |pair: &mut Pair, names: &[&str]| {
        while pair.state() != State::Resolving {
            pair.advance(Duration::from_millis(10));
        }
        let request = names.iter().fold(Default::default(), |request, name| {
            ropewalk_core::AttemptRequest::subprotocol(request, name).unwrap()
        });
        let generation = pair.events.last().expect("it moved").generation;
        pair.handle(Input::Provided {
            connection: pair.id,
            generation,
            result: Ok(request),
        });
        dialled(pair);
    };
    provide(&mut pair, &["v2", "v1"]);
    choose(&mut pair, "v2");
    disagree(&mut pair, &GARBAGE);
    provide(&mut pair, &["v2", "v1"]);
    assert_eq!(offer(&pair).as_deref(), Some("v1"));
    choose(&mut pair, "v1");
    pair.advance(Duration::from_secs(1));
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
    // A list that holds nothing else is offered as it is.
    provide(&mut pair, &["v2"]);
    assert_eq!(offer(&pair).as_deref(), Some("v2"));
}

#[test]
fn a_connection_for_one_session_does_not_renegotiate() {
    let asked = Arc::new(Mutex::new(0));
    let asking = Arc::clone(&asked);
    let mut settings = settings();
    settings.reconnect = Reconnect::Never;
    let hooks = Hooks {
        decode: Some(decode()),
        renegotiate: Some(Renegotiate::new(move |_| {
            *asking.lock().unwrap() += 1;
            Renegotiation::Walk
        })),
        ..Hooks::default()
    };
    let mut pair = pair(&["v2", "v1"], settings, hooks);
    dialled(&mut pair);
    choose(&mut pair, "v2");
    disagree(&mut pair, &GARBAGE);
    assert_eq!(gave_up(&pair), Some(GaveUpCause::OneSession));
    assert_eq!(*asked.lock().unwrap(), 0);
    assert_eq!(renegotiations(&pair), []);
}

#[test]
fn the_application_sees_what_went_wrong_and_chooses_what_is_offered_and_said() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let mut settings = settings();
    settings.deflate = Some(Deflate::default());
    let ready = |template: &str| ReadyStep::Send(Template::parse(template).unwrap());
    let hooks = Hooks {
        decode: Some(decode()),
        ready: vec![ready("subscribe all from ${next}")],
        resume: Some(Resume::new(7, |message| {
            message.text().ok()?.parse::<u64>().ok()
        })),
        renegotiate: Some(Renegotiate::new(move |disagreement| {
            seeing.lock().unwrap().push(disagreement.clone());
            let terms = Terms::default().subprotocol("json").unwrap();
            let expect = Expect::new(|message| match message.as_bytes() {
                b"ok" => Reply::Accepted,
                _ => Reply::Other,
            });
            let script = terms.ready("subscribe some from ${next}").unwrap();
            chosen(script.expect(expect).without_compression())
        })),
        ..Hooks::default()
    };
    let mut pair = pair(&["v2", "v1"], settings, hooks);
    dialled(&mut pair);
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    pair.upgrade_with(&format!("Sec-WebSocket-Protocol: v2\r\n{deflate}"), b"");
    assert_eq!(disagree(&mut pair, &["7", "8", "!", "b", "s"]), 1002);
    // What is queued waits, as at any redial.
    let queued = pair.send("queued");
    dialled(&mut pair);
    assert_eq!(offer(&pair).as_deref(), Some("json"));
    assert_eq!(header(&pair, "Sec-WebSocket-Extensions"), None);
    pair.upgrade_with("Sec-WebSocket-Protocol: json\r\n", b"");
    let script = (TEXT, b"subscribe some from 9".to_vec());
    assert_eq!(frames_of(&pair.written), [script]);
    assert_eq!(pair.state(), State::Readying);
    pair.receive(&[text("9"), text("ok")].concat());
    assert_eq!(pair.state(), State::Open);
    assert_eq!(pair.outcomes, [(queued, Outcome::Written)]);
    assert_eq!(pair.texts(), ["7", "8", "9", "ok"]);

    let seen = seen.lock().unwrap();
    let [disagreement] = &**seen else {
        panic!("asked once: {seen:?}")
    };
    assert_eq!(disagreement.invalid.kind, InvalidKind::Protocol);
    assert_eq!(&*disagreement.invalid.reason, "fault 5");
    let counts = disagreement.counts;
    assert_eq!((counts.malformed, counts.wrong_type), (1, 1));
    assert_eq!((counts.protocol, counts.total()), (1, 3));
    assert_eq!(disagreement.subprotocol.as_deref(), Some("v2"));
    assert!(disagreement.compression.is_some());
    assert_eq!(*disagreement.offered, ["v2".into(), "v1".into()]);
    assert_eq!(&*disagreement.endpoint, "ws://127.0.0.1:9/feed");
    assert_eq!(disagreement.generation, 1);
    let told = [("json".to_owned(), Offering::LeftOut)];
    assert_eq!(renegotiations(&pair), told);
    assert_eq!(classes(&pair), [Class::Retry]);
}

#[test]
fn the_same_choice_again_is_a_strike() {
    let mut pair = choosing(&["v2"], |_| {
        chosen(Terms::default().subprotocol("v9").unwrap())
    });
    for (offered, _) in [("v2", 1), ("v9", 2), ("v9", 3), ("v9", 4)] {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some(offered));
        choose(&mut pair, offered);
        disagree(&mut pair, &GARBAGE);
    }
    let expected = [Class::Retry, Class::Strike, Class::Strike];
    assert_eq!(classes(&pair), expected);
    assert_eq!(gave_up(&pair), Some(GaveUpCause::Strikes));
}

#[test]
fn an_application_that_always_finds_something_new_is_stopped_in_the_end() {
    let mut pair = choosing(&[], |disagreement| {
        let name = format!("v{}", disagreement.generation % 7);
        chosen(Terms::default().subprotocol(&name).unwrap())
    });
    let mut dials = 0;
    while gave_up(&pair).is_none() {
        dialled(&mut pair);
        pair.upgrade(b"");
        disagree(&mut pair, &GARBAGE);
        dials += 1;
        assert!(dials < 100, "it never ends");
    }
    assert_eq!(dials, 64 + 3);
    assert_eq!(gave_up(&pair), Some(GaveUpCause::Strikes));
}

#[test]
fn a_stable_session_makes_new_offers_free_again() {
    let mut pair = choosing(&[], |disagreement| {
        let name = format!("v{}", disagreement.generation % 7);
        chosen(Terms::default().subprotocol(&name).unwrap())
    });
    for round in 0..90 {
        dialled(&mut pair);
        pair.upgrade(b"");
        if round == 60 {
            pair.receive(&text("good"));
            pair.advance(Duration::from_secs(11));
            let socket = pair.socket.expect("there is a socket");
            pair.handle(Input::Eof { socket });
        } else {
            disagree(&mut pair, &GARBAGE);
        }
    }
    assert_eq!(pair.state(), State::Backoff);
    assert!(!classes(&pair).contains(&Class::Strike));
}

#[test]
fn the_application_may_give_up_or_change_nothing() {
    let mut pair = choosing(&["v2", "v1"], |disagreement| {
        match disagreement.generation {
            1 => Renegotiation::Unchanged,
            2 => Renegotiation::Walk,
            _ => Renegotiation::GiveUp,
        }
    });
    for (offered, agreed) in [("v2, v1", "v2"), ("v2, v1", "v2"), ("v1", "v1")] {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some(offered));
        choose(&mut pair, agreed);
        disagree(&mut pair, &GARBAGE);
    }
    assert_eq!(classes(&pair), [Class::Strike, Class::Retry]);
    assert_eq!(gave_up(&pair), Some(GaveUpCause::Disagreement));
}

#[test]
fn what_the_application_chose_is_walked_when_it_says_so() {
    let mut pair = choosing(&["old"], |disagreement| match disagreement.generation {
        1 => {
            let terms = Terms::default().subprotocol("b").unwrap();
            chosen(terms.subprotocol("a").unwrap())
        }
        _ => Renegotiation::Walk,
    });
    for (offered, agreed) in [("old", "old"), ("b, a", "b"), ("a", "a"), ("old", "old")] {
        dialled(&mut pair);
        assert_eq!(offer(&pair).as_deref(), Some(offered));
        choose(&mut pair, agreed);
        disagree(&mut pair, &GARBAGE);
    }
}

#[test]
fn an_offer_may_hold_no_subprotocol_and_no_script() {
    let hooks = Hooks {
        decode: Some(decode()),
        ready: vec![ReadyStep::Send(Template::parse("hello").unwrap())],
        renegotiate: Some(Renegotiate::new(|_| {
            chosen(Terms::default().without_subprotocols().without_ready())
        })),
        ..Hooks::default()
    };
    let target = target(&["v1"]).require_subprotocol();
    let mut pair = Pair::dialling(target, settings(), hooks, Consumer::Pull, 1);
    dialled(&mut pair);
    choose(&mut pair, "v1");
    disagree(&mut pair, &GARBAGE);
    dialled(&mut pair);
    assert_eq!(offer(&pair), None);
    pair.upgrade(b"");
    assert_eq!(pair.state(), State::Open);
    assert_eq!(frames_of(&pair.written), []);
}

#[test]
fn a_sample_is_shown_only_if_it_is_asked_for_and_is_cut_between_characters() {
    let sample_of = |bytes_max, frame: &[u8]| -> Option<Message> {
        let mut settings = settings();
        settings.invalid.sample_bytes = bytes_max;
        let hooks = Hooks {
            decode: Some(Decode::new(|_| Err("no".into()))),
            ..Hooks::default()
        };
        let mut pair = pair(&[], settings, hooks);
        pair.open();
        pair.receive(frame);
        let kinds = pair.kinds();
        let samples = kinds.iter().find_map(|kind| match kind {
            EventKind::Filtered { kind, sample, .. } => {
                assert_eq!(*kind, InvalidKind::Malformed);
                Some(sample.clone())
            }
            _ => None,
        });
        samples.expect("it was filtered")
    };
    let euro = text("a\u{20ac}b");
    assert_eq!(sample_of(0, &euro), None);
    assert_eq!(sample_of(3, &euro), Some(Message::text("a")));
    assert_eq!(sample_of(4, &euro), Some(Message::text("a\u{20ac}")));
    assert_eq!(sample_of(4_096, &euro), Some(Message::text("a\u{20ac}b")));
    let binary = sample_of(2, &frame(2, b"\xff\xfe\xfd")).expect("a sample");
    assert_eq!(
        (binary.kind(), binary.as_bytes()),
        (Kind::Binary, &b"\xff\xfe"[..])
    );
}

#[test]
fn the_reason_of_the_end_says_what_was_wrong() {
    let mut pair = walking(&["v2", "v1"]);
    dialled(&mut pair);
    choose(&mut pair, "v2");
    disagree(&mut pair, &["!", "s", "b"]);
    let reasons: Vec<_> = pair
        .kinds()
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::Closed { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .collect();
    let invalid = Invalid::new(InvalidKind::WrongType, "fault 3");
    assert_eq!(reasons, [CloseReason::InvalidMessages(invalid)]);
}
