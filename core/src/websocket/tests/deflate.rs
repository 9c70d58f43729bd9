//! Compressed messages, as a server that knows RFC 7692 sends and receives them.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::peer::{Receiver, Sender};
use super::*;
use crate::websocket::deflate::{
    Agreement, Context, Deflator, INFLATOR_BYTES, Inflator, WhenIdle, WindowBits,
};

pub(super) const RSV1: u8 = 0x40;
const KIB: usize = 1024;

pub(super) const AGREED: Agreement = Agreement {
    server_context: Context::TakenOver,
    client_context: Context::TakenOver,
    server_window: WindowBits::MAX,
    client_window: WindowBits::MAX,
};
pub(super) const FORGETFUL: Agreement = Agreement {
    server_context: Context::PerMessage,
    client_context: Context::PerMessage,
    ..AGREED
};

pub(super) fn inflating(agreement: &Agreement) -> Decoder {
    Decoder::inflating(Inflator::new(agreement, None, WhenIdle::Keep))
}

pub(super) fn decode_with<'a>(
    mut decoder: Decoder,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Got> {
    pieces
        .into_iter()
        .flat_map(|piece| feed(&mut decoder, limits, piece))
        .collect()
}

/// What a stream decodes to: the same whole, byte by byte, and cut in two anywhere.
#[track_caller]
fn decoded(decoder: impl Fn() -> Decoder, limits: &Limits, stream: &[u8]) -> Vec<Got> {
    let whole = decode_with(decoder(), limits, [stream]);
    assert_eq!(decode_with(decoder(), limits, stream.chunks(1)), whole);
    if stream.len() <= 600 {
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            assert_eq!(
                decode_with(decoder(), limits, [front, back]),
                whole,
                "{cut}"
            );
        }
    }
    whole
}

#[track_caller]
pub(super) fn check_stream(agreement: &Agreement, stream: &[u8], expected: &[Got]) {
    let got = decoded(|| inflating(agreement), &Limits::default(), stream);
    assert_eq!(got, expected);
}

/// Something with repetitions near and far, that is no constant.
fn sample(len: usize, seed: usize) -> Vec<u8> {
    let words = [
        "price", "\"bid\":", "{", "}", "größe", "42.5", ",", "0000", "\n",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut out = Vec::new();
    while out.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        out.extend(words[(state >> 33) % words.len()].as_bytes());
    }
    out.truncate(len);
    out
}

pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_u32;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(step).collect()
}

#[test]
fn the_examples_of_rfc_7692_7_2_3_are_decoded() {
    let compressed = |payload: &[u8]| frame(FIN | RSV1 | TEXT, payload);
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    check_stream(&AGREED, &compressed(&hello), &[text("Hello")]);
    let fragments = [
        frame(RSV1 | TEXT, &hello[..3]),
        frame(FIN | CONTINUATION, &hello[3..]),
    ];
    check_stream(&AGREED, &fragments.concat(), &[text("Hello")]);
    let twice = [compressed(&hello), compressed(&[0xf2, 0, 0x11, 0, 0])].concat();
    check_stream(&AGREED, &twice, &[text("Hello"), text("Hello")]);
    for (name, payload) in [
        ("stored", &b"\x00\x05\x00\xfa\xffHello\x00"[..]),
        ("last block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        (
            "two blocks",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ),
    ] {
        let stream = [compressed(payload), compressed(payload)].concat();
        let got = decoded(|| inflating(&AGREED), &Limits::default(), &stream);
        assert_eq!(got, [text("Hello"), text("Hello")], "{name}");
    }
    check_stream(&AGREED, &compressed(&[0]), &[text("")]);
}

#[test]
fn what_a_server_compresses_arrives_with_every_window_and_either_context() {
    for window in 8..=15 {
        for agreement in [AGREED, FORGETFUL] {
            let agreement = Agreement {
                server_window: WindowBits::new(window).unwrap(),
                ..agreement
            };
            let mut sender = Sender::new(window);
            if agreement.server_context == Context::PerMessage {
                sender = sender.forgetful();
            }
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (seed, len) in [0, 1, 5, 300, 70_000, 0, 3, 40_000].into_iter().enumerate() {
                let message = sample(len, seed % 2);
                stream.extend(frame(FIN | RSV1 | BINARY, &sender.compress(&message)));
                expected.push(binary(&message));
                // Uncompressed messages may come between, and are in no window.
                stream.extend(frame(FIN | TEXT, b"plain"));
                expected.push(text("plain"));
            }
            check_stream(&agreement, &stream, &expected);
        }
    }
}

#[test]
fn a_compressed_message_may_be_cut_into_frames_anywhere_rfc_7692_6_2() {
    let message = sample(400, 3);
    for agreement in [AGREED, FORGETFUL] {
        for cut in 0..34 {
            let mut sender = Sender::new(15);
            let payload = sender.compress(&message);
            let cut = cut * payload.len() / 33;
            let stream = [
                frame(RSV1 | BINARY, &payload[..cut]),
                frame(FIN | PING, b"between"),
                frame(CONTINUATION, &[]),
                frame(FIN | CONTINUATION, &payload[cut..]),
            ];
            let expected = [Got::Ping(b"between".to_vec()), binary(&message)];
            check_stream(&agreement, &stream.concat(), &expected);
        }
    }
}

#[test]
fn rsv1_means_something_only_where_it_was_agreed_and_a_message_starts_rfc_7692_6() {
    let before = frame(FIN | TEXT, b"before");
    let refused = |stream: &[u8], decoder: fn() -> Decoder| {
        let stream = [&before, stream, &before].concat();
        let got = decoded(decoder, &Limits::default(), &stream);
        assert_eq!(
            got,
            [text("before"), Got::Failed(ProtocolError::ReservedBits)]
        );
    };
    let agreed = || inflating(&AGREED);
    for opcode in [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG] {
        for reserved in 1..8_u8 {
            let first = FIN | reserved << 4 | opcode;
            refused(&frame(first, &[0]), Decoder::new);
            let is_allowed = reserved == 4 && matches!(opcode, TEXT | BINARY);
            if !is_allowed {
                refused(&frame(first, &[0]), agreed);
            }
        }
    }
    // On a continuation, of a message that is compressed as of one that is not.
    for first in [RSV1 | TEXT, TEXT] {
        let stream = [frame(first, &[]), frame(FIN | RSV1 | CONTINUATION, &[0])].concat();
        refused(&stream, agreed);
    }
}

#[test]
fn invalid_text_is_refused_at_its_first_byte_though_the_message_goes_on() {
    let mut bad = sample(5_000, 1);
    bad.truncate(4_000);
    bad.extend(b"\xe2\x28");
    let good_part = bad.len() - 1;
    bad.extend(sample(50_000, 2));
    let payload = Sender::new(15).compress(&bad);
    // Without its end, and in one frame: what has arrived is enough to know.
    let mut arrived = frame(FIN | RSV1 | TEXT, &payload);
    arrived.truncate(arrived.len() - 1_000);
    check_stream(
        &AGREED,
        &arrived,
        &[Got::Failed(ProtocolError::InvalidUtf8)],
    );

    let payload = Sender::new(15).compress(&bad[..good_part]);
    let stream = frame(FIN | RSV1 | TEXT, &payload);
    check_stream(&AGREED, &stream, &[Got::Failed(ProtocolError::InvalidUtf8)]);
    check_stream(
        &AGREED,
        &frame(FIN | RSV1 | BINARY, &payload),
        &[binary(&bad[..good_part])],
    );
}

#[test]
fn what_does_not_end_where_a_message_may_is_refused() {
    let invalid = [Got::Failed(ProtocolError::InvalidDeflate)];
    for message in [sample(40, 1), sample(3_000, 2), noise(200), vec![7; 5_000]] {
        let payload = Sender::new(15).compress(&message);
        for end in 0..payload.len() {
            if payload[..end] == [0] {
                // That is how an empty message ends.
                continue;
            }
            let stream = frame(FIN | RSV1 | BINARY, &payload[..end]);
            let got = decode_with(inflating(&AGREED), &Limits::default(), [&stream[..]]);
            assert_eq!(got, invalid, "{end} of {}", payload.len());
        }
        // The tail was to be left out (RFC 7692 §7.2.1); what is left of it is no block.
        for tail in 1..4 {
            let payload = [&payload[..], &[0, 0, 0xff, 0xff][..tail]].concat();
            let stream = frame(FIN | RSV1 | BINARY, &payload);
            check_stream(&AGREED, &stream, &invalid);
        }
    }
    for payload in [
        &b"\x07"[..],                     // a block of the reserved type
        b"\x00\x05\x00\xfb\xffHello\x00", // a length that contradicts itself
        b"\xf2\x48\x05",                  // cut
        b"\x03\x00",                      // a last block, and nothing that may end a message
        b"",
    ] {
        check_stream(&AGREED, &frame(FIN | RSV1 | BINARY, payload), &invalid);
    }
}

#[test]
fn a_reference_to_what_was_not_there_is_refused() {
    let mut sender = Sender::new(15);
    let first = sender.compress(&sample(500, 1));
    let second = sender.compress(&sample(500, 1));
    let stream = [
        frame(FIN | RSV1 | BINARY, &first),
        frame(FIN | RSV1 | BINARY, &second),
    ]
    .concat();
    let message = binary(&sample(500, 1));
    check_stream(&AGREED, &stream, &[message.clone(), message.clone()]);
    let error = Got::Failed(ProtocolError::InvalidDeflate);
    check_stream(&FORGETFUL, &stream, &[message, error.clone()]);
    check_stream(&AGREED, &frame(FIN | RSV1 | BINARY, &second), &[error]);
}

/// One MiB that becomes one GiB.
fn bomb() -> Vec<u8> {
    let mebibyte = Sender::new(15).compress(&vec![0; KIB * KIB]);
    let block = [&mebibyte[..], &[0, 0, 0xff, 0xff]].concat();
    block.repeat(KIB)
}

#[test]
fn a_bomb_is_refused_at_the_limit_and_not_inflated_beyond() {
    let stream = frame(FIN | RSV1 | BINARY, &bomb());
    assert!((KIB * KIB..2 * KIB * KIB).contains(&stream.len()));
    for max in [1, 100, 64 * KIB, 300_000] {
        let limits = Limits {
            message_bytes_max: stream.len().max(max),
            ..Limits::default()
        };
        for piece in [stream.len(), 700] {
            let mut decoder = inflating(&AGREED);
            let mut most = 0;
            let mut got = Vec::new();
            for piece in stream.chunks(piece) {
                got.extend(feed(&mut decoder, &limits, piece));
                most = most.max(decoder.charged());
            }
            let bytes = limits.message_bytes_max as u64 + 1;
            let max = limits.message_bytes_max;
            let error = ProtocolError::MessageTooBig { bytes, max };
            assert_eq!(got, [Got::Failed(error)]);
            assert!(
                most <= max + INFLATOR_BYTES + FRAGMENT_OVERHEAD_BYTES,
                "{most}"
            );
        }
    }
}

#[test]
fn a_message_may_have_exactly_the_limit_however_it_is_cut() {
    for len in [1, 511, 512, 513, 4_096, 70_000] {
        let message = sample(len, 5);
        let payload = Sender::new(15).compress(&message);
        let stream = frame(FIN | RSV1 | BINARY, &payload);
        let with_limit = |max: usize| {
            let limits = Limits {
                message_bytes_max: max,
                ..Limits::default()
            };
            decoded(|| inflating(&AGREED), &limits, &stream)
        };
        let max = len.max(payload.len());
        assert_eq!(with_limit(max), [binary(&message)]);
        if payload.len() < len {
            let max = len - 1;
            let bytes = len as u64;
            let error = ProtocolError::MessageTooBig { bytes, max };
            assert_eq!(with_limit(max), [Got::Failed(error)]);
        }
    }
}

#[test]
fn the_compressed_size_is_limited_from_the_headers_alone() {
    let limits = Limits {
        message_bytes_max: 1_000,
        frame_bytes_max: 800,
        ..Limits::default()
    };
    let decoder = || inflating(&AGREED);
    let first = frame(RSV1 | BINARY, &Sender::new(15).compress(&noise(600)));
    let header = [FIN | CONTINUATION, 126, 2, 0];
    let stream = [&first[..], &header].concat();
    let bytes = (first.len() - 4 + 512) as u64;
    let error = ProtocolError::MessageTooBig { bytes, max: 1_000 };
    assert_eq!(decoded(decoder, &limits, &stream), [Got::Failed(error)]);
    let header = [FIN | RSV1 | BINARY, 126, 3, 0x21];
    let error = ProtocolError::FrameTooBig {
        bytes: 801,
        max: 800,
    };
    assert_eq!(decoded(decoder, &limits, &header), [Got::Failed(error)]);
}

#[test]
fn a_ratio_beyond_the_limit_is_refused_while_inflating() {
    let with_ratio = |max| {
        move || Decoder::inflating(Inflator::new(&AGREED, NonZeroU32::new(max), WhenIdle::Keep))
    };
    let limits = Limits::default();
    let message = vec![0; 500 * KIB];
    let payload = Sender::new(15).compress(&message);
    let ratio = u32::try_from(message.len() / payload.len()).unwrap();
    assert!((500..1_032).contains(&ratio), "{ratio}");
    let stream = frame(FIN | RSV1 | BINARY, &payload);
    let error = ProtocolError::RatioTooHigh { max: ratio - 1 };
    let got = decode_with(with_ratio(ratio - 1)(), &limits, [&stream[..]]);
    assert_eq!(got, [Got::Failed(error)]);
    let got = decode_with(with_ratio(ratio + 1)(), &limits, [&stream[..]]);
    assert_eq!(got, [binary(&message)]);
    // The verdict counts what is announced, so it does not depend on how the stream is cut.
    let got = decode_with(with_ratio(ratio + 1)(), &limits, stream.chunks(1));
    assert_eq!(got, [binary(&message)]);
    // Small messages are not judged.
    let small = frame(
        FIN | RSV1 | BINARY,
        &Sender::new(15).compress(&vec![0; 64 * KIB]),
    );
    let got = decoded(with_ratio(1), &limits, &small);
    assert_eq!(got, [binary(&vec![0; 64 * KIB])]);
    let more = frame(
        FIN | RSV1 | BINARY,
        &Sender::new(15).compress(&vec![0; 64 * KIB + 1]),
    );
    let error = ProtocolError::RatioTooHigh { max: 1 };
    assert_eq!(decoded(with_ratio(1), &limits, &more), [Got::Failed(error)]);
}

#[test]
fn inflators_state_exists_from_the_first_compressed_message_as_long_as_it_is_needed() {
    let limits = Limits::default();
    let compressed = frame(
        FIN | RSV1 | BINARY,
        &Sender::new(15).compress(b"hello hello hello"),
    );
    for (agreement, when_idle, kept) in [
        (AGREED, WhenIdle::Keep, INFLATOR_BYTES),
        (AGREED, WhenIdle::Free, INFLATOR_BYTES),
        (FORGETFUL, WhenIdle::Keep, INFLATOR_BYTES),
        (FORGETFUL, WhenIdle::Free, 0),
    ] {
        let mut decoder = Decoder::inflating(Inflator::new(&agreement, None, when_idle));
        feed(&mut decoder, &limits, &frame(FIN | BINARY, b"plain"));
        assert_eq!(decoder.charged(), 0);
        feed(&mut decoder, &limits, &compressed[..5]);
        assert!(decoder.charged() >= INFLATOR_BYTES);
        feed(&mut decoder, &limits, &compressed[5..]);
        assert_eq!(decoder.charged(), kept, "{agreement:?} {when_idle:?}");
        assert!(!decoder.is_partial());
        feed(&mut decoder, &limits, &frame(FIN | CLOSE, &[]));
        assert_eq!(decoder.charged(), 0);
    }
}

#[test]
fn what_is_compressed_here_arrives_with_every_window_and_either_context() {
    for window in 8..=15 {
        for agreement in [AGREED, FORGETFUL] {
            for level in [1, 6, 9] {
                let agreement = Agreement {
                    client_window: WindowBits::new(window).unwrap(),
                    ..agreement
                };
                let mut deflator = Deflator::new(&agreement, level, 10, WhenIdle::Keep);
                let mut receiver = match agreement.client_context {
                    Context::TakenOver => Receiver::default(),
                    Context::PerMessage => Receiver::forgetful(),
                };
                for len in [9, 10, 300, 300, 0, 70_000, 5_000] {
                    let message = sample(len, 1);
                    let Some(payload) = deflator.compress(&message) else {
                        // Ten bytes may get no shorter.
                        assert!(len <= 10 || window == 8, "{len} {window}");
                        continue;
                    };
                    assert!(len <= 10 || payload.len() < message.len());
                    assert_eq!(receiver.decompress(&payload), message);
                }
                assert!(receiver.farthest <= 1 << window, "{window}");
                // zlib does not reach back to the very end of a small window.
                assert!(
                    window == 8 || receiver.farthest > 1 << (window - 2),
                    "{window}"
                );
            }
        }
    }
}

#[test]
fn a_message_that_repeats_an_earlier_one_is_short_if_the_context_is_taken_over() {
    let message = sample(300, 1);
    let compressed = |agreement| {
        let mut deflator = Deflator::new(&agreement, 6, 0, WhenIdle::Keep);
        [(); 2].map(|()| deflator.compress(&message).unwrap().len())
    };
    let [first, second] = compressed(AGREED);
    assert!(second * 5 < first, "{first} {second}");
    let [first, second] = compressed(FORGETFUL);
    assert_eq!(first, second);
}

#[test]
fn what_does_not_get_shorter_goes_out_as_it_is_if_nothing_may_refer_to_it() {
    let message = noise(2_000);
    let mut deflator = Deflator::new(&FORGETFUL, 6, 0, WhenIdle::Keep);
    assert_eq!(deflator.compress(&message), None);
    let mut deflator = Deflator::new(&AGREED, 6, 0, WhenIdle::Keep);
    let payload = deflator.compress(&message).unwrap();
    assert_eq!(Receiver::default().decompress(&payload), message);
}

#[test]
fn what_is_appended_leaves_what_was_there_before() {
    for (agreement, message) in [
        (AGREED, sample(3_000, 1)),
        (AGREED, noise(70_000)),
        (FORGETFUL, sample(300, 1)),
        (FORGETFUL, noise(2_000)),
    ] {
        let deflator = || Deflator::new(&agreement, 6, 0, WhenIdle::Keep);
        let alone = deflator().compress(&message);
        let mut out = b"before".to_vec();
        let len = deflator().compress_to(&message, &mut out);
        assert_eq!(len, alone.as_ref().map(Vec::len));
        assert_eq!(out, [b"before", &alone.unwrap_or_default()[..]].concat());
    }
}

#[test]
fn the_threshold_is_inclusive_and_zero_compresses_even_nothing() {
    let mut deflator = Deflator::new(&AGREED, 6, 64, WhenIdle::Keep);
    assert_eq!(deflator.compress(&[b'x'; 63]), None);
    assert_eq!(deflator.charged(), 0);
    assert!(deflator.compress(&[b'x'; 64]).is_some());
    let mut deflator = Deflator::new(&AGREED, 6, 0, WhenIdle::Keep);
    let mut receiver = Receiver::default();
    for message in [&b""[..], b"", b"x", b"", b"x"] {
        let payload = deflator.compress(message).unwrap();
        assert_eq!(receiver.decompress(&payload), message);
    }
}

#[test]
fn a_compressor_may_forget_at_any_time_and_rests_if_wanted() {
    let mut receiver = Receiver::default();
    for when_idle in [WhenIdle::Keep, WhenIdle::Free] {
        let mut deflator = Deflator::new(&AGREED, 6, 0, when_idle);
        assert_eq!(deflator.charged(), 0);
        for round in 0..4 {
            let message = sample(500, round / 2);
            let payload = deflator.compress(&message).unwrap();
            assert_eq!(receiver.decompress(&payload), message);
            assert_eq!(deflator.charged(), Deflator::bytes(WindowBits::MAX));
            deflator.rest();
            assert_eq!(deflator.charged() > 0, when_idle == WhenIdle::Keep);
            if round == 1 {
                deflator.forget();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_messages_survive_both_ways(
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                (0..3_000_usize, 0..4_usize).prop_map(|(len, seed)| sample(len, seed)),
                (0..40_000_usize).prop_map(|len| vec![b'a'; len]),
            ],
            1..8,
        ),
        window in 9..=15_u8,
        is_forgetful: bool,
        level in 1..=9_u8,
        piece in 1..5_000_usize,
    ) {
        let base = if is_forgetful { FORGETFUL } else { AGREED };
        let window_bits = WindowBits::new(window).unwrap();
        let agreement = Agreement { server_window: window_bits, client_window: window_bits, ..base };
        let mut sender = Sender::new(window);
        let mut receiver = Receiver::default();
        if is_forgetful {
            sender = sender.forgetful();
            receiver = Receiver::forgetful();
        }
        let mut deflator = Deflator::new(&agreement, level, 0, WhenIdle::Free);
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend(frame(FIN | RSV1 | BINARY, &sender.compress(message)));
            if let Some(payload) = deflator.compress(message) {
                prop_assert_eq!(&receiver.decompress(&payload), message);
            }
        }
        prop_assert!(receiver.farthest <= 1 << window);
        let got = decode_with(inflating(&agreement), &Limits::default(), stream.chunks(piece));
        let expected: Vec<_> = messages.iter().map(|message| binary(message)).collect();
        prop_assert_eq!(got, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_damaged_stream_has_one_verdict_however_it_is_cut(
        len in 0..2_000_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        is_text: bool,
        ratio_max in prop::option::of(1..50_u32),
    ) {
        let first = FIN | RSV1 | if is_text { TEXT } else { BINARY };
        let mut sender = Sender::new(15);
        let mut payloads = [sender.compress(&sample(len, 1)), sender.compress(&sample(len, 2))];
        for (at, mask) in &damage {
            let at = at.index(payloads[0].len());
            payloads[0][at] ^= mask;
        }
        let stream = payloads.map(|payload| frame(first, &payload)).concat();
        let limits = Limits { message_bytes_max: 3_000, ..Limits::default() };
        let decoder = || {
            let ratio_max = ratio_max.and_then(NonZeroU32::new);
            Decoder::inflating(Inflator::new(&AGREED, ratio_max, WhenIdle::Keep))
        };
        let whole = decode_with(decoder(), &limits, [&stream[..]]);
        prop_assert_eq!(&decode_with(decoder(), &limits, stream.chunks(1)), &whole);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&stream[start..cut]);
            start = cut;
        }
        pieces.push(&stream[start..]);
        prop_assert_eq!(&decode_with(decoder(), &limits, pieces), &whole);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        piece in 1..50_usize,
    ) {
        let stream = [
            frame(FIN | RSV1 | TEXT, &payload),
            frame(FIN | RSV1 | BINARY, &payload),
        ].concat();
        decode_with(inflating(&AGREED), &Limits::default(), stream.chunks(piece));
    }
}
