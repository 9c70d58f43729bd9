//! Text as it arrives, judged as the standard library judges the whole of it (RFC 6455 §8.1, RFC 3629).

use super::*;
use crate::websocket::utf8::Utf8Progress;

/// How a text ends that may be cut anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    /// Its last character is not complete.
    Unfinished,
    /// The index of the first byte at which nothing that follows can make it valid.
    InvalidAt(usize),
}

/// The verdict of the standard library, one prefix at a time.
fn by_std(text: &[u8]) -> Verdict {
    let is_hopeless = |end: &usize| {
        std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some())
    };
    match std::str::from_utf8(text) {
        Ok(_) => Verdict::Valid,
        Err(error) if error.error_len().is_none() => Verdict::Unfinished,
        Err(error) => {
            let end = (error.valid_up_to() + 1..=text.len()).find(is_hopeless);
            Verdict::InvalidAt(end.expect("the whole is invalid") - 1)
        }
    }
}

/// Feeds `text` to the validator of arriving text in pieces, cut behind each byte whose bit in `cuts` is
/// set. What is refused is refused with the piece that has the offending byte.
fn check_pieces(text: &[u8], cuts: u32, expected: Verdict) {
    let mut progress = Utf8Progress::default();
    let mut start = 0;
    for end in 1..=text.len() {
        if end < text.len() && cuts >> (end - 1) & 1 == 0 {
            continue;
        }
        let is_refused = progress.grow(&text[..end], end - start).is_err();
        let is_hopeless = matches!(expected, Verdict::InvalidAt(at) if at < end);
        assert_eq!(is_refused, is_hopeless, "{text:02x?} {cuts:b} at {end}");
        if is_refused {
            return;
        }
        start = end;
    }
    let is_refused = progress.finish().is_err();
    let is_unfinished = expected == Verdict::Unfinished;
    assert_eq!(is_refused, is_unfinished, "{text:02x?} {cuts:b}");
}

/// Feeds a text frame, and a fragmented message with a frame for each byte, to the decoder byte by byte.
fn check_message(text: &[u8], expected: Verdict) {
    let limits = Limits::default();
    let len = u8::try_from(text.len()).expect("a short text");
    let head = &[FIN | TEXT, len][..];
    let mut whole = Decoder::new();
    next(&mut whole, &limits, head, None, text);
    let mut fragmented = Decoder::new();
    for (index, byte) in text.iter().enumerate() {
        let is_last = index + 1 == text.len();
        let got = match expected {
            Verdict::InvalidAt(at) if at < index => return,
            Verdict::InvalidAt(at) if at == index => Some(Err(ProtocolError::InvalidUtf8)),
            Verdict::Unfinished if is_last => Some(Err(ProtocolError::InvalidUtf8)),
            Verdict::Valid if is_last => Some(Ok(())),
            Verdict::InvalidAt(_) | Verdict::Unfinished | Verdict::Valid => None,
        };
        let byte = std::slice::from_ref(byte);
        next(&mut whole, &limits, byte, got.clone(), text);
        let opcode = if index == 0 { TEXT } else { CONTINUATION };
        let first = if is_last { FIN | opcode } else { opcode };
        let frame = [first, 1, byte[0]];
        next(&mut fragmented, &limits, &frame, got, text);
    }
}

/// Asserts what comes of the next bytes: nothing yet, the text as a message, or a violation.
fn next(
    decoder: &mut Decoder,
    limits: &Limits,
    mut bytes: &[u8],
    expected: Option<Result<(), ProtocolError>>,
    text: &[u8],
) {
    let item = Item::Message {
        kind: Kind::Text,
        payload: text.into(),
    };
    let expected = expected.map(|result| result.map(|()| item)).transpose();
    assert_eq!(decoder.next(limits, &mut bytes), expected, "{text:02x?}");
}

/// Checks every text of `LEN` bytes that begins with `lead`, cut in every way.
fn check_all<const LEN: usize>(lead: u8) {
    for rest in 0..1_u32 << (8 * (LEN - 1)) {
        let mut text = [lead; LEN];
        text[1..].copy_from_slice(&rest.to_be_bytes()[5 - LEN..]);
        let expected = by_std(&text);
        for cuts in 0..1 << (LEN - 1) {
            check_pieces(&text, cuts, expected);
        }
        check_message(&text, expected);
    }
}

#[test]
fn every_text_of_one_and_two_bytes_is_judged_and_cut_off_as_std_does_it() {
    for lead in 0..=u8::MAX {
        check_all::<1>(lead);
        check_all::<2>(lead);
    }
}

#[test]
fn texts_of_three_and_four_bytes_are_judged_as_std_does_it_at_every_edge() {
    // The bytes at which any rule of the table in RFC 3629 §4 changes, each with its neighbours.
    const EDGES: [u8; 29] = [
        0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xc2,
        0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff,
    ];
    for lead in 0xe0..=0xff {
        for second in EDGES {
            for third in EDGES {
                let text = [lead, second, third];
                check_message(&text, by_std(&text));
                for fourth in [0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff] {
                    let text = [lead, second, third, fourth];
                    let expected = by_std(&text);
                    for cuts in 0..8 {
                        check_pieces(&text, cuts, expected);
                    }
                    check_message(&text, expected);
                }
            }
        }
    }
}

#[test]
fn every_text_of_three_bytes_that_begins_a_character_of_three_is_judged_as_std_does_it() {
    for lead in 0xe0..=0xef {
        for rest in 0..=u16::MAX {
            let [second, third] = rest.to_be_bytes();
            let text = [lead, second, third];
            let expected = by_std(&text);
            for cuts in 0..4 {
                check_pieces(&text, cuts, expected);
            }
        }
    }
}

#[test]
#[ignore = "2^24 texts: `.ci/run` plays them in release"]
fn every_text_of_three_bytes_is_judged_as_std_does_it() {
    for lead in 0..=u8::MAX {
        check_all::<3>(lead);
    }
}

#[test]
#[ignore = "2^25 texts: `.ci/run` plays them in release"]
fn every_text_of_four_bytes_that_begins_with_f0_or_f1_is_judged_as_std_does_it() {
    check_all::<4>(0xf0);
    check_all::<4>(0xf1);
}

#[test]
#[ignore = "3 * 2^24 texts: `.ci/run` plays them in release"]
fn every_text_of_four_bytes_that_begins_with_f2_to_f4_is_judged_as_std_does_it() {
    check_all::<4>(0xf2);
    check_all::<4>(0xf3);
    check_all::<4>(0xf4);
}
