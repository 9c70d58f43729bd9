//! What a connection does over TLS, against a server in memory, in virtual time.

#![allow(unreachable_pub, unnameable_types, reason = "modules of a test binary")]

mod floods;
#[path = "../pair/mod.rs"]
mod pair;
mod refusals;
mod server;
mod streams;
mod writing;

use std::sync::Arc;

use pair::{Pair, frames_of, text};
use ropewalk_core::tls::TlsConfigError;
use ropewalk_core::tls::rustls::version::{TLS12, TLS13};
use ropewalk_core::tls::rustls::{self, HandshakeKind};
use ropewalk_core::{
    AttemptRequest, CloseReason, Consumer, EventKind, GaveUpCause, Hooks, Input, Provider,
    Settings, State, Target, TlsConfig, TlsErrorKind, TransportError, TransportErrorKind,
};
use server::{Authority, HOST, Secure, Setup, URL, trusting};

const TEXT: u8 = 1;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
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

fn end(pair: &mut Pair) {
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
}

#[test]
fn messages_flow_both_ways_over_either_version() {
    for version in [&TLS12, &TLS13] {
        let setup = Setup {
            versions: vec![version],
            ..Setup::default()
        };
        let mut secure = Secure::with(setup, Settings::default(), Hooks::default());
        assert_eq!(secure.pair.state(), State::TlsHandshaking);
        secure.open();
        assert_eq!(secure.server.tls.protocol_version(), Some(version.version));
        assert_eq!(secure.server.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(secure.server.tls.server_name(), Some(HOST));
        secure.server.say(&text("hello"));
        secure.exchange(usize::MAX);
        assert_eq!(secure.pair.texts(), ["hello"]);
        secure.pair.send("world");
        secure.exchange(usize::MAX);
        let frames = frames_of(&secure.server.plaintext);
        assert_eq!(frames, [(TEXT, b"world".to_vec())]);
    }
}

#[test]
fn the_states_are_told_in_order() {
    let mut secure = Secure::new();
    secure.open();
    let states: Vec<_> = secure
        .pair
        .kinds()
        .into_iter()
        .filter_map(|kind| {
            if let EventKind::State { to, .. } = kind {
                Some(to.name())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        states,
        [
            "waiting_for_slot",
            "resolving",
            "connecting",
            "tls_handshaking",
            "upgrading",
            "open"
        ]
    );
}

#[test]
fn a_redial_resumes_the_session() {
    for version in [&TLS12, &TLS13] {
        let setup = Setup {
            versions: vec![version],
            ..Setup::default()
        };
        let mut secure = Secure::with(setup, Settings::default(), Hooks::default());
        secure.open();
        assert_eq!(
            secure.server.tls.handshake_kind(),
            Some(HandshakeKind::Full)
        );
        reset(&mut secure.pair);
        secure.accept_again();
        secure.open();
        let kind = secure.server.tls.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_new_key_of_the_server_is_taken_and_answered() {
    let setup = Setup {
        versions: vec![&TLS13],
        ..Setup::default()
    };
    let mut secure = Secure::with(setup, Settings::default(), Hooks::default());
    secure.open();
    for _ in 0..3 {
        secure.server.tls.refresh_traffic_keys().expect("TLS 1.3");
        secure.server.say(&text("x"));
        secure.exchange(usize::MAX);
        secure.pair.send("y");
        secure.exchange(usize::MAX);
    }
    assert_eq!(secure.pair.texts(), ["x", "x", "x"]);
    assert_eq!(frames_of(&secure.server.plaintext).len(), 3);
    assert_eq!(secure.server.error, None);
}

#[test]
fn a_server_that_changes_its_keys_without_end_is_left() {
    let setup = Setup {
        versions: vec![&TLS13],
        ..Setup::default()
    };
    let mut secure = Secure::with(setup, Settings::default(), Hooks::default());
    secure.open();
    secure.pair.is_blocked = true;
    let mut rounds = 0;
    while secure.pair.socket.is_some() && rounds < 10_000 {
        secure.server.tls.refresh_traffic_keys().expect("TLS 1.3");
        let bytes = secure.server.take();
        secure.pair.receive(&bytes);
        rounds += 1;
    }
    assert!(rounds < 10_000, "nothing stopped it");
    let CloseReason::Tls(error) = last_closed(&secure.pair) else {
        panic!("{:?}", last_closed(&secure.pair));
    };
    assert_eq!(error.kind, TlsErrorKind::Protocol);
}

#[test]
fn a_url_with_tls_needs_somebody_to_trust() {
    let error = Target::parse(URL).expect_err("nothing to trust");
    assert_eq!(
        error.to_string(),
        "the URL `wss://feed.example/v1` needs TLS (`wss`), and there is no TLS configuration"
    );
    let target = Target::parse("ws://feed.example").expect("a good URL");
    assert!(target.or(URL).is_err());
    let authority = Authority::new();
    let tls = trusting(&authority).build().expect("roots");
    let target = Target::parse("ws://feed.example").expect("a good URL");
    assert!(target.tls(tls.clone()).or(URL).is_ok());
    for (url, shown, authority) in [
        (
            "wss://a.example:443/x?k",
            "wss://a.example/x?…",
            "a.example",
        ),
        ("wss://a.example:80/", "wss://a.example:80/", "a.example:80"),
        ("wss://[::1]/", "wss://[::1]/", "[::1]"),
        ("WSS://a.example.", "wss://a.example./", "a.example."),
    ] {
        let target = Target::parse_with_tls(url, tls.clone()).expect("a good URL");
        assert_eq!(target.endpoints()[0].to_string(), shown);
        assert_eq!(target.endpoints()[0].authority(), authority);
    }
    let nonsense = Target::parse_with_tls("wss://a$b.example/", tls);
    assert!(nonsense.is_err(), "no certificate can be for it");
}

#[test]
fn a_provider_that_asks_for_tls_without_a_configuration_is_refused_before_anything_is_dialled() {
    let target = Target::parse("ws://feed.example").expect("a good URL");
    let hooks = Hooks {
        provider: Provider::PerAttempt,
        ..Hooks::default()
    };
    let mut pair = Pair::dialling(target, Settings::default(), hooks, Consumer::Pull, 1);
    let request = AttemptRequest::default().url(URL).expect("a good URL");
    pair.handle(Input::Provided {
        connection: pair.id,
        generation: 1,
        result: Ok(request),
    });
    assert!(pair.dials.is_empty());
    let gave_up = pair.kinds().into_iter().any(|kind| {
        matches!(kind, EventKind::GaveUp { reason: CloseReason::Tls(error), cause: GaveUpCause::Terminal }
            if error.kind == TlsErrorKind::NotConfigured)
    });
    assert!(gave_up, "{:?}", pair.kinds());
}

#[test]
fn a_configuration_that_cannot_work_is_refused_and_shows_no_key() {
    assert_eq!(
        TlsConfig::builder().build().unwrap_err(),
        TlsConfigError::NoRoots
    );
    assert_eq!(
        TlsConfig::builder().roots_pem(b"canary").unwrap_err(),
        TlsConfigError::Certificates("roots")
    );
    let authority = Authority::new();
    let verified = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(authority.roots());
    assert_eq!(
        trusting(&authority).build_verified(verified).unwrap_err(),
        TlsConfigError::RootsUnused
    );
    let [one, other] = ["one", "other"].map(|name| authority.issue(&[name]));
    let [chain, key] = [one.certificate.pem(), other.key.serialize_pem()];
    let mismatched = trusting(&authority)
        .client_certificate_pem(chain.as_bytes(), key.as_bytes())
        .expect("both can be read");
    assert!(matches!(
        mismatched.build(),
        Err(TlsConfigError::Identity(_))
    ));
    let broken = "-----BEGIN PRIVATE KEY-----\ncanary\n-----BEGIN PRIVATE KEY-----\n";
    let error = trusting(&authority)
        .client_certificate_pem(chain.as_bytes(), broken.as_bytes())
        .unwrap_err();
    assert_eq!(error, TlsConfigError::Key);
    assert!(!format!("{error} {error:?}").contains("canary"));
    let key = one.key.serialize_pem();
    let builder = trusting(&authority)
        .client_certificate_pem(chain.as_bytes(), key.as_bytes())
        .expect("both can be read");
    let secret = key.lines().nth(1).expect("a line of the key").to_owned();
    let shown = format!("{builder:?}");
    let shown = format!("{shown} {:?}", builder.build().expect("they fit"));
    assert!(!shown.contains(&secret), "{shown}");
}
