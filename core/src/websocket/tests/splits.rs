//! How a stream is cut changes nothing.

use proptest::prelude::*;

use super::deflate::{AGREED, FORGETFUL, RSV1, decode_with, inflating};
use super::peer::Sender;
use super::*;
use crate::websocket::CloseCode;

fn corpus() -> Vec<Vec<u8>> {
    let long: Vec<u8> = (0..=255).cycle().take(300).collect();
    let close = [&1000_u16.to_be_bytes()[..], "adieu, é".as_bytes()].concat();
    let conversation = [
        frame(FIN | TEXT, "grüße €𝄞".as_bytes()),
        frame(TEXT, "a€".as_bytes()),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, b""),
        frame(FIN | PONG, b""),
        // A character that is cut by a fragment's edge.
        frame(CONTINUATION, &"𝄞".as_bytes()[..1]),
        frame(CONTINUATION, &"𝄞".as_bytes()[1..3]),
        frame(FIN | CONTINUATION, &"𝄞".as_bytes()[3..]),
        frame(FIN | BINARY, &long),
        frame(FIN | BINARY, b""),
        frame(FIN | TEXT, b""),
        frame(FIN | CLOSE, &close),
        frame(FIN | TEXT, b"after the end"),
    ];
    vec![
        conversation.concat(),
        [frame(TEXT, b"ab"), frame(FIN | CONTINUATION, b"c\xff")].concat(),
        [frame(FIN | TEXT, b"ab\xe2\x82"), frame(FIN | PING, b"")].concat(),
        [frame(BINARY, b"ab"), frame(FIN | TEXT, b"c")].concat(),
        [frame(BINARY, b"ab"), frame(FIN | CLOSE, b"")].concat(),
        frame(FIN | CLOSE, &[3]),
        frame(FIN | CLOSE, b"\x03\xe8\xff"),
        vec![FIN | BINARY, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7],
        vec![FIN | BINARY, 127, 0xff, 0, 0, 0, 0, 1, 0, 0, 7],
        vec![FIN | BINARY, 0x85, 1, 2, 3, 4, 1, 2, 3, 4, 5],
        vec![FIN | 0x40 | BINARY, 126, 1, 1],
        vec![FIN | 3, 126, 1, 1],
        // Closes: alone, with a code, with a reason, behind a ping, inside a message, broken, repeated.
        [frame(FIN | CLOSE, b""), frame(FIN | CLOSE, b"")].concat(),
        [frame(FIN | PING, b"?"), frame(FIN | CLOSE, b"\x03\xe8")].concat(),
        [frame(FIN | CLOSE, b"\x0b\xb8ok"), frame(FIN | PING, b"?")].concat(),
        [frame(TEXT, b"a"), frame(FIN | CLOSE, b"\x03\xf6")].concat(),
        [frame(FIN | CLOSE, b"\x03\xed"), frame(FIN | TEXT, b"x")].concat(),
        [frame(CLOSE, b"\x03\xe8"), frame(FIN | TEXT, b"x")].concat(),
        [frame(FIN | CLOSE, "\u{3e8}é".as_bytes()), vec![0xff; 6]].concat(),
        vec![FIN | CLOSE, 126, 0, 2, 3, 0xe8],
    ]
}

/// Streams on which compression was agreed.
fn compressed_corpus() -> Vec<Vec<u8>> {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let first = FIN | RSV1 | TEXT;
    let mut sender = Sender::new(15);
    let mut messages = |lens: [usize; 3]| {
        let frames = lens.map(|len| {
            let payload = sender.compress(&b"the price is 42, ".repeat(len));
            frame(FIN | RSV1 | BINARY, &payload)
        });
        frames.concat()
    };
    let conversation = [
        messages([1, 30, 2]),
        frame(FIN | TEXT, "plain é".as_bytes()),
        frame(RSV1 | TEXT, &hello[..2]),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, b""),
        frame(FIN | CONTINUATION, &hello[2..]),
        messages([0, 3, 100]),
        frame(FIN | CLOSE, b"\x03\xe8bye"),
        frame(first, &hello),
    ];
    vec![
        conversation.concat(),
        frame(first, &hello),
        [
            frame(RSV1 | TEXT, &hello[..3]),
            frame(FIN | CONTINUATION, &hello[3..]),
        ]
        .concat(),
        [
            frame(first, &[0]),
            frame(FIN | CLOSE, b""),
            frame(first, &[0]),
        ]
        .concat(),
        [
            frame(RSV1 | TEXT, &hello[..1]),
            frame(FIN | CLOSE, b"\x03\xe8"),
        ]
        .concat(),
        // What is broken: data, their end, text, bits.
        [frame(first, &[0]), frame(first, &[7]), frame(first, &[0])].concat(),
        [frame(first, &hello[..6]), frame(first, &[0])].concat(),
        [frame(first, b""), frame(first, &hello)].concat(),
        [
            frame(first, b"\x00\x02\x00\xfd\xffa\xff\x00"),
            frame(first, &[0]),
        ]
        .concat(),
        [
            frame(RSV1 | TEXT, &[0]),
            frame(FIN | RSV1 | CONTINUATION, &[0]),
        ]
        .concat(),
        [frame(FIN | RSV1 | PING, b""), frame(first, &hello)].concat(),
        // A reference to the message before, which is not there for whoever forgets.
        [frame(first, &hello), frame(first, &[0xf2, 0, 0x11, 0, 0])].concat(),
    ]
}

type NewDecoder = fn() -> Decoder;

/// Every stream with the decoder that it is for.
fn cases() -> Vec<(Vec<u8>, NewDecoder)> {
    let plain = corpus()
        .into_iter()
        .map(|it| (it, Decoder::new as NewDecoder));
    let mut cases: Vec<_> = plain.collect();
    for stream in compressed_corpus() {
        cases.push((stream.clone(), || inflating(&AGREED)));
        cases.push((stream, || inflating(&FORGETFUL)));
    }
    cases
}

#[test]
fn every_cut_of_a_stream_in_two_gives_the_same_items() {
    let limits = Limits::default();
    for (stream, decoder) in cases() {
        let whole = decode_with(decoder(), &limits, [&stream[..]]);
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            let got = decode_with(decoder(), &limits, [front, back]);
            assert_eq!(got, whole, "{stream:02x?} at {cut}");
        }
        let bytes = decode_with(decoder(), &limits, stream.chunks(1));
        assert_eq!(bytes, whole, "{stream:02x?}");
    }
}

/// Every way to cut these bytes in pieces.
pub(super) fn every_cutting(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    (0_u32..1 << (stream.len() - 1)).map(|cuts| {
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in (1..stream.len()).filter(|end| cuts >> (end - 1) & 1 == 1) {
            pieces.push(&stream[start..end]);
            start = end;
        }
        pieces.push(&stream[start..]);
        pieces
    })
}

#[test]
fn every_way_to_cut_a_short_stream_gives_the_same_items() {
    let limits = Limits::default();
    let fragmented = [
        frame(TEXT, "é".as_bytes()),
        frame(FIN | PING, b"p"),
        frame(FIN | CONTINUATION, b"x"),
        frame(FIN | CLOSE, b""),
    ];
    let mut cases = cases();
    cases.push((fragmented.concat(), Decoder::new));
    cases.retain(|(stream, _)| stream.len() <= 14);
    assert!(cases.len() > 20, "most are short");
    for (stream, decoder) in cases {
        let whole = decode_with(decoder(), &limits, [&stream[..]]);
        for pieces in every_cutting(&stream) {
            let got = decode_with(decoder(), &limits, pieces.iter().copied());
            assert_eq!(got, whole, "{pieces:02x?}");
        }
    }
}

#[test]
fn the_conversation_decodes_to_what_was_said() {
    let long: Vec<u8> = (0..=255).cycle().take(300).collect();
    let close = CloseFrame::new(CloseCode::NORMAL, "adieu, é");
    check(
        &corpus()[0],
        &[
            text("grüße €𝄞"),
            Got::Ping(b"between".into()),
            Got::Pong(b"".into()),
            text("a€𝄞"),
            binary(&long),
            binary(b""),
            text(""),
            Got::Close(Some(close)),
        ],
    );
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_give_the_same_items(
        stream in proptest::collection::vec(
            prop_oneof![
                // Mostly what looks like frames, so that the stream survives its first byte.
                4 => (0_u8..=2, 0_u8..=6).prop_map(|(opcode, len)| vec![opcode, len]),
                4 => (0x80_u8..=0x8a, 0_u8..=6).prop_map(|(first, len)| vec![first, len]),
                2 => proptest::collection::vec(any::<u8>(), 0..8),
                2 => "\\PC{0,3}".prop_map(String::into_bytes),
            ],
            0..40,
        ),
        sizes in proptest::collection::vec(1_usize..9, 1..8),
    ) {
        let limits = Limits { message_bytes_max: 20, frame_bytes_max: 12, fragments_max: 5 };
        let stream = stream.concat();
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for size in sizes.iter().cycle() {
            let (piece, later) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decode(&limits, pieces), decode(&limits, [&stream[..]]));
    }
}
