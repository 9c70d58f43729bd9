//! Messages an application sends.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;

/// What a data message holds (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

/// Names an accepted outbound message within its connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(crate) u64);

impl MessageId {
    /// The number: 1 for the first message that the connection accepted.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// An outbound message: text or binary, cheap to clone. Its `Debug` form shows no payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    ttl_millis: Option<NonZeroU32>,
    kind: Kind,
    resend: Resend,
    offline: Offline,
    lane: Lane,
}

/// What happens to a message while no socket is ready for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Offline {
    /// It waits, for its time to live at most. The default.
    #[default]
    Wait,
    /// It is worth nothing later: it is not accepted, or, if the socket is lost while it waits, its outcome
    /// is [`Outcome::NotSent`](crate::Outcome::NotSent).
    Refuse,
}

/// Which messages leave first. Each lane keeps its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Ahead of all in the normal lane that no byte has been written of.
    Priority,
    /// The default.
    #[default]
    Normal,
}

/// What to do with a message of which a lost socket had taken only a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resend {
    /// Its outcome is [`Outcome::Interrupted`](crate::Outcome::Interrupted): the peer may or may not act on it. The default.
    #[default]
    Never,
    /// It is idempotent: it goes out again, whole and first, on the next socket.
    IfInterrupted,
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Kind::Text, Bytes::from(text.into()))
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::new(Kind::Binary, bytes.into())
    }

    pub(crate) fn new(kind: Kind, payload: Bytes) -> Self {
        Self {
            payload,
            ttl_millis: None,
            kind,
            resend: Resend::default(),
            offline: Offline::default(),
            lane: Lane::default(),
        }
    }

    /// Marks the message as idempotent: if a socket is lost while it is half written, it is sent again.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.resend = Resend::IfInterrupted;
        self
    }

    /// Limits how long the message may wait to be written, from the moment that the connection accepts it; then its
    /// outcome is [`Outcome::Expired`](crate::Outcome::Expired). Default: no limit. What is already on its way does not
    /// expire; if its socket is lost, it does not go out again. Counted in milliseconds, rounded up, from 1; a limit of more
    /// than 49 days is none.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        let millis = ttl.as_nanos().div_ceil(1_000_000).max(1);
        self.ttl_millis = u32::try_from(millis).ok().and_then(NonZeroU32::new);
        self
    }

    /// Says what happens to the message while no socket is ready for it.
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// Puts the message into a lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Text or binary.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How long the message may wait to be written; `None` is for ever.
    pub fn time_to_live(&self) -> Option<Duration> {
        self.ttl_millis
            .map(|millis| Duration::from_millis(millis.get().into()))
    }

    /// What happens while no socket is ready for it.
    pub fn when_offline(&self) -> Offline {
        self.offline
    }

    /// The lane it is in.
    pub fn in_lane(&self) -> Lane {
        self.lane
    }

    /// What happens if a socket is lost while the message is half written.
    pub fn resend(&self) -> Resend {
        self.resend
    }

    /// The payload.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.payload
    }

    /// The payload's length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether it has no options: it waits for ever, in the normal lane, and does not go out twice.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let Self {
            payload: _,
            ttl_millis,
            kind: _,
            resend,
            offline,
            lane,
        } = self;
        ttl_millis.is_none()
            && *resend == Resend::Never
            && *offline == Offline::Wait
            && *lane == Lane::Normal
    }

    /// Whether the payload is empty. An empty message is still a message.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl From<crate::MessageRef<'_>> for Message {
    /// Copies the payload.
    fn from(message: crate::MessageRef<'_>) -> Self {
        Self::new(message.kind(), Bytes::copy_from_slice(message.as_bytes()))
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}
