//! An application that decides what is offered.

use super::*;

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
