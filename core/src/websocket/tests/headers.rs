//! Every header, against a second reading of RFC 6455 §5.2 to §5.5.

use super::*;

/// The state in which a header arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Idle,
    InText,
    InBinary,
}

/// What the first two bytes of a frame must lead to, written from the specification's tables.
fn expected(before: Before, first: u8, second: u8) -> Vec<Got> {
    let failed = |error| vec![Got::Failed(error)];
    let opcode = first & 0x0f;
    let is_final = first >> 7 == 1;
    if !matches!(opcode, 0..=2 | 8..=10) {
        return failed(ProtocolError::ReservedOpcode(opcode));
    }
    if first & 0x70 != 0 {
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
        (0 | 1, Before::InText) | (1, Before::Idle) if is_final => vec![text("")],
        (0 | 2, Before::InBinary) | (2, Before::Idle) if is_final => vec![binary(b"")],
        _ => Vec::new(),
    }
}

#[test]
fn all_two_byte_headers_are_judged_as_the_specification_says() {
    let limits = Limits::default();
    for before in [Before::Idle, Before::InText, Before::InBinary] {
        for header in 0..=u16::MAX {
            let mut decoder = Decoder::new();
            match before {
                Before::Idle => {}
                Before::InText => assert_eq!(feed(&mut decoder, &limits, &[TEXT, 0]), []),
                Before::InBinary => assert_eq!(feed(&mut decoder, &limits, &[BINARY, 0]), []),
            }
            let [first, second] = header.to_be_bytes();
            let got = feed(&mut decoder, &limits, &[first, second]);
            let expected = expected(before, first, second);
            assert_eq!(got, expected, "{header:04x} {before:?}");
            let is_over = matches!(expected[..], [Got::Failed(_) | Got::Close(_)]);
            let is_idle_again = match before {
                Before::Idle => !expected.is_empty(),
                Before::InText | Before::InBinary => {
                    matches!(expected[..], [Got::Message(..)])
                }
            };
            assert_eq!(
                decoder.is_partial(),
                !is_over && !is_idle_again,
                "{header:04x}"
            );
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
