//! How a stream is cut changes nothing.

use proptest::prelude::*;

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
    ]
}

#[test]
fn every_cut_of_a_stream_in_two_gives_the_same_items() {
    let limits = Limits::default();
    for stream in corpus() {
        let whole = decode(&limits, [&stream[..]]);
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            assert_eq!(
                decode(&limits, [front, back]),
                whole,
                "{stream:02x?} at {cut}"
            );
        }
        assert_eq!(decode(&limits, stream.chunks(1)), whole, "{stream:02x?}");
    }
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
    let streams = corpus().into_iter().chain([fragmented.concat()]);
    for stream in streams.filter(|stream| stream.len() <= 14) {
        let whole = decode(&limits, [&stream[..]]);
        for cuts in 0_u32..1 << (stream.len() - 1) {
            let mut pieces = Vec::new();
            let mut start = 0;
            for end in (1..stream.len()).filter(|end| cuts >> (end - 1) & 1 == 1) {
                pieces.push(&stream[start..end]);
                start = end;
            }
            pieces.push(&stream[start..]);
            assert_eq!(decode(&limits, pieces), whole, "{stream:02x?} at {cuts:b}");
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
