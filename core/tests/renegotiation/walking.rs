//! An offer that is walked.

use super::*;

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
    pair.receive(&[text("understood"), text("!"), text("!")].concat());
    assert_eq!(
        pair.state(),
        State::Open,
        "invalid messages are counted anew"
    );
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
fn what_an_earlier_session_agreed_on_is_not_left_out() {
    let mut settings = settings();
    settings.deflate = Some(Deflate::default());
    let hooks = Hooks {
        decode: Some(decode()),
        ..Hooks::default()
    };
    let mut pair = pair(&[], settings, hooks);
    dialled(&mut pair);
    pair.upgrade_with("Sec-WebSocket-Extensions: permessage-deflate\r\n", b"");
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
    dialled(&mut pair);
    pair.upgrade(b"");
    disagree(&mut pair, &GARBAGE);
    assert_eq!(renegotiations(&pair), []);
    assert_eq!(classes(&pair), [Class::Retry, Class::Strike]);
}
