//! What servers answer to the opening request, in each way that it can be wrong: one verdict, however the
//! bytes are cut.

use super::deflate::{AGREED, RSV1, inflating};
use super::splits::every_cutting;
use super::*;
use crate::websocket::deflate::{Context, Offer, WindowBits};
use crate::websocket::{
    HandshakeKey, Progress, Refusal, ResponseReader, UpgradeError, UpgradeLimits,
};

const OK: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const OFFER: Offer = Offer {
    server_context: Context::TakenOver,
    client_context: Context::TakenOver,
    server_window: WindowBits::MAX,
    client_window: WindowBits::MAX,
};

/// What a response comes to, apart from how much of a body came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The bytes behind the response, read as frames.
    Opened(Vec<Got>),
    Refused(UpgradeError),
    Waiting,
}

fn read(pieces: &[&[u8]]) -> Verdict {
    let limits = UpgradeLimits::default();
    let offered = ["chat".into(), "superchat".into()];
    let key = HandshakeKey::from_nonce(*b"the sample nonce");
    let mut reader = ResponseReader::new(key).deflate(Some(OFFER));
    let mut pieces = pieces.iter();
    while let Some(piece) = pieces.next() {
        match reader.read(&limits, &offered, piece) {
            Ok(Progress::NeedMore) => {}
            Ok(Progress::Done { consumed, accepted }) => {
                let mut decoder = match accepted.deflate {
                    Some(_) => inflating(&AGREED),
                    None => Decoder::new(),
                };
                let rest = std::iter::once(&piece[consumed..]).chain(pieces.copied());
                let frames = rest.flat_map(|piece| feed(&mut decoder, &Limits::default(), piece));
                return Verdict::Opened(frames.collect());
            }
            Err(UpgradeError::Status(refusal)) => {
                let refusal = Refusal {
                    body: "".into(),
                    ..*refusal
                };
                return Verdict::Refused(UpgradeError::Status(Box::new(refusal)));
            }
            Err(error) => return Verdict::Refused(error),
        }
    }
    Verdict::Waiting
}

/// Responses in full, with the first words of the error, or "opened", or "waiting".
fn corpus() -> Vec<(Vec<u8>, &'static str)> {
    let answer = |headers: &str| format!("{OK}{headers}\r\n").into_bytes();
    let accepted = |headers: &str| answer(&format!("{ACCEPT}{headers}"));
    let status =
        |line: &str, headers: &str| format!("HTTP/1.1 {line}\r\n{headers}\r\nbody é").into_bytes();
    let with_frames = |headers: &str, frames: &[u8]| [accepted(headers), frames.to_vec()].concat();
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let frames = [
        frame(FIN | TEXT, b"hi\r\n\r\n"),
        frame(FIN | CLOSE, b"\x03\xe8"),
    ]
    .concat();
    let compressed = [frame(FIN | RSV1 | TEXT, &hello), frame(FIN | PING, b"")].concat();
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let head_of = |lines: usize, line: &str| format!("{OK}{}", line.repeat(lines)).into_bytes();
    vec![
        // The proof of the key: wrong, missing, repeated, padded otherwise.
        (
            answer("Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "the response does not answer",
        ),
        (answer(""), "the response does not answer"),
        (accepted(ACCEPT), "the response does not answer"),
        (
            answer("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n"),
            "the response does not answer",
        ),
        // The upgrade.
        (
            b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n".into(),
            "the response has no \"Upgrade",
        ),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n".into(),
            "the response has no \"Connection",
        ),
        (accepted("Connection: keep-alive\r\n"), "opened"),
        // Subprotocols and extensions.
        (
            accepted("Sec-WebSocket-Protocol: soap\r\n"),
            "the server selected the subprotocol",
        ),
        (
            accepted("Sec-WebSocket-Protocol: chat, superchat\r\n"),
            "the server selected the subprotocol",
        ),
        (accepted("Sec-WebSocket-Protocol: superchat\r\n"), "opened"),
        (
            accepted("Sec-WebSocket-Extensions: x-snappy\r\n"),
            "the server selected the extension",
        ),
        (
            accepted("Sec-WebSocket-Extensions: permessage-deflate; x\r\n"),
            "the parameter \"x\"",
        ),
        (
            accepted("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n"),
            "the parameter \"server",
        ),
        (
            accepted(
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"08\"\r\n",
            ),
            "the parameter \"server",
        ),
        (
            accepted("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"),
            "the parameter \"client",
        ),
        (
            accepted("Sec-WebSocket-Extensions:\r\n"),
            "the server's list of extensions",
        ),
        (
            accepted("Sec-WebSocket-Extensions: , ,\r\n"),
            "the server's list of extensions",
        ),
        (
            accepted("Sec-WebSocket-Extensions: a;\r\n"),
            "the server's list of extensions",
        ),
        // Redirects, credentials, refusals, waits, and statuses that are none.
        (
            status("301 Moved", "Location: https://b.example/x?t=1\r\n"),
            "the server answered HTTP 301",
        ),
        (
            status("307 Temporary Redirect", "Location: /x\r\n"),
            "the server answered HTTP 307",
        ),
        (
            status("401 Unauthorized", "WWW-Authenticate: Basic\r\n"),
            "the server answered HTTP 401",
        ),
        (
            status("407 Proxy Authentication Required", ""),
            "the server answered HTTP 407",
        ),
        (status("403 Forbidden", ""), "the server answered HTTP 403"),
        (
            status("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
            "the server answered HTTP 426",
        ),
        (
            status("429 Too Many Requests", "Retry-After: 120\r\n"),
            "the server answered HTTP 429, retry after 120 s",
        ),
        (
            status(
                "503 Busy",
                "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
            ),
            "the server answered HTTP 503, retry after 60 s",
        ),
        (
            status("503 Busy", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
            "the server answered HTTP 503",
        ),
        (
            status("200 OK", "Content-Length: 99\r\n"),
            "the server answered HTTP 200",
        ),
        (status("204 No Content", ""), "the server answered HTTP 204"),
        (status("600 What", ""), "the server answered HTTP 600"),
        (status("000 What", ""), "malformed response"),
        (
            status(
                "500 X",
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            ),
            "the server answered HTTP 500",
        ),
        (
            [
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n",
                &accepted("")[..],
            ]
            .concat(),
            "opened",
        ),
        (
            "HTTP/1.1 103 Hints\r\n\r\n".repeat(9).into_bytes(),
            "the server sent more than 8",
        ),
        // Heads that break the syntax or a limit.
        (
            head_of(101, "A: b\r\n"),
            "the response has more than 100 headers",
        ),
        (accepted("X: a\0b\r\n"), "malformed response"),
        (accepted("X: a\nY: b\r\n"), "malformed response"),
        (accepted("X: a\rY: b\r\n"), "malformed response"),
        (accepted("X: a\r\n folded\r\n"), "malformed response"),
        (accepted("X : a\r\n"), "malformed response"),
        (accepted("Connection: \u{e9}\r\n"), "malformed response"),
        // Frames behind the 101.
        (with_frames("", &frames), "opened"),
        (with_frames(deflate, &compressed), "opened"),
        (with_frames("", &compressed), "opened"),
        // The end before the end of the head.
        (OK.into(), "waiting"),
        ([OK, ACCEPT].concat().into_bytes(), "waiting"),
        // Something else than HTTP/1.1.
        (
            b"HTTP/1.0 101 Switching Protocols\r\n\r\n".into(),
            "the response is not HTTP/1.1",
        ),
        (
            b"HTTP/2.0 101\r\n\r\n".into(),
            "the response is not HTTP/1.1",
        ),
        (b"HTTP/0.9\r\n\r\n".into(), "the response is not HTTP/1.1"),
        (b"HTTP/\r\n\r\n".into(), "the response is not HTTP/1.1"),
        (
            b"\0\0\x12\x04\0\0\0\0\0".into(),
            "the peer does not speak HTTP",
        ),
        (b"SSH-2.0-X\r\n".into(), "the peer does not speak HTTP"),
        (b"<!DOCTYPE html>".into(), "the peer does not speak HTTP"),
        (b"HTTP\0".into(), "the peer does not speak HTTP"),
        (b"HTTP/1.1\n\n".into(), "malformed response"),
        (b"HTTP/1.1 1\r\r\n".into(), "malformed response"),
    ]
}

#[test]
fn every_response_gets_one_verdict_however_it_is_cut_in_two() {
    for (response, expected) in corpus() {
        let whole = read(&[&response]);
        let words = match &whole {
            Verdict::Opened(_) => "opened".to_owned(),
            Verdict::Waiting => "waiting".to_owned(),
            Verdict::Refused(error) => error.to_string(),
        };
        let seen = String::from_utf8_lossy(&response);
        assert!(
            words.starts_with(expected),
            "{words:?}, not {expected:?}: {seen}"
        );
        for cut in 0..=response.len() {
            let (front, back) = response.split_at(cut);
            assert_eq!(read(&[front, back]), whole, "cut at {cut}: {seen}");
        }
        let bytes: Vec<_> = response.chunks(1).collect();
        assert_eq!(read(&bytes), whole, "byte by byte: {seen}");
    }
}

#[test]
fn every_way_to_cut_a_short_response_gives_one_verdict() {
    let short = corpus()
        .into_iter()
        .filter(|(response, _)| response.len() <= 14);
    let mut count = 0;
    for (response, _) in short {
        let whole = read(&[&response]);
        for pieces in every_cutting(&response) {
            assert_eq!(read(&pieces), whole, "{pieces:02x?}");
        }
        count += 1;
    }
    assert!(count >= 6, "{count} are short");
}

#[test]
fn what_comes_behind_the_101_is_read_by_what_it_agreed_on() {
    let frames_behind = |which: usize| {
        let opened = corpus()
            .into_iter()
            .filter_map(|(response, _)| match read(&[&response]) {
                Verdict::Opened(frames) if !frames.is_empty() => Some(frames),
                Verdict::Opened(_) | Verdict::Refused(_) | Verdict::Waiting => None,
            });
        opened.collect::<Vec<_>>().swap_remove(which)
    };
    let close = CloseFrame::new(crate::websocket::CloseCode::NORMAL, "");
    assert_eq!(
        frames_behind(0),
        [text("hi\r\n\r\n"), Got::Close(Some(close))]
    );
    assert_eq!(frames_behind(1), [text("Hello"), Got::Ping(vec![])]);
    assert_eq!(frames_behind(2), [Got::Failed(ProtocolError::ReservedBits)]);
}

#[test]
fn what_is_interpreted_and_is_not_ascii_opens_nothing() {
    let lines: [&[u8]; 5] = [
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"Sec-WebSocket-Protocol: chat",
        b"Sec-WebSocket-Extensions: permessage-deflate",
    ];
    let response = |index: usize, line: &[u8]| {
        let mut lines = lines.to_vec();
        lines[index] = line;
        let head = lines.join(&b"\r\n"[..]);
        [b"HTTP/1.1 101 X\r\n", &head[..], b"\r\n\r\n"].concat()
    };
    let error = UpgradeError::Malformed("a header of the handshake is not ASCII");
    let refused = Verdict::Refused(error);
    let opened = Verdict::Opened(vec![]);
    assert_eq!(read(&[&response(0, lines[0])]), opened);
    // Latin-1, a character that is cut, an overlong form, a surrogate, and good UTF-8 beyond ASCII.
    for bad in [
        &b"\xe9"[..],
        b"\xe2\x82",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        "é".as_bytes(),
    ] {
        for (index, line) in lines.iter().enumerate() {
            for spoilt in [[line, bad].concat(), [line, &b", "[..], bad].concat()] {
                // In place of the header, and as a second one of its name.
                let twice = [line, &b"\r\n"[..], &spoilt].concat();
                for response in [response(index, &spoilt), response(index, &twice)] {
                    let seen = String::from_utf8_lossy(&response);
                    assert_eq!(read(&[&response]), refused, "{seen}");
                    let bytes: Vec<_> = response.chunks(1).collect();
                    assert_eq!(read(&bytes), refused, "byte by byte: {seen}");
                }
            }
        }
        // What nobody interprets may be anything that HTTP allows.
        let server = [lines[0], b"\r\nServer: ", bad].concat();
        assert_eq!(read(&[&response(0, &server)]), opened);
    }
}
