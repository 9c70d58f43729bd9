//! Messages compressed ahead of being written.

use std::collections::VecDeque;

use crate::message::{Kind, Message};
use crate::outbound::{KEPT_BYTES, Outbound};
use crate::websocket::deflate::Deflator;
use crate::websocket::{encode_compressed_header, encode_header, frame_len};

/// How much is compressed before others have their turn.
const AHEAD_MAX: u32 = 64 * 1024;

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
    /// What their compressed payloads take.
    held_bytes: usize,
}

/// What a message goes out as.
#[derive(Debug)]
enum Form {
    AsItIs { len: usize },
    Compressed(Box<[u8]>),
}

impl Form {
    fn len(&self) -> usize {
        match self {
            Self::AsItIs { len } => *len,
            Self::Compressed(payload) => payload.len(),
        }
    }

    fn held(&self) -> usize {
        let payload = match self {
            Self::AsItIs { .. } => 0,
            Self::Compressed(payload) => payload.len(),
        };
        size_of::<Self>() + payload
    }
}

impl Compression {
    pub(super) fn new(deflator: Deflator) -> Self {
        Self {
            deflator,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            held_bytes: 0,
        }
    }

    /// Compresses the next messages of the queue until there are `bytes` to offer, or as many were compressed:
    /// others wait meanwhile, and what is there can be written before there is more.
    pub(super) fn go_ahead(&mut self, outbound: &Outbound, bytes: u32) {
        let bytes = u64::from(bytes.min(AHEAD_MAX));
        let mut compressed = 0;
        while self.ahead_bytes < bytes && compressed < bytes {
            let Some(queued) = outbound.get(self.ahead.len()) else {
                break;
            };
            let message = queued.message.as_bytes();
            compressed += message.len() as u64;
            let form = match self.deflator.compress(message) {
                Some(payload) => Form::Compressed(payload.into()),
                None => Form::AsItIs { len: message.len() },
            };
            self.ahead_bytes += frame_len(form.len());
            self.held_bytes += form.held();
            self.ahead.push_back(form);
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
        for form in self.ahead.drain(index..) {
            self.ahead_bytes -= frame_len(form.len());
            self.held_bytes -= form.held();
        }
        self.deflator.forget();
    }

    /// The first message is written.
    pub(super) fn first_left(&mut self) {
        let Some(form) = self.ahead.pop_front() else {
            return;
        };
        self.ahead_bytes -= frame_len(form.len());
        self.held_bytes -= form.held();
        if self.ahead.is_empty() && self.ahead.capacity() * size_of::<Form>() > KEPT_BYTES {
            self.ahead = VecDeque::new();
        }
    }

    /// Frees the compressor: memory is short.
    pub(super) fn forget(&mut self) {
        self.deflator.forget();
    }

    /// What the message at `index` of the queue goes out as; `None` if its turn to be compressed has not
    /// come.
    pub(super) fn payload<'a>(&'a self, index: usize, message: &'a Message) -> Option<Payload<'a>> {
        Some(match self.ahead.get(index)? {
            Form::AsItIs { .. } => Payload::plain(message),
            Form::Compressed(payload) => Payload {
                kind: message.kind(),
                bytes: payload,
                is: Is::Compressed,
            },
        })
    }

    pub(super) fn charged(&self) -> usize {
        self.deflator.charged() + self.held_bytes
    }
}

/// What a message's frame carries.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    kind: Kind,
    bytes: &'a [u8],
    is: Is,
}

#[derive(Clone, Copy)]
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
