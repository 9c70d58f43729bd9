//! Servers that are not trusted, clients that are not, and what is neither.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, SanType, SerialNumber, date_time_ymd};
use ropewalk_core::tls::rustls::ClientConfig;
use ropewalk_core::tls::rustls::client::WebPkiServerVerifier;
use ropewalk_core::tls::rustls::version::{TLS12, TLS13};
use ropewalk_core::tls::{CertificateProblem, CertificateRequests};
use ropewalk_core::{
    Class, CloseReason, EventKind, GaveUpCause, Hooks, Settings, State, TimerKind, TlsConfig,
    TlsErrorKind, TransportErrorKind,
};

use crate::pair::Pair;
use crate::server::{Authority, HOST, Secure, Setup, URL, record_types, trusting};
use crate::{end, last_closed, provider, reset};

const HANDSHAKE: u8 = 22;

fn tls_kind(pair: &Pair) -> TlsErrorKind {
    let CloseReason::Tls(error) = last_closed(pair) else {
        panic!("{:?}", last_closed(pair));
    };
    error.kind
}

fn class(pair: &Pair) -> Option<Class> {
    pair.kinds().into_iter().rev().find_map(|kind| {
        if let EventKind::Retrying { class, .. } = kind {
            Some(*class)
        } else {
            None
        }
    })
}

fn gave_up(pair: &Pair) -> Option<GaveUpCause> {
    pair.kinds().into_iter().rev().find_map(|kind| {
        if let EventKind::GaveUp { cause, .. } = kind {
            Some(*cause)
        } else {
            None
        }
    })
}

/// Lets both talk until the client ends it; all that the client wrote, and the server.
fn refused(secure: &mut Secure) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        let from_client = secure.pair.take_written();
        written.extend_from_slice(&from_client);
        secure.server.feed(&from_client);
        let from_server = secure.server.take();
        if from_client.is_empty() && from_server.is_empty() {
            return written;
        }
        if secure.pair.socket.is_some() && !from_server.is_empty() {
            secure.pair.receive(&from_server);
        }
    }
}

#[test]
fn a_server_that_does_not_prove_its_name_is_given_up_and_hears_not_one_byte_of_http() {
    type Change = fn(&mut CertificateParams);
    use CertificateProblem::{Expired, NotYetValid, UnknownAuthority, WrongName};
    let unchanged: Change = |_| {};
    let cases: &[(&str, &[&str], Change, CertificateProblem)] = &[
        (URL, &["other.example"], unchanged, WrongName),
        (
            URL,
            &[],
            |params| params.distinguished_name.push(DnType::CommonName, HOST),
            WrongName,
        ),
        (
            "wss://a.b.example.com/",
            &["*.example.com"],
            unchanged,
            WrongName,
        ),
        (
            "wss://example.com/",
            &["*.example.com"],
            unchanged,
            WrongName,
        ),
        ("wss://127.0.0.1/", &["localhost"], unchanged, WrongName),
        ("wss://[::1]/", &["localhost"], unchanged, WrongName),
        (
            "wss://127.0.0.2/",
            &[],
            |params| {
                let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                params.subject_alt_names.push(SanType::IpAddress(address));
            },
            WrongName,
        ),
        (
            URL,
            &[HOST],
            |params| params.not_after = date_time_ymd(2001, 1, 1),
            Expired,
        ),
        (
            URL,
            &[HOST],
            |params| params.not_before = date_time_ymd(2999, 1, 1),
            NotYetValid,
        ),
    ];
    let authority = Authority::new();
    let mut refusals: Vec<_> = cases
        .iter()
        .map(|&(url, names, change, problem)| (url, authority.issue_with(names, change), problem))
        .collect();
    for stranger in [Authority::named("Somebody"), Authority::new()] {
        refusals.push((URL, stranger.issue(&[HOST]), UnknownAuthority));
    }
    for version in [&TLS12, &TLS13] {
        for (url, issued, problem) in &refusals {
            let setup = Setup {
                versions: vec![version],
                ..Setup::default()
            };
            let tls = trusting(&authority).build().expect("roots");
            let mut secure = Secure::to(
                url,
                tls,
                setup.config(issued),
                Settings::default(),
                Hooks::default(),
            );
            let written = refused(&mut secure);
            let kind = TlsErrorKind::Certificate(*problem);
            assert_eq!(tls_kind(&secure.pair), kind, "{url} {problem:?}");
            assert_eq!(gave_up(&secure.pair), Some(GaveUpCause::Terminal));
            // The ClientHello is all that it ever said.
            assert_eq!(record_types(&written), [HANDSHAKE], "{url} {problem:?}");
            assert!(secure.server.plaintext.is_empty());
            assert_eq!(secure.pair.socket, None);
        }
    }
}

#[test]
fn a_verifier_of_ones_own_can_know_what_was_revoked() {
    let authority = Authority::new();
    let serial = || SerialNumber::from(7_u64);
    let issued = authority.issue_with(&[HOST], |params| params.serial_number = Some(serial()));
    let tls = |serial| {
        let roots = Arc::new(authority.roots());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .with_crls([authority.revoking(serial)])
            .build()
            .expect("a root and a list");
        let verified = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_webpki_verifier(verifier);
        TlsConfig::builder()
            .build_verified(verified)
            .expect("a verifier")
    };
    let to = |tls| {
        let config = Setup::default().config(&issued);
        Secure::to(URL, tls, config, Settings::default(), Hooks::default())
    };
    let mut secure = to(tls(serial()));
    let written = refused(&mut secure);
    let kind = TlsErrorKind::Certificate(CertificateProblem::Revoked);
    assert_eq!(tls_kind(&secure.pair), kind);
    assert_eq!(gave_up(&secure.pair), Some(GaveUpCause::Terminal));
    assert_eq!(record_types(&written), [HANDSHAKE]);
    // The list is about another certificate.
    to(tls(SerialNumber::from(8_u64))).open();
}

#[test]
fn names_that_a_certificate_is_for_are_accepted() {
    let authority = Authority::new();
    for (url, names) in [
        ("wss://a.example.com/", &["*.example.com"][..]),
        ("wss://feed.example./", &[HOST]),
        ("wss://FEED.example:8443/", &["x.example", HOST]),
        ("wss://127.0.0.1/", &["127.0.0.1"]),
        ("wss://[::1]/", &["::1"]),
    ] {
        let tls = trusting(&authority).build().expect("roots");
        let config = Setup::default().config(&authority.issue(names));
        let mut secure = Secure::to(url, tls, config, Settings::default(), Hooks::default());
        secure.open();
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_that_there_is_not_hears_nothing_more() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new();
        let config = || {
            let setup = Setup {
                versions: vec![version],
                client_roots: Some(authority.roots()),
                ..Setup::default()
            };
            setup.config(&authority.issue(&[HOST]))
        };
        let tls = trusting(&authority).build().expect("roots");
        let mut secure = Secure::to(URL, tls, config(), Settings::default(), Hooks::default());
        for _ in 0..2 {
            let written = refused(&mut secure);
            assert_eq!(record_types(&written), [HANDSHAKE]);
            assert!(secure.server.plaintext.is_empty());
            assert_eq!(tls_kind(&secure.pair), TlsErrorKind::ClientCertificate);
            assert_eq!(class(&secure.pair), Some(Class::Reauth));
            secure.accept_again();
        }
        refused(&mut secure);
        assert_eq!(gave_up(&secure.pair), Some(GaveUpCause::Reauth));
    }
}

#[test]
fn a_client_certificate_that_the_server_refuses_asks_for_other_credentials() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new();
        let strangers = Authority::named("Somebody");
        for issued in [
            authority.issue_with(&["client"], |params| {
                params.not_after = date_time_ymd(2001, 1, 1);
            }),
            strangers.issue(&["client"]),
        ] {
            let setup = Setup {
                versions: vec![version],
                client_roots: Some(authority.roots()),
                ..Setup::default()
            };
            let tls = trusting(&authority)
                .client_certificate_pem(
                    issued.certificate.pem().as_bytes(),
                    issued.key.serialize_pem().as_bytes(),
                )
                .and_then(ropewalk_core::tls::TlsConfigBuilder::build)
                .expect("a good identity");
            let config = setup.config(&authority.issue(&[HOST]));
            let mut secure = Secure::to(URL, tls, config, Settings::default(), Hooks::default());
            refused(&mut secure);
            assert!(secure.server.error.is_some());
            assert!(secure.server.plaintext.is_empty());
            assert_eq!(tls_kind(&secure.pair), TlsErrorKind::ClientCertificate);
            assert_eq!(class(&secure.pair), Some(Class::Reauth));
        }
    }
}

#[test]
fn a_client_certificate_that_the_server_accepts_opens_the_way() {
    let authority = Authority::new();
    let issued = authority.issue(&["client"]);
    let setup = Setup {
        client_roots: Some(authority.roots()),
        ..Setup::default()
    };
    let tls = trusting(&authority)
        .client_certificate_pem(
            issued.certificate.pem().as_bytes(),
            issued.key.serialize_pem().as_bytes(),
        )
        .and_then(ropewalk_core::tls::TlsConfigBuilder::build)
        .expect("a good identity");
    let config = setup.config(&authority.issue(&[HOST]));
    let mut secure = Secure::to(URL, tls, config, Settings::default(), Hooks::default());
    secure.open();
    let certificates = secure.server.tls.peer_certificates();
    assert_eq!(certificates.map(<[_]>::len), Some(1));
}

#[test]
fn a_client_that_declines_gets_on_with_servers_that_do_not_insist() {
    for version in [&TLS12, &TLS13] {
        for is_client_optional in [true, false] {
            let authority = Authority::new();
            let setup = Setup {
                versions: vec![version],
                client_roots: Some(authority.roots()),
                is_client_optional,
                ..Setup::default()
            };
            let tls = trusting(&authority)
                .certificate_requests(CertificateRequests::Decline)
                .build()
                .expect("roots");
            let config = setup.config(&authority.issue(&[HOST]));
            let mut secure = Secure::to(URL, tls, config, Settings::default(), Hooks::default());
            if is_client_optional {
                secure.open();
            } else {
                refused(&mut secure);
                assert!(secure.server.plaintext.is_empty());
                assert_eq!(tls_kind(&secure.pair), TlsErrorKind::ClientCertificate);
            }
        }
    }
}

#[test]
fn what_is_no_tls_is_a_strike_and_its_text_is_bounded_and_escaped() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x1b[31mred\x1b[0m, and a good deal more of it to fill a record header",
        &[0xff; 100_000],
        // The alert protocol_version, and an empty list of extensions where there must be some.
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    ] {
        let mut secure = Secure::new();
        for strike in 1..=3 {
            let written = secure.pair.take_written();
            secure.pair.receive(answer);
            assert_eq!(record_types(&written), [HANDSHAKE]);
            assert!(secure.pair.take_written().is_empty());
            let expected = if answer[0] == 0x15 {
                TlsErrorKind::Alert
            } else {
                TlsErrorKind::Protocol
            };
            assert_eq!(tls_kind(&secure.pair), expected);
            let shown = last_closed(&secure.pair).to_string();
            assert!(
                shown.len() < 600 && !shown.contains(char::is_control),
                "{shown}"
            );
            if strike < 3 {
                assert_eq!(class(&secure.pair), Some(Class::Strike));
                secure.accept_again();
            }
        }
        assert_eq!(gave_up(&secure.pair), Some(GaveUpCause::Strikes));
    }
}

#[test]
fn a_server_without_http_1_1_is_a_strike() {
    let setup = Setup {
        protocols: vec![b"h2".to_vec()],
        ..Setup::default()
    };
    let mut secure = Secure::with(setup, Settings::default(), Hooks::default());
    refused(&mut secure);
    assert!(secure.server.plaintext.is_empty());
    assert_eq!(tls_kind(&secure.pair), TlsErrorKind::Alert);
    assert_eq!(class(&secure.pair), Some(Class::Strike));
}

/// A client whose server has sent this much of its first flight; whether that was all of it.
fn after_bytes(version_setup: Setup, bytes: usize) -> (Secure, bool) {
    let mut secure = Secure::with(version_setup, Settings::default(), Hooks::default());
    let hello = secure.pair.take_written();
    secure.server.feed(&hello);
    let flight = secure.server.take();
    let sent = bytes.min(flight.len());
    if sent > 0 {
        secure.pair.receive(&flight[..sent]);
    }
    (secure, sent == flight.len())
}

#[test]
fn a_server_that_falls_silent_at_any_byte_of_the_handshake_is_dialled_again_in_time() {
    for version in [&TLS12, &TLS13] {
        let setup = || Setup {
            versions: vec![version],
            ..Setup::default()
        };
        let mut bytes = 0;
        loop {
            let (mut secure, is_all) = after_bytes(setup(), bytes);
            // After the whole flight TLS 1.3 is done, and TLS 1.2 waits for another.
            if is_all && version.version == TLS13.version {
                break;
            }
            assert_eq!(secure.pair.state(), State::TlsHandshaking);
            secure.pair.advance(Duration::from_millis(4_999));
            assert_eq!(secure.pair.state(), State::TlsHandshaking);
            secure.pair.advance(Duration::from_millis(1));
            assert_eq!(
                *last_closed(&secure.pair),
                CloseReason::Timeout(TimerKind::Tls)
            );
            assert_eq!(class(&secure.pair), Some(Class::Retry));
            if is_all {
                break;
            }
            bytes += 97;
        }
        assert!(bytes > 500, "the flight was cut in many places");
    }
}

#[test]
fn an_unwritable_client_hello_times_out() {
    let mut secure = Secure::new();
    secure.pair.written.clear();
    secure.pair.advance(Duration::from_secs(5));
    assert_eq!(
        *last_closed(&secure.pair),
        CloseReason::Timeout(TimerKind::Tls)
    );
}

#[test]
fn a_stream_that_ends_in_the_handshake_is_dialled_again() {
    for bytes in [0, 1, 5, 100, 400] {
        let (mut secure, _) = after_bytes(Setup::default(), bytes);
        end(&mut secure.pair);
        let CloseReason::Transport(error) = last_closed(&secure.pair) else {
            panic!("{:?}", last_closed(&secure.pair));
        };
        assert_eq!(error.kind, TransportErrorKind::Eof);
        assert_eq!(class(&secure.pair), Some(Class::Retry));
        assert_eq!(secure.pair.socket, None);
        let (mut secure, _) = after_bytes(Setup::default(), bytes);
        reset(&mut secure.pair);
        assert_eq!(class(&secure.pair), Some(Class::Retry));
    }
}

#[test]
fn a_server_that_was_refused_once_does_not_get_plain_text_instead() {
    let mut secure = Secure::new();
    for _ in 0..2 {
        secure.pair.take_written();
        secure.pair.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        secure.accept_again();
        assert_eq!(secure.pair.state(), State::TlsHandshaking);
        assert_eq!(record_types(&secure.pair.written), [HANDSHAKE]);
    }
    // And it still gets on with a server that behaves.
    secure.open();
}
