//! DEFLATE blocks that no compressor here would make, written bit by bit (RFC 1951, RFC 7692 §7.2).

use super::deflate::{AGREED, FORGETFUL, RSV1, check_stream, decode_with, inflating, noise};
use super::peer::Sender;
use super::*;

/// Bits as DEFLATE packs them (RFC 1951 §3.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// A number, its least significant bit first.
    fn number(&mut self, value: u32, bits: u32) {
        for bit in 0..bits {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> bit & 1 == 1 {
                self.bytes[self.count / 8] |= 1 << (self.count % 8);
            }
            self.count += 1;
        }
    }

    /// A Huffman code, its most significant bit first.
    fn code(&mut self, code: u32, bits: u32) {
        self.number(code.reverse_bits() >> (32 - bits), bits);
    }
}

#[test]
fn a_reference_is_followed_as_far_as_32_kib_and_no_farther_rfc_7692_7_2_2() {
    let window = noise(32_768);
    // A stored block of the whole window, and what is left of the empty one behind it.
    let stored = [&[0, 0x00, 0x80, 0xff, 0x7f][..], &window, &[0]].concat();
    // The distance of code 29 is 24,577 and thirteen more bits.
    let reference = |distance: u32| {
        let mut bits = Bits::default();
        bits.number(0b010, 3); // not the last block; fixed codes
        bits.code(0b1100_0101, 8); // a length of 258
        bits.code(29, 5);
        bits.number(distance - 24_577, 13);
        bits.code(0, 7); // the end of the block
        bits.number(0, 3); // an empty stored block, whose padding and length follow
        bits.bytes
    };
    let first = frame(FIN | RSV1 | BINARY, &stored);
    for (distance, from) in [(32_768, 0), (32_767, 1), (24_577, 8_191)] {
        let second = frame(FIN | RSV1 | BINARY, &reference(distance));
        let got = decode_with(
            inflating(&AGREED),
            &Limits::default(),
            [&first[..], &second],
        );
        let expected = [binary(&window), binary(&window[from..from + 258])];
        assert_eq!(got, expected, "{distance}");
        // The window is empty for whoever forgets.
        let got = decode_with(
            inflating(&FORGETFUL),
            &Limits::default(),
            [&first[..], &second],
        );
        let error = Got::Failed(ProtocolError::InvalidDeflate);
        assert_eq!(got, [binary(&window), error], "{distance}");
    }
    // One byte less than it takes.
    let short = [&[0, 0xff, 0x7f, 0x00, 0x80][..], &window[1..], &[0]].concat();
    let stream = [
        frame(FIN | RSV1 | BINARY, &short),
        frame(FIN | RSV1 | BINARY, &reference(32_768)),
    ];
    let got = decode_with(
        inflating(&AGREED),
        &Limits::default(),
        [&stream.concat()[..]],
    );
    let error = Got::Failed(ProtocolError::InvalidDeflate);
    assert_eq!(got, [binary(&window[1..]), error]);
}

#[test]
fn the_data_of_a_compressed_text_need_not_be_utf_8_and_what_they_become_must_rfc_7692_6() {
    let payload = Sender::new(15).compress("grüße".as_bytes());
    assert!(std::str::from_utf8(&payload).is_err());
    check_stream(
        &AGREED,
        &frame(FIN | RSV1 | TEXT, &payload),
        &[text("grüße")],
    );
    // Data that are UTF-8 themselves, of a text that is none: a stored block of ff.
    let payload = b"\x00\x01\x00\xfe\xff\xff\x00";
    check_stream(
        &AGREED,
        &frame(FIN | RSV1 | TEXT, payload),
        &[Got::Failed(ProtocolError::InvalidUtf8)],
    );
}
