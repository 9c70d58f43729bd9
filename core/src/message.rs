//! Messages an application sends.

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

/// An outbound message: text or binary, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    kind: Kind,
    resend: Resend,
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
        Self {
            payload: Bytes::from(text.into()),
            kind: Kind::Text,
            resend: Resend::Never,
        }
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self {
            payload: bytes.into(),
            kind: Kind::Binary,
            resend: Resend::Never,
        }
    }

    /// Marks the message as idempotent: if a socket is lost while it is half written, it is sent again.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.resend = Resend::IfInterrupted;
        self
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happens if a socket is lost while the message is half written.
    pub fn resend(&self) -> Resend {
        self.resend
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.payload
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty. An empty message is still a message.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
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
