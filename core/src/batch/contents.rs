//! The memory of a batch: payloads, and where each of them is.

use std::ops::Range;
use std::slice;

use super::{MessageRef, Next, Pushed, Room};
use crate::message::Kind;
use crate::settings::BatchPolicy;
use crate::time::Instant;
use crate::websocket::Run;

/// The arena and the ends of the messages in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The messages one after the other, or what a read brought: then their headers are between them, and it may go on behind the last.
    arena: Vec<u8>,
    entries: Vec<Entry>,
    first_seq: u64,
    /// Where the first message, or its header, begins.
    begin: u32,
    /// Of the payloads.
    bytes: u32,
    /// What of the memory has no payload in it, where messages were not copied into it.
    unused: u32,
    /// Whether its memory was that of another batch before, and comes back after this one too.
    is_spare: bool,
}

/// What a read has brought.
pub(crate) struct Found {
    /// Of the first message.
    pub(crate) seq: u64,
    pub(crate) received_at: Instant,
    /// A message whose place is known.
    pub(crate) first: Option<(Kind, Range<usize>)>,
    /// Where others follow, behind the first if there is one.
    pub(crate) behind: Range<usize>,
    /// How many messages are noted at most.
    pub(crate) count_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    received_at: Instant,
    end: u32,
    /// The distance from `first_seq` in the low 29 bits, what lies before the payload in the next two, the kind in the top one.
    seq_and_kind: u32,
}

const BINARY: u32 = 1 << 31;
const HEADER_SHIFT: u32 = 29;
const DISTANCE: u32 = (1 << HEADER_SHIFT) - 1;

/// How many bytes of a header lie before a payload: none, or as many as a header without a mask has (RFC 6455 §5.2).
const HEADER_BYTES: [u8; 4] = [0, 2, 4, 10];

/// What a retained message costs beside its payload.
pub(crate) const MESSAGE_OVERHEAD: usize = size_of::<Entry>();

impl Contents {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    pub(crate) fn first_received_at(&self) -> Option<Instant> {
        self.entries.first().map(|entry| entry.received_at)
    }

    /// Whether a message of `len` bytes numbered `seq` can still be named by this arena's offsets.
    pub(crate) fn has_room_for(&self, len: usize, seq: u64) -> bool {
        let end = self.arena.len().saturating_add(len);
        let distance = if self.is_empty() {
            0
        } else {
            seq.saturating_sub(self.first_seq)
        };
        u32::try_from(end).is_ok() && distance <= u64::from(DISTANCE)
    }

    /// Takes memory for `len` bytes more. Doubling keeps the copying linear; beyond `bytes_max` nothing is taken
    /// ahead of what is there.
    pub(crate) fn make_room(&mut self, len: usize, bytes_max: usize) {
        let needed = self.arena.len() + len;
        if needed > self.arena.capacity() {
            let doubled = self.arena.capacity().saturating_mul(2);
            let target = doubled.min(bytes_max).max(needed);
            self.arena.reserve_exact(target - self.arena.len());
        }
    }

    /// One message, in the memory that it is in.
    pub(crate) fn of_one(kind: Kind, payload: Vec<u8>, seq: u64, received_at: Instant) -> Self {
        let end = u32::try_from(payload.len()).expect("limits are below 4 GiB");
        let mut contents = Self {
            arena: payload,
            entries: Vec::with_capacity(1),
            first_seq: seq,
            bytes: end,
            ..Self::default()
        };
        contents.entries.push(Entry {
            received_at,
            end,
            seq_and_kind: bits_of(kind),
        });
        contents
    }

    /// Its memory comes back after it, however large it is.
    pub(crate) fn lend(&mut self) {
        self.is_spare = true;
    }

    /// Whether its memory comes back, however large it is.
    pub(crate) fn is_lent(&self) -> bool {
        self.is_spare
    }

    /// Memory that so many bytes can be read into.
    pub(crate) fn for_read(bytes: usize) -> Self {
        Self {
            arena: vec![0; bytes],
            is_spare: true,
            ..Self::default()
        }
    }

    /// The memory that bytes can be read into.
    pub(crate) fn memory(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// All of the memory that bytes can be read into.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.arena
    }

    /// Notes messages where a read has put them into this memory: those whose places are known, and what `run` finds behind them. Returns where the
    /// last one ends.
    pub(crate) fn note(&mut self, found: Found, run: impl FnOnce(&[u8]) -> Run<'_>) -> usize {
        let Found {
            seq,
            received_at,
            first,
            behind,
            count_max,
        } = found;
        let mut at = first
            .as_ref()
            .map_or(behind.start, |(_, place)| place.start);
        (self.first_seq, self.begin, self.bytes) = (seq, offset(at), 0);
        let mut note = |entries: &mut Vec<Entry>, end, len: usize, bits| {
            self.bytes += offset(len);
            entries.push(Entry {
                received_at,
                end: offset(end),
                seq_and_kind: offset(entries.len()) | bits,
            });
        };
        if let Some((kind, place)) = first {
            note(&mut self.entries, place.end, place.len(), bits_of(kind));
            at = place.end;
        }
        let mut run = run(&self.arena[at..behind.end]);
        let left = behind.end - at;
        while self.entries.len() < count_max
            && let Some((kind, payload)) = run.next()
        {
            // Where the first is so short there will be too many.
            if self.entries.len() <= 1 && left > count_max * (payload.len() + 10) {
                break;
            }
            at = behind.end - run.rest().len();
            let bits = header_bits(payload.len()) | bits_of(kind);
            note(&mut self.entries, at, payload.len(), bits);
        }
        at
    }

    /// The messages that were noted, and where each ends.
    pub(crate) fn noted(&self) -> impl Iterator<Item = (MessageRef<'_>, usize)> {
        let ends = self.entries.iter().map(|entry| entry.end as usize);
        (0..).map_while(|index| self.get(index)).zip(ends)
    }

    /// Nothing more is noted: the messages stay in this memory.
    pub(crate) fn settle(&mut self) {
        self.unused = offset(self.capacity() - self.bytes());
    }

    /// How many bytes it counts for while it waits: more than its payloads have, where they are not all of the memory.
    pub(crate) fn weight(&self) -> usize {
        self.bytes() + self.unused as usize
    }

    /// Whether so many bytes are enough to keep this memory for them.
    pub(crate) fn is_worth_keeping(&self, bytes: usize) -> bool {
        3 * bytes >= self.capacity()
    }

    /// Forgets the messages that were noted.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    /// How many bytes and messages are taken memory for, if messages of about `len` bytes lie in the next `ahead` bytes of a
    /// socket: at most `bytes_max` bytes and `count_max` messages.
    pub(crate) fn room_for(
        len: usize,
        ahead: usize,
        (bytes_max, count_max): (usize, usize),
    ) -> (usize, usize) {
        /// The shortest header of a frame.
        const HEADER_BYTES: usize = 2;
        /// Where so much comes at once, as much again is about to.
        const PLENTY: usize = 32 << 10;
        let ahead = match ahead {
            ..PLENTY => ahead,
            PLENTY.. => 2 * ahead,
        };
        let messages = (ahead / (len + HEADER_BYTES) + 1).min(count_max);
        ((messages * len).min(bytes_max), messages)
    }

    /// Forgets what is in it.
    pub(crate) fn empty(&mut self) {
        self.arena.clear();
        self.entries.clear();
        (self.begin, self.bytes, self.unused) = (0, 0, 0);
    }

    /// Forgets what is in it, so that its memory can be used again.
    pub(crate) fn into_spare(self) -> Self {
        let Self {
            arena, mut entries, ..
        } = self;
        entries.clear();
        Self {
            arena,
            entries,
            is_spare: true,
            ..Self::default()
        }
    }

    /// Makes memory for at least `count` messages that are copied into it, one after the other.
    pub(crate) fn emptied(mut self) -> Self {
        self.arena.clear();
        self
    }

    /// With memory for so many bytes and messages.
    pub(crate) fn with_room(bytes: usize, count: usize) -> Self {
        Self {
            arena: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    /// For how many bytes there is memory.
    pub(crate) fn capacity(&self) -> usize {
        self.arena.capacity()
    }

    /// What its memory takes beside that for payloads.
    pub(crate) fn overhead(&self) -> usize {
        self.entries.capacity() * MESSAGE_OVERHEAD
    }

    /// Whether no more fits in, whatever it is.
    pub(crate) fn is_full(&self, policy: &BatchPolicy) -> bool {
        self.len() >= policy.count_max || self.bytes() >= policy.bytes_max
    }

    /// Appends copies of messages of a run, from its message number `seq` on, while there is room for them, the batch may grow by
    /// them, and they fit into the memory that is there. Returns how many that were, and the first for which one of the latter does not
    /// hold.
    #[inline]
    pub(crate) fn push_easy<'i>(
        &mut self,
        policy: &BatchPolicy,
        (seq, received_at): (u64, Instant),
        room: Room,
        next: &mut impl FnMut() -> Option<Next<'i>>,
    ) -> (Pushed, Option<Next<'i>>) {
        let mut pushed = Pushed::default();
        let free = self.entries.capacity().min(policy.count_max) - self.entries.len();
        let distance = u32::try_from(seq - self.first_seq).unwrap_or(DISTANCE);
        let nameable = DISTANCE.saturating_sub(distance);
        let items_max = u32::try_from(free).unwrap_or(u32::MAX).min(nameable);
        let bytes_max = self.arena.capacity().min(policy.bytes_max);
        while room.is_left_after(pushed)
            && let Some((kind, payload, ahead)) = next()
        {
            let end = self.arena.len() + payload.len();
            let short = u32::try_from(end).ok();
            let Some(end) = short.filter(|_| end <= bytes_max && pushed.items < items_max) else {
                return (pushed, Some((kind, payload, ahead)));
            };
            self.arena.extend_from_slice(payload);
            self.entries.push(Entry {
                received_at,
                end,
                seq_and_kind: (distance + pushed.items) | bits_of(kind),
            });
            self.bytes = end;
            pushed.items += 1;
            pushed.bytes += payload.len();
        }
        (pushed, None)
    }

    /// Gives back what was taken ahead for messages that did not come. Memory that is used again is not worth that.
    pub(crate) fn shrink_to_twice(&mut self) {
        if self.is_spare {
            return;
        }
        self.arena.shrink_to(2 * self.arena.len());
        self.entries.shrink_to(2 * self.entries.len());
    }

    /// Gives back what was taken ahead: nothing more comes in. Memory that is used again may be too large by half.
    pub(crate) fn shrink(&mut self) {
        if self.is_spare && self.arena.capacity() / 2 <= self.arena.len() {
            return;
        }
        self.arena.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Appends a copy of a message. The caller has asked `has_room_for`.
    pub(crate) fn push(&mut self, message: MessageRef<'_>) {
        if self.entries.is_empty() {
            self.first_seq = message.seq;
        }
        self.arena.extend_from_slice(message.payload);
        let end = u32::try_from(self.arena.len()).expect("has_room_for was asked");
        let distance = u32::try_from(message.seq - self.first_seq).expect("has_room_for was asked");
        self.bytes = end;
        self.entries.push(Entry {
            received_at: message.received_at,
            end,
            seq_and_kind: distance | bits_of(message.kind),
        });
    }

    pub(crate) fn get(&self, index: usize) -> Option<MessageRef<'_>> {
        let entry = self.entries.get(index)?;
        let begin = match index.checked_sub(1) {
            Some(before) => self.entries.get(before)?.end,
            None => self.begin,
        };
        self.message(begin, entry)
    }

    pub(crate) fn iter(&self) -> Messages<'_> {
        Messages {
            contents: self,
            entries: self.entries.iter(),
            begin: self.begin,
        }
    }

    /// The message that has this entry, and whose header or payload begins there.
    #[inline]
    fn message(&self, begin: u32, entry: &Entry) -> Option<MessageRef<'_>> {
        let header = HEADER_BYTES[(entry.seq_and_kind >> HEADER_SHIFT & 3) as usize];
        let start = begin as usize + usize::from(header);
        Some(MessageRef {
            payload: self.arena.get(start..entry.end as usize)?,
            kind: if entry.seq_and_kind & BINARY == 0 {
                Kind::Text
            } else {
                Kind::Binary
            },
            seq: self.first_seq + u64::from(entry.seq_and_kind & DISTANCE),
            received_at: entry.received_at,
        })
    }
}

/// The messages of a batch, in order.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    contents: &'a Contents,
    entries: slice::Iter<'a, Entry>,
    /// Where the next message, or its header, begins.
    begin: u32,
}

impl<'a> Iterator for Messages<'a> {
    type Item = MessageRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<MessageRef<'a>> {
        let entry = self.entries.next()?;
        let message = self.contents.message(self.begin, entry);
        self.begin = entry.end;
        message
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// An offset in what one read has brought.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a read brings little")
}

fn bits_of(kind: Kind) -> u32 {
    match kind {
        Kind::Text => 0,
        Kind::Binary => BINARY,
    }
}

/// For the shortest header that a payload of so many bytes can have.
fn header_bits(len: usize) -> u32 {
    let index = match len {
        ..=125 => 1,
        126..=0xffff => 2,
        0x1_0000.. => 3,
    };
    index << HEADER_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_once_for_what_has_arrived_and_given_back_if_it_was_something_else() {
        let payload = [b'x'; 100];
        let message = |seq| MessageRef::new(Kind::Text, &payload, seq, Instant::ORIGIN);
        // Behind the first message lie nine more, each with a header.
        let (bytes, count) = Contents::room_for(100, 9 * 102, (10_000, 1_000));
        let mut contents = Contents::with_room(bytes, count);
        let taken = (contents.arena.capacity(), contents.entries.capacity());
        for seq in 1..=10 {
            contents.make_room(100, 10_000);
            contents.push(message(seq));
        }
        let capacities =
            |contents: &Contents| (contents.arena.capacity(), contents.entries.capacity());
        assert_eq!((capacities(&contents), taken), (taken, (1_000, 10)));

        let (bytes, count) = Contents::room_for(100, 64_000, (10_000, 7));
        let mut contents = Contents::with_room(bytes, count);
        assert_eq!(capacities(&contents), (700, 7));
        contents.push(message(1));
        contents.shrink_to_twice();
        assert_eq!(capacities(&contents), (200, 2));
    }
}
