//! Two sides that do not understand each other: what the messages were, and what the next dial offers instead.

use std::fmt;
use std::sync::Arc;

use crate::hooks::{Expect, ReadyStep, Template, TemplateError};
use crate::target::TargetError;
use crate::websocket::deflate::Agreement;
use crate::websocket::{CloseCode, check_subprotocols};

/// Why a message is not sound, as the application's decoder says.
///
/// A text alone stands for [`InvalidKind::Malformed`]: `Err("not JSON".into())`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Invalid {
    /// What kind of fault it is; the close code follows from it.
    pub kind: InvalidKind,
    /// The fault in words. They may be shown to people, and should not repeat what is secret.
    pub reason: Box<str>,
}

/// Kinds of fault that a message can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvalidKind {
    /// It does not decode: close code 1007 (RFC 6455 §7.4.1). The default.
    #[default]
    Malformed,
    /// It is binary where text is wanted, or text where binary is: 1003.
    WrongType,
    /// It decodes, and breaks the schema or the application's protocol: 1002.
    Protocol,
    /// It is sound, and not wanted: 1008.
    Policy,
}

impl Invalid {
    /// A fault of this kind.
    pub fn new(kind: InvalidKind, reason: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

impl InvalidKind {
    /// The close code that tells the server so (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Malformed => CloseCode::INVALID_PAYLOAD,
            Self::WrongType => CloseCode::UNSUPPORTED,
            Self::Protocol => CloseCode::PROTOCOL,
            Self::Policy => CloseCode::POLICY,
        }
    }

    /// The word that records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongType => "wrong_type",
            Self::Protocol => "protocol",
            Self::Policy => "policy",
        }
    }
}

impl From<&str> for Invalid {
    fn from(reason: &str) -> Self {
        Self::new(InvalidKind::default(), reason)
    }
}

impl From<String> for Invalid {
    fn from(reason: String) -> Self {
        Self::new(InvalidKind::default(), reason)
    }
}

impl From<Box<str>> for Invalid {
    fn from(reason: Box<str>) -> Self {
        Self::new(InvalidKind::default(), reason)
    }
}

/// How many invalid messages of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InvalidCounts {
    /// [`InvalidKind::Malformed`].
    pub malformed: u32,
    /// [`InvalidKind::WrongType`].
    pub wrong_type: u32,
    /// [`InvalidKind::Protocol`].
    pub protocol: u32,
    /// [`InvalidKind::Policy`].
    pub policy: u32,
}

impl InvalidCounts {
    /// All of them.
    pub const fn total(self) -> u32 {
        self.malformed
            .saturating_add(self.wrong_type)
            .saturating_add(self.protocol)
            .saturating_add(self.policy)
    }

    pub(crate) fn count(&mut self, kind: InvalidKind) {
        let count = match kind {
            InvalidKind::Malformed => &mut self.malformed,
            InvalidKind::WrongType => &mut self.wrong_type,
            InvalidKind::Protocol => &mut self.protocol,
            InvalidKind::Policy => &mut self.policy,
        };
        *count = count.saturating_add(1);
    }
}

/// A session that ended because the server sent more invalid messages than
/// [`invalid_max`](crate::settings::InvalidPolicy::invalid_max) allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The endpoint, without secrets.
    pub endpoint: Box<str>,
    /// The number of the session's dial.
    pub generation: u32,
    /// The message that was one too many.
    pub invalid: Invalid,
    /// All invalid messages of the window, that one included.
    pub counts: InvalidCounts,
    /// The subprotocols that the dial offered, the most wanted first.
    pub offered: Vec<Box<str>>,
    /// The one that the server chose.
    pub subprotocol: Option<Box<str>>,
    /// What was agreed about compression (RFC 7692).
    pub compression: Option<Agreement>,
}

/// Decides what the next dial offers after a [`Disagreement`].
///
/// Without it, or when it says [`Renegotiation::Walk`], the offer is walked: the subprotocol that was agreed is left
/// out of the next offer, as long as there is another. Then, if permessage-deflate was agreed, the whole list is offered
/// without it, and walked again. A step of this walk is no strike; it waits by backoff like any redial. When there is nothing left to leave
/// out, the next dial offers what was configured, and that is a strike.
///
/// An offer is kept, whatever the URL, until the next disagreement, so that a server which is understood is not
/// misunderstood again at each redial; until the application pauses and resumes the connection; or until a server refuses it with
/// status 400, or by choosing none where one is required. That, final for an offer as configured, is then a strike, and
/// the next dial offers what was configured. A connection that does not reconnect does not renegotiate.
#[derive(Clone)]
pub struct Renegotiate(Arc<dyn Fn(&Disagreement) -> Renegotiation + Send + Sync>);

/// What the next dial offers.
#[derive(Clone, Debug, Default)]
pub enum Renegotiation {
    /// The next step of the walk. The default.
    #[default]
    Walk,
    /// These terms. No strike, unless they are what was just offered, or there were more than 64 new offers since the two sides
    /// last agreed for as long as `backoff.stable_after`.
    Terms(Box<Terms>),
    /// The same as before: a strike.
    Unchanged,
    /// Nothing: the connection gives up.
    GiveUp,
}

impl Renegotiate {
    /// Offers follow `decide`. It is called in the middle of the connection's work: it must be quick and must not block.
    pub fn new(decide: impl Fn(&Disagreement) -> Renegotiation + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// What follows `disagreement`.
    pub fn decide(&self, disagreement: &Disagreement) -> Renegotiation {
        (self.0)(disagreement)
    }
}

impl fmt::Debug for Renegotiate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renegotiate(..)")
    }
}

/// What dials offer and say first, where it differs from what was configured. `Terms::default()` differs in nothing.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    subprotocols: Option<Vec<Box<str>>>,
    compression: Offering,
    ready: Option<Vec<ReadyStep>>,
}

/// Whether something is a part of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Offering {
    /// It is. The default.
    #[default]
    Offered,
    /// It is not.
    LeftOut,
}

impl Terms {
    /// Offers this subprotocol. The first one replaces all those of the target and of a request provider; more are less wanted than
    /// those before them.
    ///
    /// # Errors
    /// [`TargetError::Header`] for a name that is no token (RFC 6455 §4.1) or was given before.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, TargetError> {
        let names = self.subprotocols.get_or_insert_default();
        names.push(name.into());
        check_subprotocols(names)?;
        Ok(self)
    }

    /// Offers no subprotocol, but for those that [`subprotocol`](Self::subprotocol) adds after this; none is required then.
    #[must_use]
    pub fn without_subprotocols(mut self) -> Self {
        self.subprotocols = Some(Vec::new());
        self
    }

    /// Does not offer permessage-deflate.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.compression = Offering::LeftOut;
        self
    }

    /// Sends this text in the ready script. The first step replaces the whole script that was configured.
    /// `${next}` is 0 where the connection has no [`Resume`](crate::Resume).
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn ready(mut self, template: &str) -> Result<Self, TemplateError> {
        let step = ReadyStep::Send(Template::parse(template)?);
        self.ready.get_or_insert_default().push(step);
        Ok(self)
    }

    /// Waits at this point of the ready script for a reply.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        let step = ReadyStep::Expect(expect);
        self.ready.get_or_insert_default().push(step);
        self
    }

    /// Runs no ready script, but for the steps that are added after this.
    #[must_use]
    pub fn without_ready(mut self) -> Self {
        self.ready = Some(Vec::new());
        self
    }

    pub(crate) fn subprotocols(&self) -> Option<&[Box<str>]> {
        self.subprotocols.as_deref()
    }

    pub(crate) fn compression(&self) -> Offering {
        self.compression
    }

    pub(crate) fn ready_steps(&self) -> Option<&[ReadyStep]> {
        self.ready.as_deref()
    }

    /// The same script, with each step changed by `change`.
    #[must_use]
    pub fn map_ready(mut self, change: impl FnMut(ReadyStep) -> ReadyStep) -> Self {
        self.ready = self
            .ready
            .map(|steps| steps.into_iter().map(change).collect());
        self
    }
}

/// Replies that are recognised by different functions are different.
impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            subprotocols,
            compression,
            ready,
        } = self;
        let is_same_script = match (ready, &other.ready) {
            (None, None) => true,
            (Some(own), Some(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(a, b)| a.is_same(b))
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        *subprotocols == other.subprotocols && *compression == other.compression && is_same_script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Reply;

    #[test]
    fn each_kind_of_fault_has_its_close_code() {
        let codes = [
            (InvalidKind::Malformed, 1007),
            (InvalidKind::WrongType, 1003),
            (InvalidKind::Protocol, 1002),
            (InvalidKind::Policy, 1008),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.close_code().as_u16(), code, "{}", kind.name());
        }
        assert_eq!(Invalid::from("not JSON").kind, InvalidKind::Malformed);
    }

    #[test]
    fn terms_are_the_same_only_if_all_of_them_are() {
        let expect = Expect::new(|_| Reply::Other);
        let terms = || Terms::default().subprotocol("a").unwrap();
        let script = |text| terms().ready(text).unwrap().expect(expect.clone());
        assert_eq!(script("x"), script("x"));
        let others = [
            terms(),
            terms().ready("x").unwrap(),
            script("y"),
            script("x").without_compression(),
            script("x").subprotocol("b").unwrap(),
            terms().ready("x").unwrap().expect(Expect::contains("ok")),
        ];
        for other in others {
            assert_ne!(script("x"), other);
        }
    }

    #[test]
    fn terms_offer_no_subprotocol_that_a_request_cannot_name() {
        assert!(Terms::default().subprotocol("a b").is_err());
        let once = Terms::default().subprotocol("a").unwrap();
        assert!(once.subprotocol("a").is_err());
    }
}
