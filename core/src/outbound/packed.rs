//! Short messages in one piece of memory, so that very many cost neither an allocation nor a place in the queue each.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::{Kind, Message, MessageId};
use crate::time::Instant;

/// What a message has at most to be packed: to copy a longer one costs more than to keep it.
const SHORT: usize = 2 << 10;
/// What a pack holds at most. It is freed as a whole, when its last message has left.
const PACK_BYTES: usize = 64 << 10;

/// Messages in one piece of memory, in their order: short ones without any options, whose outcomes nobody asks for.
///
/// [`ConnectionSet::send_packed`](crate::ConnectionSet::send_packed) sends them.
#[derive(Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

/// A message's kind and length.
#[derive(Clone, Copy, Debug)]
struct Piece(u16);

impl Piece {
    const BINARY: u16 = 1 << 15;

    #[inline]
    fn new(kind: Kind, len: usize) -> Option<Self> {
        if len > SHORT {
            return None;
        }
        let kind = match kind {
            Kind::Text => 0,
            Kind::Binary => Self::BINARY,
        };
        Some(Self(u16::try_from(len).ok()? | kind))
    }

    #[inline]
    fn kind(self) -> Kind {
        if self.0 & Self::BINARY == 0 {
            Kind::Text
        } else {
            Kind::Binary
        }
    }

    #[inline]
    fn len(self) -> usize {
        usize::from(self.0 & !Self::BINARY)
    }
}

impl Packed {
    /// An empty pack with memory for all that it can hold: for what is known to be many messages.
    pub fn for_many() -> Self {
        Self {
            bytes: Vec::with_capacity(PACK_BYTES),
            pieces: Vec::new(),
        }
    }

    /// An empty pack with memory for so many messages and bytes, or for what a pack can hold.
    pub fn with_capacity(messages: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes.min(PACK_BYTES)),
            pieces: Vec::with_capacity(messages),
        }
    }

    /// Whether a message can be in a pack: it has no options and is short, of 2 KiB at most.
    #[inline]
    pub fn can_hold(message: &Message) -> bool {
        message.len() <= SHORT && message.is_plain()
    }

    /// Copies a message behind the others.
    ///
    /// # Errors
    /// The message: a pack [cannot hold](Self::can_hold) it, or this one, with 64 KiB, is full.
    #[inline]
    pub fn push(&mut self, message: Message) -> Result<(), Message> {
        if message.is_plain() && self.push_bytes(message.kind(), message.as_bytes()) {
            Ok(())
        } else {
            Err(message)
        }
    }

    /// Copies a text behind the others, or binary data; whether there was room. A pack holds 64 KiB, and nothing of more than 2 KiB.
    #[inline]
    pub fn push_bytes(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let Some(piece) = Piece::new(kind, payload.len()) else {
            return false;
        };
        let is_room = self.bytes.len() + payload.len() <= PACK_BYTES;
        if is_room {
            if payload.len() > self.bytes.capacity() - self.bytes.len() {
                self.grow(payload.len());
            }
            self.bytes.extend_from_slice(payload);
            self.pieces.push(piece);
        }
        is_room
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The payloads' bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The messages by themselves. Copies the payloads.
    pub fn messages(&self) -> impl Iterator<Item = Message> + '_ {
        self.payloads(0, 0).map(to_message)
    }

    fn payloads(&self, piece: usize, byte: usize) -> impl Iterator<Item = (Kind, &[u8])> {
        let mut rest = self.bytes.get(byte..).unwrap_or_default();
        let pieces = self.pieces.get(piece..).unwrap_or_default();
        pieces.iter().map_while(move |piece| {
            let (payload, behind) = rest.split_at_checked(piece.len())?;
            rest = behind;
            Some((piece.kind(), payload))
        })
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let spare = PACK_BYTES - self.bytes.len();
        let more = (3 * self.bytes.len()).min(spare).max(bytes);
        self.bytes.reserve_exact(more);
        self.pieces.reserve(3 * self.pieces.len());
    }

    /// Gives back what there is room for and nothing will come to.
    fn fit(&mut self) {
        if self.bytes.capacity() / 2 >= self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        if self.pieces.capacity() / 2 >= self.pieces.len() {
            self.pieces.shrink_to_fit();
        }
    }

    fn held(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }
}

fn to_message((kind, payload): (Kind, &[u8])) -> Message {
    Message::new(kind, Bytes::copy_from_slice(payload))
}

/// Packs that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Packs {
    packs: VecDeque<Pack>,
    len: usize,
    bytes: usize,
    /// What they take in memory.
    held: usize,
}

#[derive(Debug)]
struct Pack {
    packed: Packed,
    /// The number of the first message, gone or not.
    first: u64,
    accepted_at: Instant,
    /// How many messages are gone, and how many bytes with them.
    gone: usize,
    gone_bytes: usize,
}

impl Pack {
    /// The first messages that are left, `count` if there are so many: how many, and their bytes.
    #[inline]
    fn first_of(&self, count: usize) -> (usize, usize) {
        if count == 0 {
            return (0, 0);
        }
        let rest = self.packed.pieces.get(self.gone..).unwrap_or_default();
        match rest.get(..count) {
            Some(first) => (count, first.iter().map(|piece| piece.len()).sum()),
            None => (rest.len(), self.packed.bytes.len() - self.gone_bytes),
        }
    }
}

impl Packs {
    /// Adds messages of which the first has this number.
    pub(super) fn push(&mut self, now: Instant, first: MessageId, mut packed: Packed) {
        packed.fit();
        self.len += packed.len();
        self.bytes += packed.bytes();
        self.held += packed.held() + size_of::<Pack>();
        self.packs.push_back(Pack {
            packed,
            first: first.0,
            accepted_at: now,
            gone: 0,
            gone_bytes: 0,
        });
    }

    /// How many messages there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What they take in memory beside the payloads that wait.
    pub(super) fn overhead(&self) -> usize {
        self.held - self.bytes
    }

    /// When the first message was accepted.
    pub(super) fn accepted_at(&self) -> Option<Instant> {
        Some(self.packs.front()?.accepted_at)
    }

    /// The payloads behind the first `skipped`, in their order.
    #[inline]
    pub(super) fn payloads(&self, mut skipped: usize) -> impl Iterator<Item = (Kind, &[u8])> {
        self.packs.iter().flat_map(move |pack| {
            let (here, here_bytes) = pack.first_of(skipped);
            skipped -= here;
            let (piece, byte) = (pack.gone + here, pack.gone_bytes + here_bytes);
            pack.packed.payloads(piece, byte)
        })
    }

    /// Takes out the first `count` messages; returns how many there were, and their bytes.
    pub(super) fn leave(&mut self, count: usize) -> (usize, usize) {
        let (mut items, mut bytes) = (0, 0);
        while items < count
            && let Some(pack) = self.packs.front_mut()
        {
            let (leaving, leaving_bytes) = pack.first_of(count - items);
            items += leaving;
            bytes += leaving_bytes;
            pack.gone += leaving;
            pack.gone_bytes += leaving_bytes;
            if pack.gone == pack.packed.len() {
                self.held -= pack.packed.held() + size_of::<Pack>();
                self.packs.pop_front();
            }
        }
        self.len -= items;
        self.bytes -= bytes;
        (items, bytes)
    }

    /// The messages by themselves, with their numbers and when they were accepted.
    pub(super) fn into_messages(self) -> impl Iterator<Item = (MessageId, Instant, Message)> {
        self.packs.into_iter().flat_map(|pack| {
            let messages: Vec<_> = pack
                .packed
                .payloads(pack.gone, pack.gone_bytes)
                .map(to_message)
                .collect();
            let first = pack.first + pack.gone as u64;
            let numbered = (first..).map(MessageId).zip(messages);
            numbered.map(move |(id, message)| (id, pack.accepted_at, message))
        })
    }
}
