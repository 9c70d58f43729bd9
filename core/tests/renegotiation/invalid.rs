//! What becomes of invalid messages, and when there are too many.

use super::*;

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
