//! permessage-deflate (RFC 7692): what is offered and agreed, and the two halves of the codec.
//!
//! [`Offer`] is what the opening request says, [`Agreement`] what the server's answer makes of it,
//! [`Inflator`] is the part of a [`Decoder`](super::Decoder) that decompresses, and [`Deflator`]
//! compresses messages before they are framed.

mod deflator;
mod inflator;
mod negotiation;

pub use deflator::Deflator;
pub use inflator::{INFLATOR_BYTES, Inflator};
pub(in crate::websocket) use negotiation::NAME;
pub use negotiation::{Agreement, Offer, ParameterProblem, WindowBits};

/// What ends each message's data and is not sent (RFC 7692 §7.2.1): the length of an empty stored
/// block.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Whether a compressor's window outlives a message (RFC 7692 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// It does: a message may refer to those before it.
    TakenOver,
    /// Each message is compressed by itself.
    PerMessage,
}

/// What happens to state that is not needed just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenIdle {
    /// It is kept for the next message. The default.
    #[default]
    Keep,
    /// Its memory is given back.
    Free,
}
