//! The work that contestants do.

use serde::{Deserialize, Serialize};

/// One piece of work. The peer learns it from the URL, and a contestant does its half.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// Messages of the peer over one connection, each looked at where it arrives.
    Receive {
        /// How long each message is.
        bytes: usize,
        /// How many come.
        messages: u64,
    },
    /// The same, looked at in another task, on the other end of a bounded queue.
    HandOver {
        /// How long each message is.
        bytes: usize,
        /// How many come.
        messages: u64,
    },
    /// The same as `Receive`, compressed by the peer (RFC 7692).
    Inflate {
        /// How long each message is, before it is compressed.
        bytes: usize,
        /// How many come.
        messages: u64,
    },
    /// The same as `Receive`, over TLS.
    ReceiveTls {
        /// How long each message is.
        bytes: usize,
        /// How many come.
        messages: u64,
    },
    /// The peer sends four messages at once over each connection in turn, a hundred connections every 2 ms.
    Paced {
        /// How many connections there are.
        connections: usize,
        /// How many messages pass while it is measured.
        messages: u64,
    },
    /// Messages to the peer over one connection, until it says that it has them all.
    Send {
        /// How long each message is.
        bytes: usize,
        /// How many go.
        messages: u64,
    },
    /// The same, compressed (RFC 7692).
    Deflate {
        /// How long each message is, before it is compressed.
        bytes: usize,
        /// How many go.
        messages: u64,
    },
    /// One message at a time, there and back.
    Echo {
        /// How long each message is.
        bytes: usize,
        /// How often.
        messages: u64,
    },
    /// Connections one after the other, each until its first message has come; all stay open.
    Connect {
        /// How many.
        connections: usize,
    },
    /// All connections are dropped by the peer at one moment; over when each has received a message again.
    Recover {
        /// How many.
        connections: usize,
    },
    /// Connections that do nothing.
    Idle {
        /// How many.
        connections: usize,
    },
    /// Connections that do nothing but ping, for whoever pings by itself.
    Pinged {
        /// How many.
        connections: usize,
        /// After how long a silence each pings.
        every_seconds: u64,
        /// For how long it is measured.
        seconds: u64,
    },
}

/// How a peer is to serve a connection: the path of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// So many text messages of so many bytes, as fast as they are taken.
    Blast {
        /// How long each message is.
        bytes: usize,
        /// How many are sent.
        messages: u64,
    },
    /// The same, compressed.
    Squeeze {
        /// How long each message is, before it is compressed.
        bytes: usize,
        /// How many are sent.
        messages: u64,
    },
    /// Four text messages of [`SMALL_BYTES`], whenever its turn comes.
    Pace {
        /// Nothing is sent before so many connections are there.
        connections: usize,
    },
    /// Takes so many messages of so many bytes, and says `done`.
    Sink {
        /// How long each message is.
        bytes: usize,
        /// How many are taken.
        messages: u64,
    },
    /// The same, compressed.
    Unsqueeze {
        /// How long each message is, before it is compressed.
        bytes: usize,
        /// How many are taken.
        messages: u64,
    },
    /// Sends back what comes.
    Echo,
    /// One text message of [`SMALL_BYTES`] at once, and then nothing until everybody is dropped.
    Greet,
    /// Drops everybody who was greeted.
    Drop,
    /// Says nothing but what pings are answered with.
    Silence,
}

/// The bytes of a message where the work does not say it.
pub const SMALL_BYTES: usize = 128;

/// What the peer says when it has received everything.
pub const DONE: &[u8] = b"done";

impl Work {
    /// What the peer does for it.
    pub fn service(self) -> Service {
        match self {
            Self::Receive { bytes, messages }
            | Self::HandOver { bytes, messages }
            | Self::ReceiveTls { bytes, messages } => Service::Blast { bytes, messages },
            Self::Inflate { bytes, messages } => Service::Squeeze { bytes, messages },
            Self::Paced { connections, .. } => Service::Pace { connections },
            Self::Send { bytes, messages } => Service::Sink { bytes, messages },
            Self::Deflate { bytes, messages } => Service::Unsqueeze { bytes, messages },
            Self::Echo { .. } => Service::Echo,
            Self::Connect { .. } | Self::Recover { .. } => Service::Greet,
            Self::Idle { .. } | Self::Pinged { .. } => Service::Silence,
        }
    }

    /// What each message that a contestant receives consists of.
    pub fn payload(self) -> Vec<u8> {
        match self {
            Self::Receive { bytes, .. }
            | Self::HandOver { bytes, .. }
            | Self::ReceiveTls { bytes, .. }
            | Self::Echo { bytes, .. } => letters(bytes),
            Self::Inflate { bytes, .. } => quotes(bytes),
            Self::Paced { .. } | Self::Connect { .. } | Self::Recover { .. } => {
                letters(SMALL_BYTES)
            }
            Self::Send { .. } | Self::Deflate { .. } => DONE.to_vec(),
            Self::Idle { .. } | Self::Pinged { .. } => Vec::new(),
        }
    }

    /// How many messages a contestant must have seen, or more if they come for as long as it measures.
    pub fn seen(self) -> u64 {
        match self {
            Self::Send { .. } | Self::Deflate { .. } => 1,
            Self::Connect { connections } | Self::Recover { connections } => connections as u64,
            Self::Receive { .. }
            | Self::HandOver { .. }
            | Self::Inflate { .. }
            | Self::ReceiveTls { .. }
            | Self::Paced { .. }
            | Self::Echo { .. }
            | Self::Idle { .. }
            | Self::Pinged { .. } => self.messages(),
        }
    }

    /// How many messages it is about.
    pub fn messages(self) -> u64 {
        match self {
            Self::Receive { messages, .. }
            | Self::HandOver { messages, .. }
            | Self::Inflate { messages, .. }
            | Self::ReceiveTls { messages, .. }
            | Self::Paced { messages, .. }
            | Self::Send { messages, .. }
            | Self::Deflate { messages, .. }
            | Self::Echo { messages, .. } => messages,
            Self::Connect { .. }
            | Self::Recover { .. }
            | Self::Idle { .. }
            | Self::Pinged { .. } => 0,
        }
    }

    /// How many connections it takes.
    pub fn connections(self) -> usize {
        match self {
            Self::Receive { .. }
            | Self::HandOver { .. }
            | Self::Inflate { .. }
            | Self::ReceiveTls { .. }
            | Self::Send { .. }
            | Self::Deflate { .. }
            | Self::Echo { .. } => 1,
            Self::Paced { connections, .. }
            | Self::Connect { connections }
            | Self::Recover { connections }
            | Self::Idle { connections }
            | Self::Pinged { connections, .. } => connections,
        }
    }

    /// The same with a part of the messages, for who needs very long for one.
    #[must_use]
    pub fn nth(self, part: u64) -> Self {
        let mut less = self;
        match &mut less {
            Self::Receive { messages, .. }
            | Self::HandOver { messages, .. }
            | Self::Inflate { messages, .. }
            | Self::ReceiveTls { messages, .. }
            | Self::Paced { messages, .. }
            | Self::Send { messages, .. }
            | Self::Deflate { messages, .. }
            | Self::Echo { messages, .. } => *messages /= part,
            Self::Connect { .. }
            | Self::Recover { .. }
            | Self::Idle { .. }
            | Self::Pinged { .. } => {}
        }
        less
    }

    /// Whether `seen` is what the peer sent.
    pub fn is_all(self, seen: Seen) -> bool {
        let enough = match self {
            Self::Paced { .. } => seen.messages >= self.seen(),
            Self::Receive { .. }
            | Self::HandOver { .. }
            | Self::Inflate { .. }
            | Self::ReceiveTls { .. }
            | Self::Send { .. }
            | Self::Deflate { .. }
            | Self::Echo { .. }
            | Self::Connect { .. }
            | Self::Recover { .. }
            | Self::Idle { .. }
            | Self::Pinged { .. } => seen.messages == self.seen(),
        };
        let mut one = Seen::default();
        one.look(&self.payload());
        enough
            && seen.bytes == one.bytes * seen.messages
            && seen.sum == one.sum.wrapping_mul(seen.messages)
    }
}

impl Service {
    /// The path that asks for it.
    pub fn path(self) -> String {
        match self {
            Self::Blast { bytes, messages } => format!("/blast/{bytes}/{messages}"),
            Self::Squeeze { bytes, messages } => format!("/squeeze/{bytes}/{messages}"),
            Self::Pace { connections } => format!("/pace/{connections}"),
            Self::Sink { bytes, messages } => format!("/sink/{bytes}/{messages}"),
            Self::Unsqueeze { bytes, messages } => format!("/unsqueeze/{bytes}/{messages}"),
            Self::Echo => "/echo".to_owned(),
            Self::Greet => "/greet".to_owned(),
            Self::Drop => "/drop".to_owned(),
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
            "squeeze" => Self::Squeeze {
                bytes: usize::try_from(number()?).ok()?,
                messages: number()?,
            },
            "sink" => Self::Sink {
                bytes: usize::try_from(number()?).ok()?,
                messages: number()?,
            },
            "unsqueeze" => Self::Unsqueeze {
                bytes: usize::try_from(number()?).ok()?,
                messages: number()?,
            },
            "pace" => Self::Pace {
                connections: usize::try_from(number()?).ok()?,
            },
            "echo" => Self::Echo,
            "greet" => Self::Greet,
            "drop" => Self::Drop,
            "silence" => Self::Silence,
            _ => return None,
        })
    }
}

/// A text of so many bytes that nobody compresses.
pub fn letters(bytes: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(bytes).collect()
}

/// A text of so many bytes that is compressed as what servers send is: names that repeat, and numbers that do not.
pub fn quotes(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    let mut state = 0x9e37_79b9_u64;
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (price, size) = (state >> 44, (state >> 20) & 0xfff);
        text.extend_from_slice(
            format!(r#"{{"type":"trade","price":{price},"size":{size},"side":"buy"}},"#).as_bytes(),
        );
    }
    text.truncate(bytes);
    text
}

/// What a contestant saw of the messages: it must have looked at each, and at the same ones as all others.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How many there were.
    pub messages: u64,
    /// How long they were together.
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
    /// The messages that came while it was measured.
    pub seen: Seen,
    /// Processor time, in nanoseconds.
    pub cpu_nanos: u64,
    /// Time on the wall, in nanoseconds.
    pub wall_nanos: u64,
    /// Physical memory that came with the connections, in bytes.
    pub memory_bytes: u64,
    /// How often a thread of the process went to sleep.
    pub sleeps: u64,
    /// Round trips in nanoseconds: the median, the 99th and the 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_nanos: Option<[u64; 3]>,
    /// System calls of the whole process, its start included, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Bytes of frames that the peer received, where it is asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_bytes: Option<u64>,
    /// When it was measured, in microseconds of the time of day, where somebody else counts meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_micros: Option<[u64; 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_asked_for() {
        for service in [
            Service::Blast {
                bytes: 128,
                messages: 7,
            },
            Service::Squeeze {
                bytes: 1,
                messages: 2,
            },
            Service::Pace { connections: 5 },
            Service::Sink {
                bytes: 1_000,
                messages: 9,
            },
            Service::Unsqueeze {
                bytes: 3,
                messages: 4,
            },
            Service::Echo,
            Service::Greet,
            Service::Drop,
            Service::Silence,
        ] {
            assert_eq!(Service::from_path(&service.path()), Some(service));
        }
        assert_eq!(Service::from_path("/blast/128"), None);
        assert_eq!(Service::from_path("/elsewhere"), None);
    }

    #[test]
    fn who_missed_a_message_or_saw_another_has_not_seen_all() {
        let work = Work::Receive {
            bytes: 16,
            messages: 2,
        };
        let mut seen = Seen::default();
        seen.look(&work.payload());
        assert!(!work.is_all(seen), "one is missing");
        let mut other = seen;
        other.look(b"not what was sent");
        assert!(!work.is_all(other), "one is another");
        seen.look(&work.payload());
        assert!(work.is_all(seen));
        seen.look(&work.payload());
        assert!(!work.is_all(seen), "one is too many");
    }
}
