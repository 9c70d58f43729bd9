use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::reason::{TimerKind, TransportError};
use crate::tls::{CertificateProblem, TlsError};
use crate::websocket::{CloseFrame, ProtocolError};

fn classified(reason: &CloseReason) -> Classified {
    classify(reason, &ClassificationSettings::default()).expect("only a local end has no class")
}

fn closed(code: u16) -> CloseReason {
    CloseReason::Peer(Some(CloseFrame::new(CloseCode::from_u16(code), "")))
}

fn refused(status: u16, retry_after: Option<u64>) -> CloseReason {
    UpgradeError::Status(Box::new(Refusal {
        status,
        retry_after: retry_after.map(Duration::from_secs),
        location: None,
        body: Box::default(),
    }))
    .into()
}

fn failed(kind: TransportErrorKind) -> CloseReason {
    TransportError::new(kind).into()
}

fn failed_tls(kind: TlsErrorKind) -> CloseReason {
    TlsError::new(kind, "").into()
}

#[test]
fn close_codes_have_their_classes() {
    for (class, codes) in [
        (
            Class::Retry,
            &[1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014][..],
        ),
        (Class::Retry, &[3001, 3002, 3008, 3999, 4000, 4001, 4999]),
        (Class::Reauth, &[1008, 3000, 3003]),
        (Class::Strike, &[1002, 1003, 1007, 1009, 1010]),
        (Class::Strike, &[0, 999, 1004, 1015, 2999, 5000, 65_535]),
    ] {
        for code in codes {
            assert_eq!(classified(&closed(*code)).class, class, "{code}");
        }
    }
    assert_eq!(classified(&CloseReason::Peer(None)).class, Class::Retry);
}

#[test]
fn statuses_have_their_classes() {
    for (class, statuses) in [
        (
            Class::Retry,
            &[408, 425, 429, 500, 502, 503, 504, 520, 525, 529][..],
        ),
        (Class::Reauth, &[401, 407]),
        (
            Class::Strike,
            &[
                404, 426, 200, 204, 304, 418, 451, 501, 505, 519, 530, 600, 999,
            ],
        ),
        (
            Class::GiveUp,
            &[400, 403, 405, 410, 414, 431, 301, 302, 303, 307, 308],
        ),
    ] {
        for status in statuses {
            assert_eq!(classified(&refused(*status, None)).class, class, "{status}");
        }
    }
}

#[test]
fn what_the_transport_says_has_its_class() {
    use TransportErrorKind as Kind;
    for (class, kinds) in [
        (
            Class::Retry,
            &[Kind::Refused, Kind::Reset, Kind::Unreachable][..],
        ),
        (Class::Retry, &[Kind::Eof, Kind::SelfConnect, Kind::Other]),
        (Class::Resource, &[Kind::Resource]),
        (Class::Strike, &[Kind::Denied]),
    ] {
        for kind in kinds {
            assert_eq!(classified(&failed(*kind)).class, class, "{kind}");
        }
    }
}

#[test]
fn other_ends_have_their_classes() {
    for (class, reason) in [
        (Class::Retry, CloseReason::Resolve("NXDOMAIN".into())),
        (Class::Retry, CloseReason::Ready("bad key".into())),
        (
            Class::Retry,
            CloseReason::Provider("vault is sealed".into()),
        ),
        (Class::Retry, CloseReason::Timeout(TimerKind::Connect)),
        (Class::Retry, CloseReason::Timeout(TimerKind::Ready)),
        (Class::Retry, CloseReason::Timeout(TimerKind::Message)),
        (
            Class::Retry,
            CloseReason::Timeout(TimerKind::KeepaliveTimeout),
        ),
        (Class::Retry, UpgradeError::Eof { bytes: 12 }.into()),
        (Class::Strike, UpgradeError::BadAccept.into()),
        (
            Class::GiveUp,
            failed_tls(TlsErrorKind::Certificate(CertificateProblem::Expired)),
        ),
        (Class::Reauth, failed_tls(TlsErrorKind::ClientCertificate)),
        (Class::Strike, failed_tls(TlsErrorKind::Alert)),
        (Class::Strike, failed_tls(TlsErrorKind::Protocol)),
        (Class::GiveUp, failed_tls(TlsErrorKind::NotConfigured)),
        (Class::Retry, CloseReason::Timeout(TimerKind::Tls)),
        (Class::GiveUp, CloseReason::SubprotocolMissing),
        (Class::Strike, UpgradeError::NotHttp.into()),
        (
            Class::Strike,
            UpgradeError::UnofferedSubprotocol("x".into()).into(),
        ),
        (
            Class::Strike,
            UpgradeError::TooManyInterim { max: 8 }.into(),
        ),
        (Class::Strike, ProtocolError::MaskedFrame.into()),
        (
            Class::Strike,
            CloseReason::InvalidMessages("not JSON".into()),
        ),
    ] {
        assert_eq!(classified(&reason).class, class, "{reason}");
    }
}

#[test]
fn an_end_that_the_application_wanted_has_no_class() {
    assert_eq!(
        classify(&CloseReason::Local, &ClassificationSettings::default()),
        None
    );
}

#[test]
fn the_users_table_comes_first() {
    let overrides = ClassificationSettings {
        close: [
            (1000, Class::GiveUp),
            (1006, Class::Strike),
            (4001, Class::Reauth),
        ]
        .into(),
        status: [(403, Class::Retry), (999, Class::GiveUp)].into(),
    };
    for (class, reason) in [
        (Class::GiveUp, closed(1000)),
        (Class::Reauth, closed(4001)),
        (Class::Retry, closed(4002)),
        (Class::Retry, refused(403, None)),
        (Class::GiveUp, refused(999, None)),
        (Class::GiveUp, refused(400, None)),
        // 1006 is no code that a frame carries: it is the end without a frame.
        (Class::Strike, failed(TransportErrorKind::Eof)),
        (Class::Strike, failed(TransportErrorKind::Reset)),
        (Class::Retry, failed(TransportErrorKind::Refused)),
        (Class::Retry, CloseReason::Peer(None)),
    ] {
        let classified = classify(&reason, &overrides).expect("it is not local");
        assert_eq!(classified.class, class, "{reason}");
    }
}

#[test]
fn a_server_is_heard_where_it_may_ask_for_time() {
    let at_least = Duration::from_secs;
    for (hint, reason) in [
        (
            Hint::NotBefore {
                at_least: at_least(7),
            },
            refused(503, Some(7)),
        ),
        (
            Hint::NotBefore {
                at_least: at_least(0),
            },
            refused(429, Some(0)),
        ),
        (
            Hint::NotBefore {
                at_least: at_least(3_600),
            },
            refused(429, Some(u64::MAX)),
        ),
        (Hint::None, refused(503, None)),
        (Hint::None, refused(500, Some(7))),
        (Hint::None, refused(403, Some(7))),
        (
            Hint::Within {
                low: at_least(5),
                high: at_least(30),
            },
            closed(1012),
        ),
        (
            Hint::AnotherAddress {
                at_least: at_least(30),
            },
            closed(1013),
        ),
        (Hint::None, closed(1011)),
        (Hint::None, CloseReason::Peer(None)),
        (Hint::None, failed(TransportErrorKind::Refused)),
    ] {
        assert_eq!(classified(&reason).hint, hint, "{reason}");
    }
}

#[test]
fn strikes_are_counted_for_each_cause_apart() {
    let causes: BTreeSet<_> = [
        closed(1002),
        closed(1003),
        refused(404, None),
        refused(426, None),
        ProtocolError::MaskedFrame.into(),
        UpgradeError::BadAccept.into(),
        failed(TransportErrorKind::Denied),
        CloseReason::InvalidMessages("".into()),
    ]
    .iter()
    .map(|reason| classified(reason).cause)
    .collect();
    assert_eq!(causes.len(), 8);
    assert_eq!(
        classified(&ProtocolError::MaskedFrame.into()).cause,
        classified(&ProtocolError::InvalidUtf8.into()).cause,
        "a server cannot escape by breaking another rule each time"
    );
}

#[test]
fn the_table_prints_a_line_a_row() {
    let overrides = ClassificationSettings {
        close: [(4100, Class::GiveUp)].into(),
        ..ClassificationSettings::default()
    };
    let lines: Vec<_> = table(&overrides).map(|row| row.to_string()).collect();
    assert_eq!(lines[0], "give_up   close 4100");
    for line in [
        "retry     HTTP 502 to 504",
        "resource  out of local resources",
        "reauth    close 1008",
        "strike    wrong or malformed upgrade response",
        "strike    HTTP, any other",
        "give_up   server certificate not trusted",
        "give_up   required subprotocol refused",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:#?}");
    }
}

#[test]
fn every_row_decides_something() {
    let overrides = ClassificationSettings::default();
    let rows: Vec<_> = table(&overrides).collect();
    let mut deciding = BTreeSet::new();
    let kinds = [
        TransportErrorKind::Refused,
        TransportErrorKind::Reset,
        TransportErrorKind::Unreachable,
        TransportErrorKind::Eof,
        TransportErrorKind::Resource,
        TransportErrorKind::Denied,
        TransportErrorKind::SelfConnect,
        TransportErrorKind::Other,
    ];
    let others = [
        Cause::MalformedUpgrade,
        Cause::SubprotocolMissing,
        Cause::Protocol,
        Cause::InvalidMessages,
        Cause::ServerCertificate,
        Cause::ClientCertificate,
        Cause::TlsAlert,
        Cause::TlsProtocol,
        Cause::TlsNotConfigured,
        Cause::Resolve,
        Cause::Ready,
        Cause::Provider,
        Cause::Timeout,
    ];
    let causes = (0..=u16::MAX)
        .flat_map(|number| [Cause::Close(number), Cause::Status(number)])
        .chain(kinds.map(Cause::Transport))
        .chain(others);
    for cause in causes {
        let row = rows.iter().position(|row| row.what.includes(cause));
        deciding.insert(row.unwrap_or_else(|| panic!("no row for {cause}")));
    }
    let idle: Vec<_> = (0..rows.len())
        .filter(|row| !deciding.contains(row))
        .collect();
    assert!(idle.is_empty(), "rows that nothing reaches: {idle:?}");
}

#[cfg(feature = "serde")]
#[test]
fn a_class_is_written_as_its_name() {
    for class in [
        Class::Retry,
        Class::Resource,
        Class::Reauth,
        Class::Strike,
        Class::GiveUp,
    ] {
        let overrides = ClassificationSettings {
            close: [(4000, class)].into(),
            ..ClassificationSettings::default()
        };
        let text = toml::to_string(&overrides).expect("it is plain data");
        assert!(text.contains(&format!("\"{class}\"")), "{text}");
        assert_eq!(
            toml::from_str::<ClassificationSettings>(&text),
            Ok(overrides)
        );
    }
}

proptest! {
    #[test]
    fn what_the_user_names_gets_the_users_class(code in any::<u16>(), status in any::<u16>()) {
        let overrides = ClassificationSettings {
            close: [(code, Class::Resource)].into(),
            status: [(status, Class::Reauth)].into(),
        };
        let class = |reason| classify(&reason, &overrides).map(|classified| classified.class);
        prop_assert_eq!(class(closed(code)), Some(Class::Resource));
        prop_assert_eq!(class(refused(status, None)), Some(Class::Reauth));
    }
}
