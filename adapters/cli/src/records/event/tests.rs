use super::*;
use std::time::UNIX_EPOCH;

use ropewalk_core::websocket::deflate::WindowBits;
use ropewalk_core::{CloseReason, InvalidKind, State, TransportError, TransportErrorKind};
use serde_json::{Value, json};

fn line(form: EventForm, kind: &EventKind) -> String {
    let mut records = EventRecords::new(form, Clock::new(UNIX_EPOCH));
    let what = records.describe(kind);
    let record = Record {
        at: records.clock.text(Instant::from_nanos(1_500_000_000)),
        connection: Some("trades"),
        generation: Some(3),
        what,
    };
    let mut out = Vec::new();
    records.put(&record, &mut out);
    String::from_utf8(out).unwrap()
}

fn reset() -> CloseReason {
    CloseReason::Transport(TransportError::new(TransportErrorKind::Reset))
}

fn compressed() -> EventKind {
    EventKind::Ready {
        endpoint: "ws://a".into(),
        subprotocol: Some("v1".into()),
        compression: Some(Agreement {
            server_context: Context::PerMessage,
            client_context: Context::TakenOver,
            server_window: WindowBits::MAX,
            client_window: WindowBits::new(9).unwrap(),
        }),
    }
}

fn filtered(sample: Option<Message>) -> EventKind {
    EventKind::Filtered {
        seq: 7,
        kind: InvalidKind::Protocol,
        reason: "no price".into(),
        sample,
        total: 9,
    }
}

fn renegotiating(subprotocols: &[&str], compression: Offering) -> EventKind {
    EventKind::Renegotiating {
        subprotocols: subprotocols.iter().map(|name| (*name).into()).collect(),
        compression,
    }
}

#[test]
fn programs_get_every_event_with_its_details() {
    let table = [
        (
            EventKind::State {
                from: State::Open,
                to: State::Backoff,
            },
            json!({"event": "state", "from": "open", "to": "backoff"}),
        ),
        (
            EventKind::Ready {
                endpoint: "ws://a".into(),
                subprotocol: None,
                compression: None,
            },
            json!({"event": "ready", "endpoint": "ws://a"}),
        ),
        (
            compressed(),
            json!({"event": "ready", "endpoint": "ws://a", "subprotocol": "v1", "compression": {
                "server_no_context_takeover": true,
                "client_no_context_takeover": false,
                "server_max_window_bits": 15,
                "client_max_window_bits": 9,
            }}),
        ),
        (
            EventKind::Closed {
                reason: reset(),
                uptime: Duration::from_millis(1_234),
            },
            json!({"event": "closed", "reason": "connection reset", "uptime_ms": 1_234}),
        ),
        (
            EventKind::Retrying {
                attempt: 2,
                delay: Duration::from_micros(512_900),
                at: Instant::from_nanos(2_000_000_000),
                class: Class::Retry,
            },
            json!({"event": "retrying", "attempt": 2, "delay_ms": 512, "retry_at": "1970-01-01T00:00:02.000000Z", "class": "retry"}),
        ),
        (
            EventKind::GaveUp {
                reason: reset(),
                cause: GaveUpCause::Exhausted,
            },
            json!({"event": "gave_up", "reason": "connection reset", "cause": "exhausted"}),
        ),
        (
            renegotiating(&["v1", "v0"], Offering::LeftOut),
            json!({"event": "renegotiating", "subprotocols": ["v1", "v0"], "compression": false}),
        ),
        (
            filtered(None),
            json!({"event": "filtered", "seq": 7, "fault": "protocol", "reason": "no price", "total": 9}),
        ),
        (
            filtered(Some(Message::text("\u{1b}{}"))),
            json!({"event": "filtered", "seq": 7, "fault": "protocol", "reason": "no price", "total": 9,
                "type": "text", "sample": "\u{1b}{}"}),
        ),
        (
            filtered(Some(Message::binary(vec![0xff, 0xfe]))),
            json!({"event": "filtered", "seq": 7, "fault": "protocol", "reason": "no price", "total": 9,
                "type": "binary", "sample": "//4="}),
        ),
        (
            EventKind::Reading(Reading::Paused),
            json!({"event": "reading", "reading": "paused"}),
        ),
    ];
    for (kind, mut expected) in table {
        expected["at"] = "1970-01-01T00:00:01.500000Z".into();
        expected["connection"] = "trades".into();
        expected["generation"] = 3.into();
        let line = line(EventForm::Json, &kind);
        assert!(line.ends_with("}\n"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }
}

#[test]
fn people_get_the_events_that_matter_in_words() {
    let closed = |millis| EventKind::Closed {
        reason: reset(),
        uptime: Duration::from_millis(millis),
    };
    let retrying = |attempt| EventKind::Retrying {
        attempt,
        delay: Duration::from_millis(512),
        at: Instant::ORIGIN,
        class: Class::Retry,
    };
    let table = [
        (closed(0), "failed: connection reset"),
        (closed(90_000), "lost after 90s: connection reset"),
        (retrying(1), "next attempt in 512ms"),
        (retrying(4), "next attempt in 512ms, 4 failures in a row"),
        (compressed(), "ready, ws://a, subprotocol v1, compressed"),
        (
            renegotiating(&["v1", "v0"], Offering::Offered),
            "next offer: v1, v0, compressed",
        ),
        (
            renegotiating(&[], Offering::LeftOut),
            "next offer: no subprotocol",
        ),
        (filtered(None), "message 7 filtered: no price, 9 so far"),
        (
            filtered(Some(Message::text("\u{1b}{}"))),
            "message 7 filtered: no price, 9 so far: \\u{1b}{}",
        ),
    ];
    for (kind, words) in table {
        let expected = format!("00:00:01.500 trades (3): {words}\n");
        assert_eq!(line(EventForm::Human, &kind), expected);
    }
    let state = EventKind::State {
        from: State::Open,
        to: State::Backoff,
    };
    assert_eq!(line(EventForm::Human, &state), "");
}
