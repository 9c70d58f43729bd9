//! The opening handshake, client side (RFC 6455 §4.1).
//!
//! [`write_request`] writes the request and returns the [`HandshakeKey`] that it sent;
//! [`ResponseReader`] takes the response, cut anywhere, and says where the first frame begins.

mod error;
mod extensions;
mod head;
mod key;
mod refusal;
mod request;
mod response;

pub use error::UpgradeError;
pub(super) use extensions::{Extension, Parameter};
pub use key::HandshakeKey;
pub use refusal::{BODY_BYTES_MAX, Refusal};
pub use request::{
    HeaderError, UpgradeRequest, check_header, check_subprotocol, check_subprotocols, write_request,
};
pub use response::{Accepted, Progress, ResponseReader, UpgradeLimits};
