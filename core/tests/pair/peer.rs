//! The server's side of permessage-deflate (RFC 7692), for tests.
//!
//! It compresses with flate2 by itself, and decompresses with a small inflater of its own, which knows no
//! zlib, trusts nothing and checks how far back the client refers.

#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses its part")]

use flate2::{Compress, Compression, FlushCompress};

/// What a server sends.
pub struct Sender {
    state: Compress,
    forgets: bool,
}

impl Sender {
    pub fn new(window_bits: u8) -> Self {
        // flate2 knows no window of 8 bits; what a smaller input refers to is nearer anyway.
        let state = Compress::new_with_window_bits(Compression::new(6), false, window_bits.max(9));
        Self {
            state,
            forgets: false,
        }
    }

    /// Without context takeover.
    pub fn forgetful(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// The payload of a compressed message.
    pub fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            return vec![0];
        }
        let mut payload = vec![0; message.len() * 2 + 100];
        let before = self.state.total_out();
        self.state
            .compress(message, &mut payload, FlushCompress::Sync)
            .expect("a fresh compressor");
        let len = usize::try_from(self.state.total_out() - before).expect("small");
        assert!(len < payload.len(), "all of it fits");
        assert_eq!(&payload[len - 4..len], [0, 0, 0xff, 0xff]);
        payload.truncate(len - 4);
        if self.forgets {
            self.state.reset();
        }
        payload
    }
}

/// What a server receives.
#[derive(Default)]
pub struct Receiver {
    history: Vec<u8>,
    forgets: bool,
    /// The farthest that any message referred back.
    pub farthest: usize,
}

impl Receiver {
    /// Without context takeover.
    pub fn forgetful() -> Self {
        Self {
            forgets: true,
            ..Self::default()
        }
    }

    /// The message of a compressed payload.
    pub fn decompress(&mut self, payload: &[u8]) -> Vec<u8> {
        let data = [payload, &[0, 0, 0xff, 0xff]].concat();
        let start = self.history.len();
        let mut inflater = Inflater {
            bits: Bits { data: &data, at: 0 },
            out: &mut self.history,
            farthest: self.farthest,
        };
        while inflater.bits.at < data.len() * 8 {
            inflater.block();
        }
        self.farthest = inflater.farthest;
        let message = self.history[start..].to_vec();
        if self.forgets {
            self.history.clear();
        }
        message
    }
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, shift| {
            let bit = self.data[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << shift
        })
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A canonical Huffman code (RFC 1951 §3.2.2).
struct Code {
    /// How many symbols have a code of each length.
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        for &len in lengths {
            counts[len] += 1;
        }
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&s| lengths[s] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        Self { counts, symbols }
    }

    fn decode(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for len in 1..16 {
            code |= bits.take(1);
            if code < first + self.counts[len] {
                return self.symbols[index + code - first];
            }
            index += self.counts[len];
            first = (first + self.counts[len]) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }
}

struct Inflater<'a> {
    bits: Bits<'a>,
    out: &'a mut Vec<u8>,
    farthest: usize,
}

impl Inflater<'_> {
    fn block(&mut self) {
        let is_last = self.bits.take(1);
        assert_eq!(is_last, 0, "a client does not end its stream");
        match self.bits.take(2) {
            0 => {
                self.bits.align();
                let len = self.bits.take(16);
                assert_eq!(len ^ 0xffff, self.bits.take(16));
                let start = self.bits.at / 8;
                self.out.extend(&self.bits.data[start..start + len]);
                self.bits.at += len * 8;
            }
            1 => {
                let lengths: Vec<usize> = (0..288)
                    .map(|symbol| match symbol {
                        0..144 | 280..288 => 8 - usize::from((256..280).contains(&symbol)),
                        144..256 => 9,
                        _ => 7,
                    })
                    .collect();
                self.symbols(&Code::new(&lengths), &Code::new(&[5; 30]));
            }
            2 => self.dynamic(),
            _ => panic!("a reserved block type"),
        }
    }

    fn dynamic(&mut self) {
        const ORDER: [usize; 19] = [
            16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
        ];
        let literals = self.bits.take(5) + 257;
        let distances = self.bits.take(5) + 1;
        let mut code_lengths = [0; 19];
        for &symbol in &ORDER[..self.bits.take(4) + 4] {
            code_lengths[symbol] = self.bits.take(3);
        }
        let code = Code::new(&code_lengths);
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (value, repeats) = match code.decode(&mut self.bits) {
                16 => (lengths[lengths.len() - 1], 3 + self.bits.take(2)),
                17 => (0, 3 + self.bits.take(3)),
                18 => (0, 11 + self.bits.take(7)),
                len => (len, 1),
            };
            lengths.extend(std::iter::repeat_n(value, repeats));
        }
        let (literals, distances) = lengths.split_at(literals);
        self.symbols(&Code::new(literals), &Code::new(distances));
    }

    fn symbols(&mut self, literals: &Code, distances: &Code) {
        loop {
            let symbol = literals.decode(&mut self.bits);
            match symbol {
                0..256 => self.out.push(u8::try_from(symbol).expect("a byte")),
                256 => return,
                _ => {
                    let len = self.length(symbol - 257);
                    let distance = self.distance(distances);
                    self.farthest = self.farthest.max(distance);
                    let start = self.out.len() - distance;
                    for at in start..start + len {
                        self.out.push(self.out[at]);
                    }
                }
            }
        }
    }

    fn length(&mut self, symbol: usize) -> usize {
        match symbol {
            0..8 => symbol + 3,
            28 => 258,
            _ => {
                let extra = (symbol - 4) / 4;
                ((4 + symbol % 4) << extra) + 3 + self.bits.take(extra)
            }
        }
    }

    fn distance(&mut self, code: &Code) -> usize {
        let symbol = code.decode(&mut self.bits);
        if symbol < 4 {
            return symbol + 1;
        }
        let extra = (symbol - 2) / 2;
        ((2 + symbol % 2) << extra) + 1 + self.bits.take(extra)
    }
}
