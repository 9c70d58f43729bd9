//! Every header, against a second reading of RFC 6455 §5.2 to §5.5.

use super::deflate::{AGREED, RSV1, inflating};
use super::*;

/// The state in which a header arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Idle,
    InText,
    InBinary,
    /// The message's first frame had RSV1, and one byte: that of an empty block.
    InCompressedText,
    InCompressedBinary,
    /// A close frame has come.
    Closed,
    /// A violation has come.
    Failed,
}

/// Whether permessage-deflate was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreed {
    Nothing,
    Deflate,
}

/// What the first two bytes of a frame must lead to, written from the specification's tables.
fn expected(agreed: Agreed, before: Before, first: u8, second: u8) -> Vec<Got> {
    let failed = |error| vec![Got::Failed(error)];
    if matches!(before, Before::Closed | Before::Failed) {
        return Vec::new();
    }
    let opcode = first & 0x0f;
    let is_final = first >> 7 == 1;
    let reserved = first >> 4 & 7;
    if !matches!(opcode, 0..=2 | 8..=10) {
        return failed(ProtocolError::ReservedOpcode(opcode));
    }
    // RFC 7692 §6: RSV1, and no other bit, on the first frame of a data message.
    let is_compressed = agreed == Agreed::Deflate && reserved == 4 && matches!(opcode, 1 | 2);
    if reserved != 0 && !is_compressed {
        return failed(ProtocolError::ReservedBits);
    }
    if second >> 7 == 1 {
        return failed(ProtocolError::MaskedFrame);
    }
    if opcode >= 8 && !is_final {
        return failed(ProtocolError::FragmentedControl);
    }
    if opcode == 0 && before == Before::Idle {
        return failed(ProtocolError::UnexpectedContinuation);
    }
    if matches!(opcode, 1 | 2) && before != Before::Idle {
        return failed(ProtocolError::ExpectedContinuation);
    }
    if second != 0 {
        return Vec::new();
    }
    match (opcode, before) {
        (8, _) => vec![Got::Close(None)],
        (9, _) => vec![Got::Ping(Vec::new())],
        (10, _) => vec![Got::Pong(Vec::new())],
        _ if !is_final => Vec::new(),
        // RFC 7692 §7.2.1: even an empty message has a byte of compressed data.
        (1 | 2, Before::Idle) if is_compressed => failed(ProtocolError::InvalidDeflate),
        (0, Before::InText | Before::InCompressedText) | (1, Before::Idle) => vec![text("")],
        (0, Before::InBinary | Before::InCompressedBinary) | (2, Before::Idle) => {
            vec![binary(b"")]
        }
        other => panic!("judged above: {other:?}"),
    }
}

/// A decoder to which what comes before has been fed.
fn decoder(agreed: Agreed, before: Before) -> Decoder {
    let mut decoder = match agreed {
        Agreed::Nothing => Decoder::new(),
        Agreed::Deflate => inflating(&AGREED),
    };
    let (bytes, expected): (&[u8], _) = match before {
        Before::Idle => (&[], vec![]),
        Before::InText => (&[TEXT, 0], vec![]),
        Before::InBinary => (&[BINARY, 0], vec![]),
        Before::InCompressedText => (&[RSV1 | TEXT, 1, 0], vec![]),
        Before::InCompressedBinary => (&[RSV1 | BINARY, 1, 0], vec![]),
        Before::Closed => (&[FIN | CLOSE, 0], vec![Got::Close(None)]),
        Before::Failed => {
            let error = ProtocolError::UnexpectedContinuation;
            (&[FIN | CONTINUATION, 0], vec![Got::Failed(error)])
        }
    };
    assert_eq!(feed(&mut decoder, &Limits::default(), bytes), expected);
    decoder
}

#[track_caller]
fn check_all_headers(agreed: Agreed, before: Before) {
    let limits = Limits::default();
    for header in 0..=u16::MAX {
        let bytes = header.to_be_bytes();
        let [first, second] = bytes;
        let expected = expected(agreed, before, first, second);
        let place = || format!("{header:04x} {before:?} {agreed:?}");
        let mut whole = decoder(agreed, before);
        assert_eq!(feed(&mut whole, &limits, &bytes), expected, "{}", place());
        let mut cut = decoder(agreed, before);
        assert_eq!(feed(&mut cut, &limits, &bytes[..1]), [], "{} cut", place());
        assert_eq!(
            feed(&mut cut, &limits, &bytes[1..]),
            expected,
            "{} cut",
            place()
        );

        let is_over = matches!(before, Before::Closed | Before::Failed)
            || matches!(expected[..], [Got::Failed(_) | Got::Close(_)]);
        let is_between_messages = match before {
            Before::Idle => !expected.is_empty(),
            Before::InText
            | Before::InBinary
            | Before::InCompressedText
            | Before::InCompressedBinary
            | Before::Closed
            | Before::Failed => matches!(expected[..], [Got::Message(..)]),
        };
        let is_partial = !is_over && !is_between_messages;
        assert_eq!(whole.is_partial(), is_partial, "{}", place());
        if is_over {
            // Nothing that comes later is looked at, and nothing is kept for it.
            let behind = [frame(FIN | TEXT, b"behind"), frame(FIN | PING, b"")].concat();
            assert_eq!(feed(&mut whole, &limits, &behind), [], "{}", place());
            assert_eq!(whole.charged(), 0, "{}", place());
        }
    }
}

#[test]
fn all_two_byte_headers_are_judged_as_the_specification_says() {
    for agreed in [Agreed::Nothing, Agreed::Deflate] {
        check_all_headers(agreed, Before::Idle);
    }
}

#[test]
fn all_two_byte_headers_inside_a_message_are_judged_as_the_specification_says() {
    for before in [Before::InText, Before::InBinary] {
        for agreed in [Agreed::Nothing, Agreed::Deflate] {
            check_all_headers(agreed, before);
        }
    }
}

#[test]
fn all_two_byte_headers_inside_a_compressed_message_are_judged_as_rfc_7692_6_says() {
    for before in [Before::InCompressedText, Before::InCompressedBinary] {
        check_all_headers(Agreed::Deflate, before);
    }
}

#[test]
fn no_two_byte_header_is_looked_at_after_a_close_frame_or_a_violation() {
    for before in [Before::Closed, Before::Failed] {
        for agreed in [Agreed::Nothing, Agreed::Deflate] {
            check_all_headers(agreed, before);
        }
    }
}

/// A header whose length is written in `width` bytes, whether or not that is the shortest form.
fn header(first: u8, len: u64, width: usize) -> Vec<u8> {
    let code = if width == 2 { 126 } else { 127 };
    let mut out = vec![first, code];
    out.extend(&len.to_be_bytes()[8 - width..]);
    out
}

#[test]
fn every_edge_of_an_extended_length_is_judged_as_the_specification_says() {
    let max = Limits::default().frame_bytes_max;
    let edges = [
        0,
        125,
        126,
        65_535,
        65_536,
        max as u64,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX,
    ];
    let around = |edge: u64| [edge.wrapping_sub(1), edge, edge.wrapping_add(1)];
    for len in edges.into_iter().flat_map(around) {
        for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE] {
            for width in [2, 8] {
                if width == 2 && len > 0xffff {
                    continue;
                }
                let is_shortest = if width == 2 {
                    len >= 126
                } else {
                    len >= 65_536
                };
                let error = if len >> 63 == 1 {
                    Some(ProtocolError::LengthOutOfRange)
                } else if !is_shortest {
                    Some(ProtocolError::NonMinimalLength)
                } else if first & 8 != 0 {
                    Some(ProtocolError::OversizedControl(len))
                } else if len > max as u64 {
                    Some(ProtocolError::FrameTooBig { bytes: len, max })
                } else {
                    None
                };
                let expected: Vec<_> = error.map(Got::Failed).into_iter().collect();
                check(&header(first, len, width), &expected);
            }
        }
    }
}
