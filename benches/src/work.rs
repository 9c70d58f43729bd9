//! The work that contestants do.

use serde::{Deserialize, Serialize};

/// One piece of work. The peer learns it from the URL, and a contestant does its half.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// Messages of the peer over one connection, each looked at where it arrives.
    Receive { bytes: usize, messages: u64 },
    /// The same, looked at in another task, on the other end of a bounded queue.
    HandOver { bytes: usize, messages: u64 },
    /// The peer sends four messages at once over each connection in turn, a hundred connections every 2 ms.
    Paced { connections: usize, messages: u64 },
    /// Messages to the peer over one connection, until it says that it has them all.
    Send { bytes: usize, messages: u64 },
    /// One message at a time, there and back.
    Echo { bytes: usize, messages: u64 },
    /// Connections that do nothing.
    Idle { connections: usize },
}

/// How a peer is to serve a connection: the path of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// So many text messages of so many bytes, as fast as they are taken.
    Blast { bytes: usize, messages: u64 },
    /// Four text messages of 128 bytes, whenever its turn comes.
    Pace,
    /// Takes so many messages, and says `done`.
    Sink { messages: u64 },
    /// Sends back what comes.
    Echo,
    /// Says nothing.
    Silence,
}

/// The bytes of a paced message.
pub const PACED_BYTES: usize = 128;

impl Work {
    /// What the peer does for it.
    pub fn service(self) -> Service {
        match self {
            Self::Receive { bytes, messages } | Self::HandOver { bytes, messages } => {
                Service::Blast { bytes, messages }
            }
            Self::Paced { .. } => Service::Pace,
            Self::Send { messages, .. } => Service::Sink { messages },
            Self::Echo { .. } => Service::Echo,
            Self::Idle { .. } => Service::Silence,
        }
    }

    /// How many messages a contestant must have seen.
    pub fn seen(self) -> u64 {
        match self {
            // The peer's word that it has them all.
            Self::Send { .. } => 1,
            Self::Receive { .. }
            | Self::HandOver { .. }
            | Self::Paced { .. }
            | Self::Echo { .. }
            | Self::Idle { .. } => self.messages(),
        }
    }

    /// How many messages it is about.
    pub fn messages(self) -> u64 {
        match self {
            Self::Receive { messages, .. }
            | Self::HandOver { messages, .. }
            | Self::Paced { messages, .. }
            | Self::Send { messages, .. }
            | Self::Echo { messages, .. } => messages,
            Self::Idle { .. } => 0,
        }
    }

    /// How many connections it takes.
    pub fn connections(self) -> usize {
        match self {
            Self::Receive { .. }
            | Self::HandOver { .. }
            | Self::Send { .. }
            | Self::Echo { .. } => 1,
            Self::Paced { connections, .. } | Self::Idle { connections } => connections,
        }
    }
}

impl Service {
    /// The path that asks for it.
    pub fn path(self) -> String {
        match self {
            Self::Blast { bytes, messages } => format!("/blast/{bytes}/{messages}"),
            Self::Pace => "/pace".to_owned(),
            Self::Sink { messages } => format!("/sink/{messages}"),
            Self::Echo => "/echo".to_owned(),
            Self::Silence => "/silence".to_owned(),
        }
    }

    /// What a path asks for.
    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let service = parts.next()?;
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some(match service {
            "blast" => Self::Blast {
                bytes: usize::try_from(number()?).ok()?,
                messages: number()?,
            },
            "pace" => Self::Pace,
            "sink" => Self::Sink {
                messages: number()?,
            },
            "echo" => Self::Echo,
            "silence" => Self::Silence,
            _ => return None,
        })
    }
}

/// What a contestant saw of the messages: it must have looked at each, and at the same ones as all others.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub messages: u64,
    pub bytes: u64,
    /// Of the first and last byte of each.
    pub sum: u64,
}

impl Seen {
    /// Looks at a message.
    #[inline]
    pub fn look(&mut self, payload: &[u8]) {
        self.messages += 1;
        self.bytes += payload.len() as u64;
        if let (Some(first), Some(last)) = (payload.first(), payload.last()) {
            self.sum = self
                .sum
                .wrapping_add(u64::from(*first) << 8 | u64::from(*last));
        }
    }
}

/// What a contestant's work came to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Done {
    pub seen: Seen,
    /// Processor time, in nanoseconds.
    pub cpu_nanos: u64,
    /// Time on the wall, in nanoseconds.
    pub wall_nanos: u64,
    /// Physical memory that came with the connections, in bytes.
    pub memory_bytes: u64,
    /// How often the process went to sleep.
    pub sleeps: u64,
    /// Round trips in nanoseconds: the median, the 99th and the 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_nanos: Option<[u64; 3]>,
}
