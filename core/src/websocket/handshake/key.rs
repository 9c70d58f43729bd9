//! The key of one attempt and the answer that proves it was read.

use std::fmt;

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

/// The value of `Sec-WebSocket-Key`: sixteen random bytes, fresh for each attempt, in base64
/// (RFC 6455 §4.1).
///
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeKey([u8; 24]);

impl HandshakeKey {
    /// The key that encodes `nonce`.
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        let mut key = [0; 24];
        BASE64.encode_mut(&nonce, &mut key);
        Self(key)
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }

    /// The value of `Sec-WebSocket-Accept` that answers the key (RFC 6455 §4.2.2).
    pub fn accept(&self) -> String {
        derive_accept_key(&self.0)
    }
}

impl fmt::Debug for HandshakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_its_answer_are_those_of_the_specification() {
        let key = HandshakeKey::from_nonce(*b"the sample nonce");
        assert_eq!(key.as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(key.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_key_is_base64_at_the_edges_of_the_alphabet() {
        let key = HandshakeKey::from_nonce([0xff; 16]);
        assert_eq!(key.as_str(), "/////////////////////w==");
        let key =
            HandshakeKey::from_nonce([0xfb, 0xef, 0xbe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(key.as_str(), "++++AAAAAAAAAAAAAAAAAQ==");
    }
}
