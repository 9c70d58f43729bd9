//! Bounds on what is held in memory.

#[cfg(feature = "serde")]
use super::text;

/// What a server may make this process hold and look at. All bounds are inclusive; a server that
/// exceeds one is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct Limits {
    /// The longest message, in bytes, all its fragments together. Default: 16 MiB; at most 2 GiB. A
    /// message that arrives in parts is held in full before it is delivered, so this is what one
    /// connection can cost.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub message_bytes_max: usize,
    /// The longest payload of one frame, in bytes; refused from its header, before any of it is held.
    /// Default: 16 MiB; at most 2 GiB.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub frame_bytes_max: usize,
    /// The most frames one message may be cut into (RFC 6455 §5.4), empty ones included.
    /// Default: 4,096. Each costs more than its payload.
    pub fragments_max: u32,
    /// The longest head of an upgrade response, in bytes. Default: 16 KiB. Held only while the response
    /// arrives.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub header_bytes_max: usize,
    /// The most header fields in an upgrade response. Default: 100; at most 124, which is what the
    /// parser of responses can hold.
    pub headers_max: usize,
    /// The most interim responses (status 1xx other than 101) before the final one. Default: 8.
    pub interim_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            frame_bytes_max: 16 << 20,
            fragments_max: 4_096,
            header_bytes_max: 16 << 10,
            headers_max: 100,
            interim_max: 8,
        }
    }
}

/// How much may wait in a queue: whichever bound is met first holds. One message that is larger than
/// the queue is admitted when it is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub struct QueueBounds {
    /// The most messages. Default: 1,024.
    pub items_max: usize,
    /// The most bytes of payload, and of memory that messages which were not copied leave unused. Default: 1 MiB; at most 2 GiB. Held only
    /// while messages wait. What a message costs
    /// beside its payload, a quarter of a KiB at most while it waits, [`items_max`](Self::items_max) bounds.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub bytes_max: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            items_max: 1_024,
            bytes_max: 1 << 20,
        }
    }
}
