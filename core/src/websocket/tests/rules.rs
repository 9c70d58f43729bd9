//! Each rule that a server can break, and the code that answers it.

use super::*;
use crate::websocket::CloseCode;

#[test]
fn each_violation_is_answered_with_its_close_code() {
    use ProtocolError as E;
    let table = [
        (E::ReservedBits, 1002),
        (E::ReservedOpcode(3), 1002),
        (E::MaskedFrame, 1002),
        (E::FragmentedControl, 1002),
        (E::OversizedControl(126), 1002),
        (E::UnexpectedContinuation, 1002),
        (E::ExpectedContinuation, 1002),
        (E::NonMinimalLength, 1002),
        (E::LengthOutOfRange, 1002),
        (E::FrameTooBig { bytes: 2, max: 1 }, 1009),
        (E::MessageTooBig { bytes: 2, max: 1 }, 1009),
        (E::TooManyFragments { max: 1 }, 1008),
        (E::InvalidUtf8, 1007),
        (E::InvalidClosePayload, 1002),
        (E::InvalidCloseCode(1005), 1002),
        (E::InvalidCloseReason, 1007),
    ];
    for (error, code) in table {
        assert_eq!(error.close_code(), CloseCode::from_u16(code), "{error}");
        assert!(error.close_code().may_be_sent());
    }
}

#[test]
fn a_violation_ends_the_stream_behind_the_messages_before_it() {
    for bits in 1..8 {
        let first = FIN | bits << 4 | TEXT;
        check_violation(&frame(first, b"x"), ProtocolError::ReservedBits);
        let continued = [frame(TEXT, b"x"), frame(FIN | bits << 4, b"x")].concat();
        check_violation(&continued, ProtocolError::ReservedBits);
        check_violation(
            &frame(FIN | bits << 4 | PING, b"x"),
            ProtocolError::ReservedBits,
        );
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check_violation(
            &frame(FIN | opcode, b"x"),
            ProtocolError::ReservedOpcode(opcode),
        );
    }
    let masked = [FIN | TEXT, 0x81, 0, 0, 0, 0, b'x'];
    check_violation(&masked, ProtocolError::MaskedFrame);
    check_violation(
        &frame(FIN | CONTINUATION, b"x"),
        ProtocolError::UnexpectedContinuation,
    );
    check_violation(
        &[frame(BINARY, b""), frame(FIN | BINARY, b"")].concat(),
        ProtocolError::ExpectedContinuation,
    );
    check_violation(&frame(PING, b""), ProtocolError::FragmentedControl);
    check_violation(
        &frame(FIN | PONG, &[0; 126]),
        ProtocolError::OversizedControl(126),
    );
    check_violation(&frame(FIN | TEXT, b"\xc0\x80"), ProtocolError::InvalidUtf8);
    check_violation(
        &frame(FIN | TEXT, "€".as_bytes().split_last().unwrap().1),
        ProtocolError::InvalidUtf8,
    );
    check_violation(
        &frame(FIN | CLOSE, &[3]),
        ProtocolError::InvalidClosePayload,
    );
    check_violation(
        &frame(FIN | CLOSE, b"\x03\xe8\xc3"),
        ProtocolError::InvalidCloseReason,
    );
}

#[test]
fn every_close_code_is_taken_or_refused_by_the_registry() {
    let limits = Limits::default();
    for number in 0..=u16::MAX {
        let code = CloseCode::from_u16(number);
        let expected = if code.may_be_received() {
            Got::Close(Some(CloseFrame::new(code, "")))
        } else {
            Got::Failed(ProtocolError::InvalidCloseCode(number))
        };
        let stream = frame(FIN | CLOSE, &number.to_be_bytes());
        assert_eq!(decode(&limits, [&stream[..]]), [expected]);
    }
}

#[test]
fn a_close_frame_ends_the_stream_even_inside_a_message() {
    let stream = [
        frame(TEXT, b"never fin"),
        frame(FIN | CLOSE, b"\x03\xe9bye"),
        frame(FIN | CONTINUATION, b"ished"),
        vec![0xff; 40],
    ];
    let close = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
    check(&stream.concat(), &[Got::Close(Some(close))]);
}

#[test]
fn a_control_frame_of_125_bytes_is_taken_and_one_of_126_is_not() {
    check(&frame(FIN | PING, &[7; 125]), &[Got::Ping(vec![7; 125])]);
    check_violation(
        &frame(FIN | PING, &[7; 126]),
        ProtocolError::OversizedControl(126),
    );
    let reason = "r".repeat(123);
    let payload = [b"\x03\xe8", reason.as_bytes()].concat();
    let close = CloseFrame::new(CloseCode::NORMAL, &reason);
    check(&frame(FIN | CLOSE, &payload), &[Got::Close(Some(close))]);
}

#[test]
fn invalid_text_is_refused_at_its_first_offending_byte_inside_a_partly_received_frame() {
    // "κόσμε", then a code point beyond the last, then text that never arrives: the third byte of
    // f4 90 80 80 is not needed to know.
    let bad = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90";
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    assert_eq!(feed(&mut decoder, &limits, &[FIN | TEXT, 100]), []);
    let (last, good) = bad.split_last().unwrap();
    assert_eq!(feed(&mut decoder, &limits, good), []);
    let failed = [Got::Failed(ProtocolError::InvalidUtf8)];
    assert_eq!(feed(&mut decoder, &limits, &[*last]), failed);

    let mut decoder = Decoder::new();
    let start = [frame(TEXT, good), vec![CONTINUATION, 100]].concat();
    assert_eq!(feed(&mut decoder, &limits, &start), []);
    assert_eq!(feed(&mut decoder, &limits, &[*last]), failed);
}

#[test]
fn text_that_is_odd_but_valid_is_delivered_unchanged() {
    for odd in [
        "\0",
        "\u{feff}",
        "\u{fffe}\u{ffff}",
        "\u{10ffff}",
        "\u{d7ff}\u{e000}",
        "\r\n",
    ] {
        check(&frame(FIN | TEXT, odd.as_bytes()), &[text(odd)]);
    }
}

#[test]
fn limits_are_inclusive_and_decided_by_the_header() {
    let limits = Limits {
        message_bytes_max: 10,
        frame_bytes_max: 6,
        fragments_max: 3,
    };
    let frame_too_big = ProtocolError::FrameTooBig { bytes: 7, max: 6 };
    let message_too_big = ProtocolError::MessageTooBig { bytes: 11, max: 10 };
    let too_many = ProtocolError::TooManyFragments { max: 3 };
    let whole = frame(FIN | BINARY, b"123456");
    let joined = [frame(BINARY, b"123456"), frame(FIN | CONTINUATION, b"7890")].concat();
    let empties = [[BINARY, 0], [CONTINUATION, 0], [FIN | CONTINUATION, 0]].concat();
    let table: [(&[u8], Got); 6] = [
        (&whole, binary(b"123456")),
        (&joined, binary(b"1234567890")),
        (&empties, binary(b"")),
        // Of what is refused only the header arrives.
        (&[FIN | BINARY, 7], Got::Failed(frame_too_big)),
        (
            &[BINARY, 6, 1, 2, 3, 4, 5, 6, CONTINUATION, 5],
            Got::Failed(message_too_big),
        ),
        (
            &[
                BINARY,
                0,
                CONTINUATION,
                0,
                CONTINUATION,
                0,
                CONTINUATION,
                126,
            ],
            Got::Failed(too_many),
        ),
    ];
    for (stream, expected) in table {
        let expected = [expected];
        assert_eq!(decode(&limits, [stream]), expected);
        assert_eq!(decode(&limits, stream.chunks(1)), expected);
    }
    // Control frames are no part of a message and have their own limit.
    let ping = frame(FIN | PING, &[0; 100]);
    assert_eq!(decode(&limits, [&ping[..]]), [Got::Ping(vec![0; 100])]);
}
