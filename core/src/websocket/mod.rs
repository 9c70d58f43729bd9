//! The message layer of one WebSocket, client side (RFC 6455).
//!
//! [`Decoder`] turns received bytes into messages and control frames, [`encode_frame`] turns messages
//! into masked frames, [`deflate`] compresses and decompresses what they carry if both sides agreed to
//! (RFC 7692), and [`handshake`] writes the opening request and judges its response. Nothing here knows a connection's state, a clock or a socket; masks and nonces are arguments. Frame headers
//! and the response head are parsed by tungstenite, and what it leaves unchecked is checked here.

pub mod deflate;
pub mod handshake;

mod close;
mod decoder;
mod encoder;
mod error;
mod header;
mod mask;
mod untrusted;
mod utf8;

pub use close::{CloseCode, CloseFrame, REASON_BYTES_MAX};
pub use decoder::{Decoder, FRAGMENT_OVERHEAD_BYTES, Item, Limits, Run};
pub use encoder::{
    Opcode, close_payload, encode_compressed_header, encode_frame, encode_header, frame_len,
};
pub use error::ProtocolError;
pub use handshake::{
    Accepted, HandshakeKey, HeaderError, Progress, Refusal, ResponseReader, UpgradeError,
    UpgradeLimits, UpgradeRequest, check_header, check_subprotocol, check_subprotocols,
    write_request,
};
pub use mask::mask_append;

/// The largest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests;
