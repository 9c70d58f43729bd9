//! Tests of the message layer as a whole.

mod blocks;
mod deflate;
mod differential;
mod handshake;
mod headers;
mod memory;
mod negotiation;
mod oracle;
#[path = "../../../tests/pair/peer.rs"]
mod peer;
mod responses;
mod rules;
mod splits;
mod streams;
mod utf8;

use super::{CloseFrame, Decoder, FRAGMENT_OVERHEAD_BYTES, Item, Limits, ProtocolError};
use crate::message::Kind;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// An item that outlives its input, or the violation that ended the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseFrame>),
    Failed(ProtocolError),
}

impl From<Item<'_>> for Got {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Message { kind, payload } => Self::Message(kind, payload.to_vec()),
            Item::Ping(payload) => Self::Ping(payload.to_vec()),
            Item::Pong(payload) => Self::Pong(payload.to_vec()),
            Item::Close(frame) => Self::Close(frame),
        }
    }
}

fn text(payload: &str) -> Got {
    Got::Message(Kind::Text, payload.into())
}

fn binary(payload: &[u8]) -> Got {
    Got::Message(Kind::Binary, payload.into())
}

/// One frame as a server sends it. `first` is the opcode with FIN and reserved bits.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut out = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// Feeds one piece to `decoder` and collects what comes of it.
fn feed(decoder: &mut Decoder, limits: &Limits, mut input: &[u8]) -> Vec<Got> {
    let mut got = Vec::new();
    // No item is shorter than a header, and a violation comes once.
    let items_max = input.len() / 2 + 2;
    loop {
        assert!(got.len() <= items_max, "every call makes progress");
        match decoder.next(limits, &mut input) {
            Ok(Some(item)) => got.push(item.into()),
            Ok(None) => break,
            Err(error) => got.push(Got::Failed(error)),
        }
    }
    assert!(
        input.is_empty(),
        "a call that returns None used up its input"
    );
    got
}

/// Decodes a stream that arrives in these pieces.
fn decode<'a>(limits: &Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Got> {
    let mut decoder = Decoder::new();
    pieces
        .into_iter()
        .flat_map(|piece| feed(&mut decoder, limits, piece))
        .collect()
}

/// Asserts what a stream decodes to, whole and byte by byte.
#[track_caller]
fn check(stream: &[u8], expected: &[Got]) {
    let limits = Limits::default();
    assert_eq!(decode(&limits, [stream]), expected, "whole");
    assert_eq!(decode(&limits, stream.chunks(1)), expected, "byte by byte");
}

/// Asserts that a stream, after one good message, is failed with `error` and that nothing behind the
/// violation is looked at.
#[track_caller]
fn check_violation(stream: &[u8], error: ProtocolError) {
    let before = frame(FIN | TEXT, b"before");
    let behind = frame(FIN | TEXT, b"behind");
    let stream = [&before, stream, &behind].concat();
    check(&stream, &[text("before"), Got::Failed(error)]);
}
