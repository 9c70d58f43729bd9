//! Random streams of a server: valid, damaged and senseless, with limits and cuts.

use super::*;
use crate::seed::Jitter;

/// A stream, how it arrives, and what may be in it. One seed gives one case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) stream: Vec<u8>,
    pub(super) limits: Limits,
    /// The sizes of the pieces, in turn and over again.
    piece_sizes: Vec<usize>,
    /// How much the other reader reads at a time.
    pub(super) read_buffer_bytes: usize,
}

impl Case {
    /// Cuts a stream as this case's arrives.
    pub(super) fn cut<'a>(&'a self, stream: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = stream;
        let mut sizes = self.piece_sizes.iter().cycle();
        std::iter::from_fn(move || {
            let size = *sizes.next()?;
            let (piece, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

pub(super) fn random_case(seed: u64) -> Case {
    let mut dice = Dice(Jitter::from_state(seed));
    // Large payloads are worth a try in a hundred.
    let scale = if dice.one_in(100) {
        Scale::Large
    } else {
        Scale::Small
    };
    let stream = match dice.below(10) {
        0..=3 => dice.valid(scale),
        4..=6 => dice.damaged(scale),
        7..=8 => dice.of_any_frames(),
        _ => dice.senseless(),
    };
    let limits = dice.limits(scale);
    let size_max = if scale == Scale::Large { 40_000 } else { 60 };
    let piece_sizes = match dice.below(4) {
        0 => vec![usize::MAX],
        1 if scale == Scale::Small => vec![1],
        _ => (0..=dice.below(4))
            .map(|_| 1 + dice.below(size_max))
            .collect(),
    };
    let read_buffer_bytes = [16, 100, 4_096][dice.below(3)];
    Case {
        stream,
        limits,
        piece_sizes,
        read_buffer_bytes,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Small,
    Large,
}

struct Dice(Jitter);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        let drawn = self.0.next_u64() % end as u64;
        usize::try_from(drawn).expect("below a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u64().to_le_bytes()[0]
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn limits(&mut self, scale: Scale) -> Limits {
        let sizes: &[usize] = match scale {
            Scale::Small => &[0, 1, 20, 100, 124, 125, 126, 300, 1_000, 70_000],
            Scale::Large => &[1_000, 65_535, 65_536, 70_000, 200_000],
        };
        if self.one_in(2) {
            return Limits {
                message_bytes_max: 1 << 17,
                frame_bytes_max: 1 << 17,
                ..Limits::default()
            };
        }
        Limits {
            message_bytes_max: self.one_of(sizes),
            frame_bytes_max: self.one_of(sizes),
            fragments_max: self.one_of(&[1, 2, 3, 4_096]),
        }
    }

    /// A whole conversation that breaks no rule; at times its last frame is cut.
    fn valid(&mut self, scale: Scale) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(6) {
            match self.below(4) {
                0 => self.control(&mut out),
                _ => self.message(scale, &mut out),
            }
        }
        match self.below(4) {
            0 | 1 => {
                let close = self.close_payload();
                out.extend(frame(FIN | CLOSE, &close));
                // What nobody looks at.
                out.extend(frame(FIN | TEXT, b"behind"));
            }
            2 if !out.is_empty() => out.truncate(self.below(out.len())),
            _ => {}
        }
        out
    }

    fn damaged(&mut self, scale: Scale) -> Vec<u8> {
        let mut out = self.valid(scale);
        for _ in 0..=self.below(3) {
            // A header is near the front more often than not.
            let end = if self.one_in(2) {
                out.len().min(8)
            } else {
                out.len()
            };
            if end == 0 {
                return vec![self.byte()];
            }
            let at = self.below(end);
            match self.below(4) {
                0 => out[at] = self.byte(),
                1 => out[at] ^= 1 << self.below(8),
                2 => {
                    out.remove(at);
                }
                _ => out.insert(at, self.byte()),
            }
        }
        out
    }

    /// Frames each of which may be anything: opcodes, bits, forms of the length, close codes.
    fn of_any_frames(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..1 + self.below(5) {
            let opcode = match self.below(12) {
                0 => self.byte() & 0x0f,
                _ => self.one_of(&[CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]),
            };
            let fin = if self.one_in(4) { 0 } else { FIN };
            let reserved = if self.one_in(12) {
                self.byte() & 0x70
            } else {
                0
            };
            let masked = if self.one_in(20) { 0x80 } else { 0 };
            let payload = match opcode {
                CLOSE => self.any_close_payload(),
                TEXT | CONTINUATION => self.nearly_text(),
                _ => self.bytes(20),
            };
            let len = payload.len() as u64;
            let first = fin | reserved | opcode;
            match self.below(16) {
                0 => {
                    out.extend([first, masked | 126]);
                    out.extend(&len.to_be_bytes()[6..]);
                }
                1 => {
                    let out_of_range = if self.one_in(3) { 1 << 63 } else { 0 };
                    out.extend([first, masked | 127]);
                    out.extend((len | out_of_range).to_be_bytes());
                }
                2 => {
                    // Announced and never sent.
                    let announced = self.one_of(&[126, 200, 1_000, 65_535]);
                    let header = frame(first, &vec![b'a'; announced]);
                    out.extend(&header[..4]);
                    out[1] |= masked;
                    return out;
                }
                _ => {
                    let start = out.len();
                    out.extend(frame(first, &payload));
                    out[start + 1] |= masked;
                    continue;
                }
            }
            out.extend(payload);
        }
        out
    }

    fn senseless(&mut self) -> Vec<u8> {
        self.bytes(40)
    }

    /// A message in up to six frames, with control frames between them.
    fn message(&mut self, scale: Scale, out: &mut Vec<u8>) {
        let is_text = self.one_in(2);
        let payload = match scale {
            Scale::Small if is_text => self.text(40),
            Scale::Small => self.bytes(140),
            Scale::Large => {
                let len = self.one_of(&[125, 126, 127, 65_535, 65_536, 65_537, 30_000]);
                let len = len + self.below(3) - 1;
                vec![self.byte() & 0x7f; len]
            }
        };
        let mut ends: Vec<_> = match self.below(3) {
            0 => (0..self.below(6))
                .map(|_| self.below(payload.len() + 1))
                .collect(),
            _ => Vec::new(),
        };
        ends.sort_unstable();
        let mut opcode = if is_text { TEXT } else { BINARY };
        let mut start = 0;
        for end in ends {
            out.extend(frame(opcode, &payload[start..end]));
            if self.one_in(3) {
                self.control(out);
            }
            start = end;
            opcode = CONTINUATION;
        }
        out.extend(frame(FIN | opcode, &payload[start..]));
    }

    fn control(&mut self, out: &mut Vec<u8>) {
        let len = match self.below(6) {
            0 => 125,
            1 => 0,
            _ => self.below(30),
        };
        let payload = self.bytes(len + 1);
        let opcode = self.one_of(&[PING, PONG]);
        out.extend(frame(FIN | opcode, &payload[..payload.len().min(125)]));
    }

    fn close_payload(&mut self) -> Vec<u8> {
        let code: u16 = self.one_of(&[
            1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 4999,
        ]);
        if self.one_in(6) {
            return Vec::new();
        }
        let reason = self.text(20);
        [&code.to_be_bytes()[..], &reason].concat()
    }

    fn any_close_payload(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => self.close_payload(),
            1 => self.bytes(4),
            _ => {
                let code: u16 =
                    self.one_of(&[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535]);
                let reason = self.nearly_text();
                [&code.to_be_bytes()[..], &reason].concat()
            }
        }
    }

    /// Up to so many characters of one to four bytes.
    fn text(&mut self, chars_max: usize) -> Vec<u8> {
        let mut text = String::new();
        for _ in 0..self.below(chars_max + 1) {
            text.push(self.one_of(&[
                'a',
                '\0',
                'é',
                '€',
                '\u{d7ff}',
                '\u{ffff}',
                '𝄞',
                '\u{10ffff}',
            ]));
        }
        text.into_bytes()
    }

    /// A text, one in three times with a byte that spoils it.
    fn nearly_text(&mut self) -> Vec<u8> {
        let mut text = self.text(8);
        if !text.is_empty() && self.one_in(3) {
            let at = self.below(text.len());
            text[at] = self.byte();
        }
        text
    }

    fn bytes(&mut self, len_end: usize) -> Vec<u8> {
        (0..self.below(len_end)).map(|_| self.byte()).collect()
    }
}
