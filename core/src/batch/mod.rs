//! Inbound messages, gathered.

mod contents;
mod draft;
mod run;

use std::fmt;
use std::time::Duration;

use triomphe::Arc;

use crate::ids::ConnectionId;
use crate::message::Kind;
use crate::time::Instant;

pub use contents::Messages;
pub(crate) use contents::{Contents, Found, MESSAGE_OVERHEAD};
pub(crate) use draft::{Draft, Filling};
pub(crate) use run::{Next, Pushed, Room};

/// Messages of one connection in the order in which they arrived, in one contiguous buffer.
///
/// All of a batch's messages came over one socket. A batch is as small as a reference: cloning shares the buffer, which may be up to
/// three times as large as its messages.
#[derive(Clone)]
pub struct Batch {
    shared: Arc<Shared>,
}

/// What the clones of a batch have in common.
struct Shared {
    connection: ConnectionId,
    generation: u32,
    attempt: u32,
    first_failed_at: Option<Instant>,
    letter: Option<u64>,
    lane: LaneNumber,
    /// Whether it is not to wait for more messages, while it is a draft.
    is_urgent: bool,
    handed_at: Instant,
    contents: Contents,
}

/// Which of a connection's lanes messages are in.
pub(crate) type LaneNumber = u16;

impl Batch {
    pub(crate) fn contents(&self) -> &Contents {
        &self.shared.contents
    }

    pub(crate) fn lane(&self) -> LaneNumber {
        self.shared.lane
    }

    pub(crate) fn handed_at(&self) -> Instant {
        self.shared.handed_at
    }

    pub(crate) fn failed_before(&self) -> Option<Instant> {
        self.shared.first_failed_at
    }

    /// Whether nobody else has it.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::is_unique(&self.shared)
    }

    /// What is in it, unless somebody else has it.
    pub(crate) fn into_contents(self) -> Option<Contents> {
        Some(Arc::try_unwrap(self.shared).ok()?.contents)
    }

    /// The dead letter that this batch's one message is redriven from, by the number that
    /// [`Redrive::letter`](crate::Redrive::letter) gave it; `None` for messages that a socket brought.
    pub fn letter(&self) -> Option<u64> {
        self.shared.letter
    }

    /// The connection whose messages these are.
    pub fn connection(&self) -> ConnectionId {
        self.shared.connection
    }

    /// The socket they came over: the connection's dials are numbered from 1.
    pub fn generation(&self) -> u32 {
        self.shared.generation
    }

    /// How often these messages were handed to their processor: 1 the first time, more after
    /// [`Verdict::Retry`].
    pub fn attempt(&self) -> u32 {
        self.shared.attempt
    }

    /// How many messages there are; never 0 in a batch that is handed out.
    pub fn len(&self) -> usize {
        self.shared.contents.len()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.shared.contents.is_empty()
    }

    /// The payloads' bytes together.
    pub fn bytes(&self) -> usize {
        self.shared.contents.bytes()
    }

    /// Whether both are one batch that was handed out once: clones of each other.
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The message at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<MessageRef<'_>> {
        self.shared.contents.get(index)
    }

    /// The messages in the order of their arrival.
    pub fn iter(&self) -> Messages<'_> {
        self.shared.contents.iter()
    }

    /// Accepts every message: all [`Verdict::Ack`].
    pub fn ack(self) -> Judged {
        Judged {
            batch: self,
            refusals: Vec::new(),
        }
    }

    /// Asks `judge` for a verdict on each message in turn.
    pub fn judge(self, mut judge: impl FnMut(MessageRef<'_>) -> Verdict) -> Judged {
        let mut refusals = Vec::new();
        for (index, message) in self.iter().enumerate() {
            match judge(message) {
                Verdict::Ack => {}
                verdict @ (Verdict::Retry { .. } | Verdict::Reject(_)) => {
                    refusals.push((index, verdict));
                }
            }
        }
        Judged {
            batch: self,
            refusals,
        }
    }

    /// Gives every message the same verdict.
    pub fn refuse_all(self, verdict: &Verdict) -> Judged {
        self.judge(|_| verdict.clone())
    }

    /// Pairs verdicts that were found elsewhere with the messages, in order; messages beyond the last
    /// verdict are acknowledged.
    pub fn judged(self, verdicts: impl IntoIterator<Item = Verdict>) -> Judged {
        let mut verdicts = verdicts.into_iter();
        self.judge(|_| verdicts.next().unwrap_or(Verdict::Ack))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("connection", &self.connection())
            .field("generation", &self.generation())
            .field("attempt", &self.attempt())
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = MessageRef<'a>;
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.iter()
    }
}

/// One inbound message, borrowed.
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    payload: &'a [u8],
    kind: Kind,
    seq: u64,
    received_at: Instant,
}

impl<'a> MessageRef<'a> {
    /// A message as a decoder, a sequence function or a test sees it.
    pub fn new(kind: Kind, payload: &'a [u8], seq: u64, received_at: Instant) -> Self {
        Self {
            payload,
            kind,
            seq,
            received_at,
        }
    }

    /// Text or binary.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// The payload.
    pub fn as_bytes(self) -> &'a [u8] {
        self.payload
    }

    /// The payload of a text message.
    ///
    /// # Errors
    /// [`NotText`] if the message is binary.
    pub fn text(self) -> Result<&'a str, NotText> {
        match self.kind {
            // Validated when it was received; asking again costs less than carrying the proof without `unsafe`.
            Kind::Text => simdutf8::basic::from_utf8(self.payload).map_err(|_| NotText),
            Kind::Binary => Err(NotText),
        }
    }

    /// The connection's messages are numbered from 1 ([`Hooks::numbered_after`](crate::Hooks::numbered_after)) across all its sockets;
    /// filtered ones have numbers too.
    pub fn seq(self) -> u64 {
        self.seq
    }

    /// When its last byte was read from the socket.
    pub fn received_at(self) -> Instant {
        self.received_at
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("kind", &self.kind)
            .field("seq", &self.seq)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

/// A message was asked for its text and is binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is binary, not text")]
pub struct NotText;

/// What a processor says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Try it again, after this long or, if `None`, after the retry policy's own delay. After the
    /// policy's last try it becomes a dead letter.
    Retry {
        /// How long to wait.
        after: Option<Duration>,
    },
    /// It will never succeed: a dead letter, with this reason.
    Reject(Box<str>),
}

impl Verdict {
    /// Try again after the retry policy's own delay.
    pub fn retry() -> Self {
        Self::Retry { after: None }
    }

    /// Try again, not before `after` has passed.
    pub fn retry_after(after: Duration) -> Self {
        Self::Retry { after: Some(after) }
    }

    /// A dead letter, because of `error` and what caused it: the reason names the whole chain, such as
    /// `the order is refused: no such account`.
    pub fn reject_error(error: &dyn std::error::Error) -> Self {
        let chain = std::iter::successors(Some(error), |error| error.source());
        let words: Vec<_> = chain.map(ToString::to_string).collect();
        Self::Reject(words.join(": ").into())
    }

    /// A dead letter, because of `reason`.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self::Reject(reason.to_string().into())
    }
}

/// A batch with the verdicts on its messages; what a processor returns.
#[derive(Clone, Debug)]
pub struct Judged {
    pub(crate) batch: Batch,
    pub(crate) refusals: Vec<(usize, Verdict)>,
}

impl Judged {
    /// The batch that was judged.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The verdicts other than [`Verdict::Ack`], with the index of their message, in order.
    pub fn refusals(&self) -> &[(usize, Verdict)] {
        &self.refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[(Kind, &[u8], u64)]) -> Batch {
        let mut contents = Contents::default();
        for &(kind, payload, seq) in messages {
            assert!(contents.has_room_for(payload.len(), seq));
            contents.push(MessageRef::new(kind, payload, seq, Instant::ORIGIN));
        }
        let id = ConnectionId {
            index: 0,
            generation: 0,
        };
        Draft::new(contents, 1).hand_out(id, Instant::ORIGIN, 0)
    }

    #[test]
    fn messages_keep_their_kind_number_and_bounds() {
        let batch = batch(&[
            (Kind::Text, b"one", 5),
            (Kind::Binary, b"", 7),
            (Kind::Text, b"three", 8),
        ]);
        let seen: Vec<_> = batch
            .iter()
            .map(|m| (m.kind(), m.as_bytes(), m.seq()))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Text, &b"one"[..], 5),
                (Kind::Binary, b"", 7),
                (Kind::Text, b"three", 8)
            ]
        );
        assert_eq!(batch.get(0).unwrap().text(), Ok("one"));
        assert_eq!(batch.get(1).unwrap().text(), Err(NotText));
        assert!(batch.get(3).is_none());
    }

    #[test]
    fn the_reason_of_a_rejected_error_names_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the order is refused")]
        struct Refused(#[source] std::fmt::Error);
        let verdict = Verdict::reject_error(&Refused(std::fmt::Error));
        let reason = format!("the order is refused: {}", std::fmt::Error);
        assert_eq!(verdict, Verdict::Reject(reason.into()));
    }

    #[test]
    fn a_judged_batch_names_only_what_was_not_acknowledged() {
        let judged = batch(&[(Kind::Text, b"a", 1), (Kind::Text, b"b", 2)]).judge(|m| {
            if m.seq() == 2 {
                Verdict::reject("no")
            } else {
                Verdict::Ack
            }
        });
        assert_eq!(judged.refusals(), [(1, Verdict::Reject("no".into()))]);
    }
}
