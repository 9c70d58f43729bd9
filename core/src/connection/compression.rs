//! Messages compressed ahead of being written.

use std::collections::VecDeque;

use crate::message::{Kind, Message};
use crate::outbound::{KEPT_BYTES, Outbound};
use crate::websocket::deflate::Deflator;
use crate::websocket::{encode_compressed_header, encode_header, frame_len};

/// How much is offered at most, compressed, before it is written: it is kept until it is.
const AHEAD_MAX: u32 = 64 * 1024;

/// How much is compressed before others have their turn, in bytes of what comes of it: that is what takes the time.
const WORK_MAX: usize = 16 * 1024;

/// So many bytes that vanish cost what one costs that does not.
const VANISHING: usize = 32;

/// The compressing half of a session.
///
/// A message is compressed once on each socket, in the order of the queue, because later ones may refer
/// to it. What came of it is kept until it is written, so that it can be offered as often as needed.
/// The queue keeps the message itself, for the next socket.
#[derive(Debug)]
pub(super) struct Compression {
    deflator: Deflator,
    /// What the first messages of the queue go out as.
    ahead: VecDeque<Form>,
    /// The size of their frames.
    ahead_bytes: u64,
    /// Their compressed payloads, behind `gone` bytes of messages that are written.
    payloads: Vec<u8>,
    gone: usize,
}

/// What a message goes out as, and how long that is.
#[derive(Clone, Copy, Debug)]
struct Form {
    len: usize,
    is: Is,
}

impl Form {
    /// What it has of the compressed payloads.
    fn held(self) -> usize {
        match self.is {
            Is::Plain => 0,
            Is::Compressed => self.len,
        }
    }
}

impl Compression {
    pub(super) fn new(deflator: Deflator) -> Self {
        Self {
            deflator,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            payloads: Vec::new(),
            gone: 0,
        }
    }

    /// Compresses the next messages of the queue until there are `bytes` to offer, or it was enough work:
    /// others wait meanwhile, and what is there can be written before there is more.
    pub(super) fn go_ahead(&mut self, outbound: &Outbound, bytes: u32) {
        let bytes = u64::from(bytes.min(AHEAD_MAX));
        if self.ahead_bytes < bytes && self.ahead.len() < outbound.len() {
            let mut work = 0;
            for (_, message) in outbound.payloads_from(self.ahead.len()) {
                let form = match self.deflator.compress_to(message, &mut self.payloads) {
                    Some(len) => Form {
                        len,
                        is: Is::Compressed,
                    },
                    None => Form {
                        len: message.len(),
                        is: Is::Plain,
                    },
                };
                self.ahead_bytes += frame_len(form.len);
                self.ahead.push_back(form);
                if self.deflator.takes(message.len()) {
                    work += form.len + message.len() / VANISHING;
                }
                if self.ahead_bytes >= bytes || work >= WORK_MAX {
                    break;
                }
            }
            if self.payloads.capacity() / 2 > self.payloads.len().max(KEPT_BYTES) {
                self.payloads.shrink_to_fit();
            }
        }
        if outbound.is_empty() {
            self.deflator.rest();
        }
    }

    /// The queue has changed from this place on. What was compressed from there on had been referred to, perhaps, by
    /// what follows it: the next is compressed by itself.
    pub(super) fn cut_from(&mut self, index: usize) {
        if index >= self.ahead.len() {
            return;
        }
        let mut cut = 0;
        for form in self.ahead.drain(index..) {
            self.ahead_bytes -= frame_len(form.len);
            cut += form.held();
        }
        self.payloads.truncate(self.payloads.len() - cut);
        self.tidy();
        self.deflator.forget();
    }

    /// The first messages are written.
    pub(super) fn first_left(&mut self, count: usize) {
        for form in self.ahead.drain(..count.min(self.ahead.len())) {
            self.ahead_bytes -= frame_len(form.len);
            self.gone += form.held();
        }
        self.tidy();
    }

    /// Gives back what nothing is in.
    fn tidy(&mut self) {
        if self.ahead.is_empty() {
            self.payloads = Vec::new();
            self.gone = 0;
            if self.ahead.capacity() * size_of::<Form>() > KEPT_BYTES {
                self.ahead = VecDeque::new();
            }
        } else if self.gone > KEPT_BYTES.max(self.payloads.len() / 2) {
            self.payloads.drain(..self.gone);
            self.gone = 0;
        }
    }

    /// Frees the compressor: memory is short.
    pub(super) fn forget(&mut self) {
        self.deflator.forget();
    }

    /// What the messages of the queue go out as, from this place on, as far as their turn to be compressed has come.
    pub(super) fn payloads<'a>(
        &'a self,
        outbound: &'a Outbound,
        index: usize,
    ) -> impl Iterator<Item = Payload<'a>> {
        let index = index.min(self.ahead.len());
        let skipped = self.ahead.range(..index).map(|form| form.held());
        let start = self.gone + skipped.sum::<usize>();
        let mut rest = self.payloads.get(start..).unwrap_or_default();
        let messages = outbound.payloads_from(index);
        messages
            .zip(self.ahead.range(index..))
            .map(move |((kind, plain), form)| match form.is {
                Is::Plain => Payload::of(kind, plain),
                Is::Compressed => {
                    let bytes;
                    (bytes, rest) = rest.split_at(form.len);
                    Payload {
                        kind,
                        bytes,
                        is: Is::Compressed,
                    }
                }
            })
    }

    pub(super) fn charged(&self) -> usize {
        let held = self.payloads.capacity() + self.ahead.len() * size_of::<Form>();
        self.deflator.charged() + held
    }
}

/// What a message's frame carries.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    kind: Kind,
    bytes: &'a [u8],
    is: Is,
}

#[derive(Clone, Copy, Debug)]
enum Is {
    Plain,
    Compressed,
}

impl<'a> Payload<'a> {
    #[inline]
    pub(super) fn plain(message: &'a Message) -> Self {
        Self::of(message.kind(), message.as_bytes())
    }

    /// Of a message that is not compressed.
    #[inline]
    pub(super) fn of(kind: Kind, bytes: &'a [u8]) -> Self {
        Self {
            kind,
            bytes,
            is: Is::Plain,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn encode_header(&self, out: &mut Vec<u8>, mask: [u8; 4]) {
        let len = self.bytes().len() as u64;
        match self.is {
            Is::Compressed => encode_compressed_header(out, self.kind, len, mask),
            Is::Plain => encode_header(out, self.kind.into(), len, mask),
        }
    }
}
