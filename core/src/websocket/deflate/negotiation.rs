//! What both sides may do: offered by the client, settled by the server (RFC 7692 §5, §7.1).

use std::fmt;

use super::Context;
use crate::websocket::UpgradeError;
use crate::websocket::handshake::{Extension, Parameter};

/// The name of the extension (RFC 7692 §7).
pub(in crate::websocket) const NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The size of a compressor's window, as its base-2 logarithm: 8 to 15 (RFC 7692 §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// A window of 256 bytes.
    pub const MIN: Self = Self(8);
    /// A window of 32 KiB, which is what holds when nothing is said.
    pub const MAX: Self = Self(15);

    /// `None` if `bits` is not from 8 to 15.
    pub fn new(bits: u8) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&bits)
            .then_some(Self(bits))
    }

    /// The logarithm.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Reads a decimal number without leading zeros (RFC 7692 §7.1.2.1).
    fn parse(text: &str) -> Option<Self> {
        let bits = text.parse().ok()?;
        Self::new(bits).filter(|bits| bits.0.to_string() == text)
    }
}

/// What an opening request offers. `Display` is the value of its `Sec-WebSocket-Extensions` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The server is asked for [`Context::PerMessage`], and must grant it.
    pub server_context: Context,
    /// What this side will do, whatever the server says; told as a hint.
    pub client_context: Context,
    /// The largest window that the server may use; it must agree if this is less than 15.
    pub server_window: WindowBits,
    /// The largest window that this side will use; told as a hint.
    pub client_window: WindowBits,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_common(
            f,
            self.server_context,
            self.client_context,
            self.server_window,
        )?;
        // Without this parameter the server could not ask for a smaller window (RFC 7692 §7.1.2.2).
        write!(f, "; {CLIENT_MAX_WINDOW_BITS}")?;
        if self.client_window < WindowBits::MAX {
            write!(f, "={}", self.client_window.0)?;
        }
        Ok(())
    }
}

/// What an offer and an answer say alike.
fn write_common(
    f: &mut fmt::Formatter<'_>,
    server_context: Context,
    client_context: Context,
    server_window: WindowBits,
) -> fmt::Result {
    f.write_str(NAME)?;
    if server_context == Context::PerMessage {
        write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
    }
    if client_context == Context::PerMessage {
        write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
    }
    if server_window < WindowBits::MAX {
        write!(f, "; {SERVER_MAX_WINDOW_BITS}={}", server_window.0)?;
    }
    Ok(())
}

/// What both sides are bound to once the server has accepted an [`Offer`]. `Display` shows it as the
/// answer's header would, with what this side keeps to of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether the server's messages may refer to earlier ones.
    pub server_context: Context,
    /// Whether ours may.
    pub client_context: Context,
    /// The largest window that the server uses.
    pub server_window: WindowBits,
    /// The largest window that we use.
    pub client_window: WindowBits,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_common(
            f,
            self.server_context,
            self.client_context,
            self.server_window,
        )?;
        if self.client_window < WindowBits::MAX {
            write!(f, "; {CLIENT_MAX_WINDOW_BITS}={}", self.client_window.0)?;
        }
        Ok(())
    }
}

/// What is wrong with a parameter of the server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// No such parameter exists in an answer (RFC 7692 §7.1).
    #[error("is not known")]
    Unknown,
    /// It stands there twice (RFC 7692 §7.1).
    #[error("is repeated")]
    Repeated,
    /// It has a value and takes none (RFC 7692 §7.1.1).
    #[error("takes no value")]
    Valued,
    /// It has no value, or one that is not a number from 8 to 15 without leading zeros
    /// (RFC 7692 §7.1.2).
    #[error("is not a number from 8 to 15")]
    NotWindowBits,
    /// It exceeds what was offered (RFC 7692 §7.1.2).
    #[error("is more than the {offered} that were offered")]
    Exceeds {
        /// The offered number.
        offered: u8,
    },
    /// It was required by the offer, and is not there (RFC 7692 §7.1.1.1, §7.1.2.1).
    #[error("is missing")]
    Missing,
}

impl Offer {
    /// What the server's answer to this offer amounts to (RFC 7692 §7.1): all that it says must be
    /// sound, and all that was required must be in it.
    pub(in crate::websocket) fn settle(
        &self,
        answer: &Extension,
    ) -> Result<Agreement, UpgradeError> {
        let mut agreement = Agreement {
            server_context: Context::TakenOver,
            client_context: self.client_context,
            server_window: WindowBits::MAX,
            client_window: self.client_window,
        };
        for (index, parameter) in answer.parameters.iter().enumerate() {
            let is_repeated = answer.parameters[..index]
                .iter()
                .any(|earlier| earlier.name == parameter.name);
            if is_repeated {
                return Err(bad(&parameter.name, ParameterProblem::Repeated));
            }
            self.apply(parameter, &mut agreement)
                .map_err(|problem| bad(&parameter.name, problem))?;
        }
        if self.server_context == Context::PerMessage
            && agreement.server_context != Context::PerMessage
        {
            return Err(bad(SERVER_NO_CONTEXT_TAKEOVER, ParameterProblem::Missing));
        }
        if agreement.server_window > self.server_window {
            return Err(bad(SERVER_MAX_WINDOW_BITS, ParameterProblem::Missing));
        }
        Ok(agreement)
    }

    fn apply(
        &self,
        Parameter { name, value }: &Parameter,
        agreement: &mut Agreement,
    ) -> Result<(), ParameterProblem> {
        let value = value.as_deref();
        match name.as_str() {
            SERVER_NO_CONTEXT_TAKEOVER => agreement.server_context = per_message(value)?,
            CLIENT_NO_CONTEXT_TAKEOVER => agreement.client_context = per_message(value)?,
            SERVER_MAX_WINDOW_BITS => {
                agreement.server_window = window_within(value, self.server_window)?;
            }
            CLIENT_MAX_WINDOW_BITS => {
                agreement.client_window = window_within(value, self.client_window)?;
            }
            _ => return Err(ParameterProblem::Unknown),
        }
        Ok(())
    }
}

fn per_message(value: Option<&str>) -> Result<Context, ParameterProblem> {
    match value {
        None => Ok(Context::PerMessage),
        Some(_) => Err(ParameterProblem::Valued),
    }
}

fn window_within(value: Option<&str>, offered: WindowBits) -> Result<WindowBits, ParameterProblem> {
    let window = value
        .and_then(WindowBits::parse)
        .ok_or(ParameterProblem::NotWindowBits)?;
    if window > offered {
        let offered = offered.0;
        return Err(ParameterProblem::Exceeds { offered });
    }
    Ok(window)
}

fn bad(parameter: &str, problem: ParameterProblem) -> UpgradeError {
    UpgradeError::bad_parameter(parameter, problem)
}
