//! What is to happen: which messages there are, and when and how the server ends its sockets.

use std::fmt;

/// Which way messages go, and what keeps them from being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// To the server, each awaiting an acknowledgement, and each marked as idempotent, so that it may go out again.
    OutboundAcknowledged,
    /// The same, but every other message is not marked.
    OutboundMixed,
    /// From the server, which resumes where it is asked to.
    InboundResumed,
    /// To the server, and nothing more.
    OutboundPlain,
    /// From the server, which goes on where it was, whatever arrived.
    InboundPlain,
}

/// How the server ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A reset between two of the server's frames.
    Reset,
    /// A reset when half a frame was written, and half a frame read.
    ResetMidFrame,
    /// The stream ends without a close frame.
    Eof,
    /// The stream ends in the middle of a frame.
    EofMidFrame,
    /// A close frame with 1001.
    Close,
}

impl Ending {
    /// Every ending.
    pub(crate) const ALL: [Self; 5] = [
        Self::Reset,
        Self::ResetMidFrame,
        Self::Eof,
        Self::EofMidFrame,
        Self::Close,
    ];

    /// The word for it in records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::ResetMidFrame => "reset_mid_frame",
            Self::Eof => "eof",
            Self::EofMidFrame => "eof_mid_frame",
            Self::Close => "close",
        }
    }

    /// Whether it may destroy what the server wrote and the client has not read.
    pub(crate) const fn destroys(self) -> bool {
        match self {
            Self::Reset | Self::ResetMidFrame => true,
            Self::Eof | Self::EofMidFrame | Self::Close => false,
        }
    }

    /// Whether half a frame comes before it.
    pub(crate) const fn is_mid_frame(self) -> bool {
        match self {
            Self::ResetMidFrame | Self::EofMidFrame => true,
            Self::Reset | Self::Eof | Self::Close => false,
        }
    }
}

/// One pass of so many messages over so many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pass: Pass,
    /// Of all connections together.
    pub(crate) messages: u64,
    pub(crate) connections: u64,
    /// How many sockets of each connection the server ends, about.
    pub(crate) faults: u64,
    pub(crate) seed: u64,
}

/// How long a socket lives, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// How many messages it carries that no socket has carried before it.
    pub(crate) messages: u64,
    pub(crate) ending: Ending,
    /// Whether the server lets the client wait for a moment before the end, so that its kernel takes no more.
    pub(crate) pause: Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    No,
    Yes,
}

/// What the client's application has said of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    Idempotent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    No,
    Yes,
}

impl Pass {
    /// Every pass.
    pub(crate) const ALL: [Self; 5] = [
        Self::OutboundAcknowledged,
        Self::OutboundMixed,
        Self::InboundResumed,
        Self::OutboundPlain,
        Self::InboundPlain,
    ];

    /// Whether a message is marked: it may come a second time, over another socket, and must come a first time.
    pub(crate) const fn mark(self, number: u64) -> Mark {
        match self {
            Self::OutboundAcknowledged => Mark::Idempotent,
            Self::OutboundMixed if number % 2 == 1 => Mark::Idempotent,
            Self::OutboundMixed | Self::OutboundPlain => Mark::None,
            Self::InboundResumed | Self::InboundPlain => Mark::None,
        }
    }

    /// Whether the server acknowledges what it has read.
    pub(crate) const fn replies(self) -> Replies {
        match self {
            Self::OutboundAcknowledged | Self::OutboundMixed => Replies::Yes,
            Self::OutboundPlain | Self::InboundResumed | Self::InboundPlain => Replies::No,
        }
    }

    /// The word for it in records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OutboundAcknowledged => "outbound_acknowledged",
            Self::OutboundMixed => "outbound_mixed",
            Self::InboundResumed => "inbound_resumed",
            Self::OutboundPlain => "outbound_plain",
            Self::InboundPlain => "inbound_plain",
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Plan {
    /// How many messages this connection carries, numbered from 1.
    pub(crate) fn share(&self, connection: u64) -> u64 {
        self.messages / self.connections + u64::from(connection < self.messages % self.connections)
    }

    /// How the socket with this index, from 0, is to fare.
    pub(crate) fn life(&self, connection: u64, socket: u64) -> Life {
        let noise = |purpose| mix([self.seed, connection, socket, purpose]);
        let mean = (self.share(connection) / (self.faults + 1)).max(1);
        let kinds = Ending::ALL.len() as u64;
        Life {
            messages: (mean / 2 + noise(0) % (mean + 1)).max(1),
            ending: Ending::ALL[usize::try_from(noise(1) % kinds).unwrap_or(0)],
            pause: match noise(2) % 4 {
                0 => Pause::Yes,
                _ => Pause::No,
            },
        }
    }
}

/// Numbers that look random and are the same for the same words (SplitMix64's finalizer).
fn mix(words: [u64; 4]) -> u64 {
    words
        .into_iter()
        .fold(0x9e37_79b9_7f4a_7c15, |state, word| {
            let mut next = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            next = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            next = (next ^ (next >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            next ^ (next >> 31)
        })
}
