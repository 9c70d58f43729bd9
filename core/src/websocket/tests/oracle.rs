//! Against tungstenite's own WebSocket, in both directions.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use super::differential::their_1002;
use super::*;
use crate::websocket::{CloseCode, Opcode, close_payload, encode_frame};

/// A stream whose reads end where the pieces end, and which then would block.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    read: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(read: VecDeque<Vec<u8>>) -> Self {
        Self {
            read,
            written: Vec::new(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.read.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let len = piece.len().min(out.len());
        out[..len].copy_from_slice(&piece[..len]);
        if len < piece.len() {
            self.read.push_front(piece.split_off(len));
        }
        Ok(len)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite does not know the close code 1014, and reports another in its place.
fn without_1014(mut ours: Vec<Got>) -> Vec<Got> {
    if let Some(Got::Close(Some(frame))) = ours.last_mut()
        && frame.code == CloseCode::BAD_GATEWAY
    {
        *frame = their_1002();
    }
    ours
}

/// How tungstenite's reading of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    WaitingOrClosed,
    Failed,
}

/// A message of tungstenite's in the words of these tests.
pub(super) fn item(message: Message) -> Got {
    match message {
        Message::Text(payload) => text(payload.as_str()),
        Message::Binary(payload) => binary(&payload),
        Message::Ping(payload) => Got::Ping(payload.to_vec()),
        Message::Pong(payload) => Got::Pong(payload.to_vec()),
        Message::Close(frame) => Got::Close(frame.map(|frame| {
            let code = CloseCode::from_u16(frame.code.into());
            CloseFrame::new(code, frame.reason.as_str())
        })),
        Message::Frame(_) => panic!("raw frames are never read"),
    }
}

fn oracle(role: Role, read: VecDeque<Vec<u8>>) -> (Vec<Got>, Ended) {
    let mut socket = WebSocket::from_raw_socket(Pieces::new(read), role, None);
    let mut got = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => {
                got.push(item(message));
                if let Some(Got::Close(_)) = got.last() {
                    return (got, Ended::WaitingOrClosed);
                }
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (got, Ended::WaitingOrClosed);
            }
            Err(_) => return (got, Ended::Failed),
        }
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        2 => (120_usize..135, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (65_530_usize..65_545, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn text_payload() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => any::<String>(),
        1 => (40_usize..50).prop_map(|len| "€uro".repeat(len)),
        1 => Just("𝄞".repeat(16_384)),
    ]
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    (
        prop_oneof![Just(PING), Just(PONG)],
        vec(any::<u8>(), 0..=125),
    )
        .prop_map(|(opcode, payload)| frame(FIN | opcode, &payload))
}

/// A message in up to five frames, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        payload().prop_map(|payload| (BINARY, payload)),
        text_payload().prop_map(|payload| (TEXT, payload.into_bytes())),
    ];
    let cuts = vec((any::<prop::sample::Index>(), vec(control(), 0..2)), 0..4);
    (data, cuts).prop_map(|((opcode, payload), cuts)| {
        let mut ends: Vec<_> = cuts
            .iter()
            .map(|(index, _)| index.index(payload.len() + 1))
            .collect();
        ends.sort_unstable();
        let mut out = Vec::new();
        let mut start = 0;
        for (i, (end, (_, controls))) in ends.iter().zip(&cuts).enumerate() {
            let first = if i == 0 { opcode } else { CONTINUATION };
            out.extend(frame(first, &payload[start..*end]));
            out.extend(controls.concat());
            start = *end;
        }
        let first = if ends.is_empty() {
            opcode
        } else {
            CONTINUATION
        };
        out.extend(frame(FIN | first, &payload[start..]));
        out
    })
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop_oneof![1000_u16..=1003, 1007_u16..=1014, 3000_u16..=4999];
    prop_oneof![
        Just(frame(FIN | CLOSE, b"")),
        (codes, "\\PC{0,20}").prop_map(|(code, reason)| {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            frame(FIN | CLOSE, &payload)
        }),
    ]
}

/// What a server may say, frame by frame.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![3 => message(), 1 => control()];
    (vec(part, 0..8), proptest::option::of(close())).prop_map(|(mut parts, close)| {
        parts.extend(close);
        parts.concat()
    })
}

fn cut(stream: &[u8], sizes: &[usize]) -> VecDeque<Vec<u8>> {
    let mut pieces = VecDeque::new();
    let mut rest = stream;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(rest.len().min(size));
        pieces.push_back(piece.to_vec());
        rest = later;
    }
    pieces
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1_usize..20, 1_usize..20_000], 1..6)
}

proptest! {
    #[test]
    fn a_valid_stream_decodes_to_what_tungstenite_reads(stream in stream(), sizes in sizes()) {
        let pieces = cut(&stream, &sizes);
        let ours = decode(&Limits::default(), pieces.iter().map(Vec::as_slice));
        let (theirs, ended) = oracle(Role::Client, pieces);
        prop_assert_eq!(ended, Ended::WaitingOrClosed);
        prop_assert_eq!(without_1014(ours), theirs);
    }

    #[test]
    fn a_damaged_stream_is_refused_wherever_tungstenite_refuses_it(
        stream in stream(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in sizes(),
    ) {
        prop_assume!(!stream.is_empty());
        let mut stream = stream;
        for (index, byte) in damage {
            let index = index.index(stream.len().min(600));
            stream[index] = byte;
        }
        let pieces = cut(&stream, &sizes);
        let mut ours = decode(&Limits::default(), pieces.iter().map(Vec::as_slice));
        let (theirs, ended) = oracle(Role::Client, pieces);
        match ours.last() {
            // We are stricter (lengths, close codes) and refuse earlier (headers, text).
            Some(Got::Failed(_)) => {
                ours.pop();
                prop_assert!(theirs.starts_with(&ours), "{:?}\n{:?}", ours, theirs);
            }
            _ => {
                prop_assert_eq!(ended, Ended::WaitingOrClosed);
                prop_assert_eq!(without_1014(ours), theirs);
            }
        }
    }

    #[test]
    fn a_server_reads_what_was_encoded(
        messages in vec((text_payload(), payload(), vec(any::<u8>(), 0..=125)), 0..6),
        mask in any::<[u8; 4]>(),
        sizes in sizes(),
        reason in "\\PC{0,40}",
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (words, bytes, control) in messages {
            encode_frame(&mut stream, Opcode::Text, words.as_bytes(), mask);
            encode_frame(&mut stream, Opcode::Ping, &control, mask);
            encode_frame(&mut stream, Opcode::Binary, &bytes, mask);
            encode_frame(&mut stream, Opcode::Pong, &control, mask);
            expected.extend([
                text(&words),
                Got::Ping(control.clone()),
                binary(&bytes),
                Got::Pong(control),
            ]);
        }
        let close = CloseFrame::new(CloseCode::GOING_AWAY, &reason);
        encode_frame(&mut stream, Opcode::Close, &close_payload(Some(&close)), mask);
        expected.push(Got::Close(Some(close)));
        let (theirs, _) = oracle(Role::Server, cut(&stream, &sizes));
        prop_assert_eq!(theirs, expected);
    }

    #[test]
    fn what_a_server_encodes_is_decoded(
        messages in vec((text_payload(), payload()), 0..6),
        sizes in sizes(),
    ) {
        let mut server = WebSocket::from_raw_socket(Pieces::default(), Role::Server, None);
        let mut expected = Vec::new();
        for (words, bytes) in messages {
            expected.extend([text(&words), binary(&bytes)]);
            server.send(Message::text(words)).unwrap();
            server.send(Message::binary(bytes)).unwrap();
        }
        server.close(None).unwrap();
        expected.push(Got::Close(None));
        let pieces = cut(&server.get_ref().written, &sizes);
        let ours = decode(&Limits::default(), pieces.iter().map(Vec::as_slice));
        prop_assert_eq!(ours, expected);
    }
}
