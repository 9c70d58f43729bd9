//! The opening handshake as a whole.

use std::time::Duration;

use proptest::prelude::*;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};

use crate::websocket::handshake::*;

const NONCE: &[u8; 16] = b"the sample nonce";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const OK: &str = "HTTP/1.1 101 Switching Protocols";

fn reader() -> ResponseReader {
    ResponseReader::new(HandshakeKey::from_nonce(*NONCE))
}

fn offered() -> [Box<str>; 2] {
    ["chat".into(), "superchat".into()]
}

fn head(lines: &[&str]) -> Vec<u8> {
    [lines.join("\r\n").as_bytes(), b"\r\n\r\n"].concat()
}

fn refusal(status: u16) -> UpgradeError {
    UpgradeError::Status(Box::new(Refusal {
        status,
        retry_after: None,
        location: None,
        body: "".into(),
    }))
}

/// Feeds pieces until something is decided: what, and how many bytes of all were consumed.
fn read_pieces(limits: &UpgradeLimits, pieces: &[&[u8]]) -> Result<Progress, UpgradeError> {
    let mut reader = reader();
    let mut before = 0;
    for piece in pieces {
        match reader.read(limits, &offered(), piece)? {
            Progress::NeedMore => before += piece.len(),
            Progress::Done { consumed, accepted } => {
                let consumed = before + consumed;
                return Ok(Progress::Done { consumed, accepted });
            }
        }
    }
    Ok(Progress::NeedMore)
}

/// Asserts the verdict on a response however it is cut.
#[track_caller]
fn check_within(
    limits: &UpgradeLimits,
    response: &[u8],
    expected: &Result<Progress, UpgradeError>,
) {
    let seen = String::from_utf8_lossy(response);
    assert_eq!(&read_pieces(limits, &[response]), expected, "{seen}");
    let bytes: Vec<_> = response.chunks(1).collect();
    assert_eq!(
        &read_pieces(limits, &bytes),
        expected,
        "byte by byte: {seen}"
    );
    for cut in 0..=response.len().min(400) {
        let (front, back) = response.split_at(cut);
        let got = read_pieces(limits, &[front, back]);
        assert_eq!(&got, expected, "cut at {cut}: {seen}");
    }
}

#[track_caller]
fn check(lines: &[&str], expected: Result<Option<&str>, UpgradeError>) {
    let response = head(lines);
    let expected = expected.map(|subprotocol| Progress::Done {
        consumed: response.len(),
        accepted: Accepted {
            subprotocol: subprotocol.map(Into::into),
            deflate: None,
        },
    });
    check_within(&UpgradeLimits::default(), &response, &expected);
}

#[track_caller]
fn check_raw(response: &[u8], error: UpgradeError) {
    check_within(&UpgradeLimits::default(), response, &Err(error));
}

#[test]
fn a_proper_101_is_accepted() {
    check(&[OK, UPGRADE, CONNECTION, ACCEPT], Ok(None));
    check(&["HTTP/1.1 101", UPGRADE, CONNECTION, ACCEPT], Ok(None));
    let names = [
        "uPGRADE:WebSocket",
        "CONNECTION:  keep-alive ,\tupgrade  ",
        "sec-websocket-ACCEPT:s3pPLMBiTxaQ9kYGzzhZRbK+xOo=  ",
        "Server: x",
    ];
    check(&[&[OK], &names[..]].concat(), Ok(None));
    let twice = [OK, UPGRADE, "Connection: keep-alive", CONNECTION, ACCEPT];
    check(&twice, Ok(None));
}

#[test]
fn a_101_that_does_not_prove_itself_is_refused() {
    use UpgradeError as E;
    check(&[OK, CONNECTION, ACCEPT], Err(E::MissingUpgrade));
    check(
        &[OK, "Upgrade: h2c", CONNECTION, ACCEPT],
        Err(E::MissingUpgrade),
    );
    check(
        &[OK, "Upgrade: websocket, h2c", CONNECTION, ACCEPT],
        Err(E::MissingUpgrade),
    );
    check(
        &[OK, UPGRADE, "Upgrade: h2c", CONNECTION, ACCEPT],
        Err(E::MissingUpgrade),
    );
    check(&[OK, UPGRADE, ACCEPT], Err(E::MissingConnection));
    check(
        &[OK, UPGRADE, "Connection: keep-alive", ACCEPT],
        Err(E::MissingConnection),
    );
    check(
        &[OK, UPGRADE, "Connection: upgraded", ACCEPT],
        Err(E::MissingConnection),
    );
    check(&[OK, UPGRADE, CONNECTION], Err(E::BadAccept));
    check(
        &[OK, UPGRADE, CONNECTION, ACCEPT, ACCEPT],
        Err(E::BadAccept),
    );
    for bad in [
        "",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
        "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "\"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\"",
    ] {
        let accept = format!("Sec-WebSocket-Accept: {bad}");
        check(&[OK, UPGRADE, CONNECTION, &accept], Err(E::BadAccept));
    }
    check(
        &["HTTP/1.0 101 X", UPGRADE, CONNECTION, ACCEPT],
        Err(E::HttpVersion),
    );
}

#[test]
fn only_what_was_offered_can_be_selected() {
    let with = |header: &str, expected: Result<Option<&str>, UpgradeError>| {
        let lines: Vec<_> = [OK, UPGRADE, CONNECTION, ACCEPT]
            .into_iter()
            .chain(header.split('\n'))
            .collect();
        check(&lines, expected);
    };
    let unoffered = |name: &str| Err(UpgradeError::UnofferedSubprotocol(name.into()));
    with("Sec-WebSocket-Protocol: superchat", Ok(Some("superchat")));
    with("Sec-WebSocket-Protocol: Chat", unoffered("Chat"));
    with("Sec-WebSocket-Protocol: ", unoffered(""));
    with(
        "Sec-WebSocket-Protocol: chat, superchat",
        unoffered("chat, superchat"),
    );
    with(
        "Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: chat",
        unoffered("chat, chat"),
    );
    let long = format!("Sec-WebSocket-Protocol: {}", "x".repeat(500));
    with(&long, unoffered(&"x".repeat(64)));
    let deflate = UpgradeError::UnofferedExtension("permessage-deflate".into());
    with("Sec-WebSocket-Extensions: permessage-deflate", Err(deflate));
}

#[test]
fn frames_behind_the_101_are_left_to_the_caller_wherever_it_is_cut() {
    let response = head(&[OK, UPGRADE, CONNECTION, ACCEPT]);
    let frames = b"\x81\x02hi\r\n\r\n";
    let stream = [&response[..], frames].concat();
    for cut in 0..=stream.len() {
        let (front, back) = stream.split_at(cut);
        let mut reader = reader();
        let limits = UpgradeLimits::default();
        let (consumed, piece) = match reader.read(&limits, &[], front) {
            Ok(Progress::Done { consumed, .. }) => (consumed, front),
            Ok(Progress::NeedMore) => match reader.read(&limits, &[], back) {
                Ok(Progress::Done { consumed, .. }) => (consumed, back),
                other => panic!("cut at {cut}: {other:?}"),
            },
            Err(error) => panic!("cut at {cut}: {error}"),
        };
        let left = if cut < response.len() {
            frames
        } else {
            &frames[..cut - response.len()]
        };
        assert_eq!(&piece[consumed..], left, "cut at {cut}");
    }
}

#[test]
fn interim_responses_are_skipped_up_to_a_limit() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let stream = |count| {
        let accepted = head(&[OK, UPGRADE, CONNECTION, ACCEPT]);
        [hints.repeat(count).as_bytes(), &accepted].concat()
    };
    let limits = UpgradeLimits::default();
    let done = Ok(Progress::Done {
        consumed: stream(8).len(),
        accepted: Accepted {
            subprotocol: None,
            deflate: None,
        },
    });
    check_within(&limits, &stream(8), &done);
    check_raw(&stream(9), UpgradeError::TooManyInterim { max: 8 });
    let garbage = [hints.as_bytes(), b"\x81\x02hi"].concat();
    check_raw(&garbage, UpgradeError::NotHttp);
}

#[test]
fn any_other_status_is_a_refusal_with_the_servers_hints() {
    for status in [
        200, 204, 301, 400, 401, 403, 404, 429, 500, 503, 599, 600, 999,
    ] {
        let line = format!("HTTP/1.1 {status} Whatever");
        check(&[&line], Err(refusal(status)));
        let old = format!("HTTP/1.0 {status} Whatever");
        check(&[&old, "Server: old"], Err(refusal(status)));
    }
    let response = [
        "HTTP/1.1 503 Service Unavailable",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT",
        "Retry-After: Sun, 06 Nov 1994 08:51:37 GMT",
        "Location: https://b.example/x",
        "Content-Length: 99999",
        "",
        "\u{1b}[31mbusy\n",
    ]
    .join("\r\n");
    let body = format!("{response}{}", "é".repeat(500));
    let Err(UpgradeError::Status(refusal)) =
        read_pieces(&UpgradeLimits::default(), &[body.as_bytes()])
    else {
        panic!("503 is a refusal");
    };
    assert_eq!(refusal.status, 503);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(120)));
    assert_eq!(refusal.location.as_deref(), Some("https://b.example/x"));
    assert!(refusal.body.starts_with("\\u{1b}[31mbusy\\né"));
    assert!(refusal.body.len() < 400);
}

#[test]
fn what_is_not_http_is_refused_at_its_first_byte_that_shows_it() {
    for (banner, needed) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], 1),
        (b"\x00\x00\x12\x04\x00\x00", 1),
        (b"<html>", 1),
        (b"\r\nHTTP/1.1 101", 1),
        (b"http/1.1 101", 1),
        (b"HTTQ", 4),
    ] {
        let limits = UpgradeLimits::default();
        let (front, _) = banner.split_at(needed);
        let early = read_pieces(&limits, &[&front[..needed - 1]]);
        assert_eq!(early, Ok(Progress::NeedMore));
        assert_eq!(read_pieces(&limits, &[front]), Err(UpgradeError::NotHttp));
        check_raw(banner, UpgradeError::NotHttp);
    }
    for version in [
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/2",
        "HTTP/2.0",
        "HTTP/11.1",
        "HTTP/",
    ] {
        check_raw(
            &head(&[&format!("{version} 101 X"), UPGRADE, CONNECTION, ACCEPT]),
            UpgradeError::HttpVersion,
        );
    }
}

#[test]
fn a_head_that_breaks_the_syntax_is_refused() {
    let with = |line: &str| {
        let stream = head(&[OK, UPGRADE, CONNECTION, ACCEPT, line]);
        let got = read_pieces(&UpgradeLimits::default(), &[&stream[..]]);
        assert!(
            matches!(got, Err(UpgradeError::Malformed(_))),
            "{line:?}: {got:?}"
        );
        check_raw(&stream, got.unwrap_err());
    };
    for line in [
        "X: a\nY: b",
        "X: a\rY: b",
        "X: a\0b",
        "X: a\u{1}b",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        " X: a",
        "X : a",
        "X\t: a",
        "X",
        ": a",
        "X Y: a",
        "É: a",
    ] {
        with(line);
    }
    for line in [
        "HTTP/1.1 ",
        "HTTP/1.1 10",
        "HTTP/1.1 1o1 X",
        "HTTP/1.1 000 X",
        "HTTP/1.1 1011 X",
    ] {
        let stream = head(&[line, UPGRADE, CONNECTION, ACCEPT]);
        let got = read_pieces(&UpgradeLimits::default(), &[&stream[..]]);
        assert!(
            matches!(got, Err(UpgradeError::Malformed(_))),
            "{line:?}: {got:?}"
        );
    }
}

#[test]
fn limits_of_the_head_are_inclusive() {
    let good = head(&[OK, UPGRADE, CONNECTION, ACCEPT]);
    let limits = |header_bytes_max, headers_max| UpgradeLimits {
        header_bytes_max,
        headers_max,
        interim_max: 8,
    };
    let done = Ok(Progress::Done {
        consumed: good.len(),
        accepted: Accepted {
            subprotocol: None,
            deflate: None,
        },
    });
    check_within(&limits(good.len(), 3), &good, &done);
    let max = good.len() - 1;
    let too_big = Err(UpgradeError::HeadTooBig { max });
    check_within(&limits(max, 3), &good, &too_big);
    let too_many = Err(UpgradeError::TooManyHeaders { max: 2 });
    check_within(&limits(good.len(), 2), &good, &too_many);

    // The parser beneath has a limit of its own.
    let many = "A: b\r\n".repeat(125);
    let stream = format!("{OK}\r\n{many}\r\n");
    let too_many = Err(UpgradeError::TooManyHeaders { max: 124 });
    check_within(&limits(16 * 1024, 1_000), stream.as_bytes(), &too_many);
    let most = format!("HTTP/1.1 404 X\r\n{}\r\n", "A: b\r\n".repeat(124));
    check_within(
        &limits(16 * 1024, 1_000),
        most.as_bytes(),
        &Err(refusal(404)),
    );

    let line = format!("{OK}\r\nX: {}\r\n", "x".repeat(8 * 1024 - 3));
    assert_eq!(
        read_pieces(&limits(16 * 1024, 100), &[line.as_bytes()]),
        Ok(Progress::NeedMore)
    );
    let line = format!("{OK}\r\nX: {}\r\n", "x".repeat(8 * 1024 - 2));
    check_raw(line.as_bytes(), UpgradeError::LineTooLong { max: 8 * 1024 });
    let endless = [OK.as_bytes(), b"\r\n", "X: y\r\n".repeat(50).as_bytes()].concat();
    check_within(
        &limits(200, 100),
        &endless,
        &Err(UpgradeError::HeadTooBig { max: 200 }),
    );
}

#[test]
fn an_end_of_the_stream_at_any_byte_of_the_head_is_an_eof() {
    let response = head(&[OK, UPGRADE, CONNECTION, ACCEPT]);
    for cut in 0..response.len() {
        let mut reader = reader();
        let limits = UpgradeLimits::default();
        let got = reader.read(&limits, &offered(), &response[..cut]);
        assert_eq!(got, Ok(Progress::NeedMore));
        assert_eq!(reader.end(), UpgradeError::Eof { bytes: cut });
    }
}

#[test]
fn a_request_says_what_was_meant_and_nothing_more() {
    let headers: [(Box<str>, Box<str>); 2] = [
        ("Origin".into(), "https://a.example".into()),
        (
            "X-Ключ".replace("Ключ", "Key").into(),
            "schlüssel, \t\"q\"".into(),
        ),
    ];
    let request = UpgradeRequest {
        host: "[::1]:8080",
        path_and_query: "/chat?token=x",
        headers: &headers,
        subprotocols: &offered(),
        deflate: None,
    };
    let mut out = Vec::new();
    let key = write_request(&mut out, &request, *NONCE);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET /chat?token=x HTTP/1.1\r\n\
         Host: [::1]:8080\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n\
         Origin: https://a.example\r\n\
         X-Key: schlüssel, \t\"q\"\r\n\r\n"
    );
    let shown = format!("{request:?} {key:?}");
    for secret in ["token=x", "https://a.example", "schlüssel", "dGhl"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_could_end_a_header_early_is_refused_when_configured() {
    for value in ["a\r\nX: b", "a\nb", "a\rb", "a\0b", "a\u{7f}b", "\u{1b}"] {
        let error = check_header("X-Key", value).unwrap_err();
        assert!(
            matches!(error, HeaderError::InvalidValue { .. }),
            "{value:?}"
        );
        assert!(!error.to_string().contains("X: b"));
    }
    for value in [" a", "a ", "\ta", "a\t"] {
        let error = HeaderError::SpaceAroundValue("X".into());
        assert_eq!(check_header("X", value), Err(error));
    }
    for name in ["X Y", "X:", "X\r\nY", "É", "X\0", "(x)"] {
        let error = check_header(name, "v").unwrap_err();
        assert!(matches!(error, HeaderError::InvalidName { .. }), "{name:?}");
    }
    assert_eq!(check_header("", "v"), Err(HeaderError::EmptyName));
    for name in [
        "Host",
        "HOST",
        "sec-websocket-KEY",
        "Content-Length",
        "Upgrade",
    ] {
        let error = HeaderError::Reserved(name.into());
        assert_eq!(check_header(name, "v"), Err(error));
    }
    assert_eq!(check_header("Authorization", "Bearer a\tb é"), Ok(()));
    assert_eq!(check_header("X-Empty", ""), Ok(()));

    assert_eq!(check_subprotocols(&["a", "b"]), Ok(()));
    let repeated = HeaderError::RepeatedSubprotocol("a".into());
    assert_eq!(check_subprotocols(&["a", "b", "a"]), Err(repeated));
    assert_eq!(check_subprotocol(""), Err(HeaderError::EmptySubprotocol));
    for name in ["a,b", "a b", "a\r\nX: y", "{a}"] {
        let error = check_subprotocol(name).unwrap_err();
        assert!(
            matches!(error, HeaderError::InvalidSubprotocol { .. }),
            "{name:?}"
        );
    }
}

#[test]
fn tungstenites_server_and_this_client_agree() {
    let request = UpgradeRequest {
        host: "a.example",
        path_and_query: "/",
        headers: &[],
        subprotocols: &[],
        deflate: None,
    };
    for first in 0..=u8::MAX {
        let mut out = Vec::new();
        let key = write_request(&mut out, &request, [first; 16]);
        let (size, parsed) = Request::try_parse(&out).unwrap().unwrap();
        assert_eq!(size, out.len());
        let mut response = Vec::new();
        write_response(&mut response, &create_response(&parsed).unwrap()).unwrap();
        let got = ResponseReader::new(key).read(&UpgradeLimits::default(), &[], &response);
        assert!(matches!(got, Ok(Progress::Done { .. })), "{got:?}");
    }
}

proptest! {
    #[test]
    fn a_request_parses_back_to_exactly_its_headers(
        headers in proptest::collection::vec(
            ("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", "\\PC{0,20}"),
            0..6,
        ),
        path in "/[a-z0-9/?=&%.]{0,30}",
    ) {
        let headers: Vec<(Box<str>, Box<str>)> = headers
            .into_iter()
            .filter(|(name, value)| check_header(name, value).is_ok())
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let request = UpgradeRequest {
            host: "a.example:1",
            path_and_query: &path,
            headers: &headers,
            subprotocols: &[],
            deflate: None,
        };
        let mut out = Vec::new();
        write_request(&mut out, &request, *NONCE);
        let (size, parsed) = Request::try_parse(&out).unwrap().unwrap();
        prop_assert_eq!(size, out.len());
        prop_assert_eq!(parsed.uri().to_string(), path);
        prop_assert_eq!(parsed.headers().len(), headers.len() + 5);
        for (name, value) in &headers {
            let mut values = parsed.headers().get_all(&**name).iter();
            prop_assert!(values.any(|it| it.as_bytes() == value.as_bytes()));
        }
    }

    #[test]
    fn any_bytes_for_a_response_get_one_verdict_however_they_are_cut(
        lines in proptest::collection::vec(
            prop_oneof![
                3 => Just(OK.to_owned()),
                1 => "HTTP/1\\.[01] [1-5][0-9][0-9] x",
                2 => Just(UPGRADE.to_owned()),
                2 => Just(CONNECTION.to_owned()),
                2 => Just(ACCEPT.to_owned()),
                2 => Just(String::new()),
                1 => "[A-Za-z-]{0,8}:[ -~\t]{0,12}",
                1 => "(?s).{0,6}",
            ],
            0..10,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream = lines.join("\r\n").into_bytes();
        let (front, back) = stream.split_at(cut.index(stream.len() + 1));
        let limits = UpgradeLimits { header_bytes_max: 150, headers_max: 4, interim_max: 1 };
        let strip = |got| match got {
            // How much of a body has arrived is a matter of cutting.
            Err(UpgradeError::Status(refusal)) => Err(UpgradeError::Status(Box::new(Refusal {
                body: "".into(),
                ..*refusal
            }))),
            other => other,
        };
        let whole = strip(read_pieces(&limits, &[&stream]));
        prop_assert_eq!(strip(read_pieces(&limits, &[front, back])), whole.clone());
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(strip(read_pieces(&limits, &bytes)), whole);
    }
}
