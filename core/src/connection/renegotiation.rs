//! What dials offer after a server was not understood.

use std::sync::Arc;

use crate::event::EventKind;
use crate::hooks::ReadyStep;
use crate::reason::CloseReason;
use crate::renegotiate::{Disagreement, Invalid, Offering, Renegotiation, Terms};
use crate::settings::Config;
use crate::websocket::deflate::Agreement;
use crate::websocket::{Accepted, UpgradeError};

use super::{Connection, History};

/// So many new offers in a row are no strikes.
const FREE_OFFERS_MAX: u32 = 64;

/// How the present offer differs from what was configured.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    /// What the application chose.
    terms: Option<Box<Terms>>,
    /// The subprotocols that led to a disagreement.
    left_out: Vec<Box<str>>,
    compression: Offering,
    /// New offers since the two sides last agreed.
    free_offers: u32,
}

/// What a session was opened with, as far as a disagreement may change it.
#[derive(Debug, Default)]
pub(super) struct Agreed {
    /// The target's list, or the request provider's.
    configured: Vec<Box<str>>,
    subprotocol: Option<Box<str>>,
    compression: Option<Agreement>,
}

/// What an end means for the offer.
pub(super) enum Renegotiated {
    /// Nothing.
    Unchanged,
    /// The next dial offers something new: no strike.
    Anew(EventKind),
    /// The next dial offers what was configured, or once more something new: a strike.
    StartsOver(EventKind),
    GiveUp,
}

impl Agreed {
    /// What is worth remembering of a session: nothing if no disagreement could change a thing.
    pub(super) fn new(configured: Vec<Box<str>>, accepted: &Accepted) -> Option<Box<Self>> {
        let is_worth_it = !configured.is_empty() || accepted.deflate.is_some();
        is_worth_it.then(|| {
            Box::new(Self {
                configured,
                subprotocol: accepted.subprotocol.clone(),
                compression: accepted.deflate,
            })
        })
    }
}

impl Negotiation {
    /// What is offered where the target or the request provider has this list.
    pub(super) fn subprotocols(&self, configured: &[Box<str>]) -> Vec<Box<str>> {
        let base = self.base(configured);
        let kept = base.iter().filter(|name| !self.left_out.contains(name));
        let offer: Vec<_> = kept.cloned().collect();
        // A request provider may have changed its list meanwhile.
        if offer.is_empty() {
            base.to_vec()
        } else {
            offer
        }
    }

    pub(super) fn compression(&self) -> Offering {
        match (self.compression, &self.terms) {
            (Offering::Offered, Some(terms)) => terms.compression(),
            (own, _) => own,
        }
    }

    fn base<'a>(&'a self, configured: &'a [Box<str>]) -> &'a [Box<str>] {
        let chosen = self.terms.as_ref().and_then(|terms| terms.subprotocols());
        chosen.unwrap_or(configured)
    }

    fn is_as_configured(&self) -> bool {
        self.terms.is_none() && self.left_out.is_empty() && self.compression == Offering::Offered
    }

    /// Leaves out what was agreed and did not help; false if there is nothing left to leave out.
    fn walk(&mut self, agreed: &Agreed) -> bool {
        let base = self.base(&agreed.configured).to_vec();
        self.left_out.retain(|name| base.contains(name));
        if let Some(failed) = &agreed.subprotocol {
            let left_out = &self.left_out;
            if base
                .iter()
                .any(|name| name != failed && !left_out.contains(name))
            {
                self.left_out.push(failed.clone());
                return true;
            }
        }
        if agreed.compression.is_some() {
            self.compression = Offering::LeftOut;
            self.left_out.clear();
            return true;
        }
        false
    }

    /// Offers what the application chose; false if that was offered just now.
    fn choose(&mut self, terms: Box<Terms>) -> bool {
        let is_walked = !self.left_out.is_empty() || self.compression == Offering::LeftOut;
        let is_same = match &self.terms {
            Some(present) => *present == terms,
            None => *terms == Terms::default(),
        };
        *self = Self {
            terms: Some(terms),
            free_offers: self.free_offers,
            ..Self::default()
        };
        is_walked || !is_same
    }

    /// Offers what was configured; false if it did already.
    fn start_over(&mut self) -> bool {
        let is_new = !self.is_as_configured();
        *self = Self {
            free_offers: self.free_offers,
            ..Self::default()
        };
        is_new
    }
}

impl Connection {
    /// A session begins that was opened so.
    pub(super) fn remember(&mut self, agreed: Option<Box<Agreed>>) {
        match (&mut self.history, agreed) {
            (Some(history), agreed) => history.agreed = agreed,
            (None, None) => {}
            (None, agreed) => self.history.get_or_insert_default().agreed = agreed,
        }
    }

    /// Decides what the next dial offers after this end.
    pub(super) fn renegotiate(&mut self, reason: &CloseReason) -> Renegotiated {
        if let CloseReason::InvalidMessages(invalid) = reason {
            return self.disagreed(invalid);
        }
        let is_refusal = match reason {
            CloseReason::Upgrade(UpgradeError::Status(refusal)) => refusal.status == 400,
            CloseReason::SubprotocolMissing => true,
            CloseReason::Upgrade(_)
            | CloseReason::InvalidMessages(_)
            | CloseReason::Local
            | CloseReason::Peer(_)
            | CloseReason::Protocol(_)
            | CloseReason::Transport(_)
            | CloseReason::Tls(_)
            | CloseReason::Resolve(_)
            | CloseReason::Ready(_)
            | CloseReason::Provider(_)
            | CloseReason::Timeout(_) => false,
        };
        let is_new = is_refusal && self.negotiation_mut().is_some_and(Negotiation::start_over);
        match is_new {
            true => Renegotiated::StartsOver(self.renegotiating(self.target.subprotocols())),
            false => Renegotiated::Unchanged,
        }
    }

    fn disagreed(&mut self, invalid: &Invalid) -> Renegotiated {
        let history = self.history.get_or_insert_default();
        let counts = history.invalid.take();
        let agreed = &*history.agreed.take().unwrap_or_default();
        let config = Arc::clone(&self.config);
        let choice = config.hooks().renegotiate.as_ref().map(|hook| {
            let offered = match self.negotiation() {
                Some(negotiation) => negotiation.subprotocols(&agreed.configured),
                None => agreed.configured.clone(),
            };
            hook.decide(&Disagreement {
                endpoint: self.endpoint_shown(),
                generation: self.generation,
                invalid: invalid.clone(),
                counts,
                offered,
                subprotocol: agreed.subprotocol.clone(),
                compression: agreed.compression,
            })
        });
        let history = self.history.get_or_insert_default();
        let negotiation = history.negotiation.get_or_insert_default();
        let is_new = match choice.unwrap_or_default() {
            Renegotiation::Walk if negotiation.walk(agreed) => true,
            Renegotiation::Walk => {
                return match negotiation.start_over() {
                    true => Renegotiated::StartsOver(self.renegotiating(&agreed.configured)),
                    false => Renegotiated::Unchanged,
                };
            }
            Renegotiation::Terms(terms) => negotiation.choose(terms),
            Renegotiation::Unchanged => false,
            Renegotiation::GiveUp => return Renegotiated::GiveUp,
        };
        if !is_new {
            return Renegotiated::Unchanged;
        }
        negotiation.free_offers = negotiation.free_offers.saturating_add(1);
        let is_free = negotiation.free_offers <= FREE_OFFERS_MAX;
        let event = self.renegotiating(&agreed.configured);
        match is_free {
            true => Renegotiated::Anew(event),
            false => Renegotiated::StartsOver(event),
        }
    }

    fn renegotiating(&self, configured: &[Box<str>]) -> EventKind {
        let subprotocols = match self.negotiation() {
            Some(negotiation) => negotiation.subprotocols(configured),
            None => configured.to_vec(),
        };
        EventKind::Renegotiating {
            subprotocols,
            compression: self.compression_offered(),
        }
    }

    /// The two sides understood each other for long enough.
    pub(super) fn understood(&mut self) {
        if let Some(negotiation) = self.negotiation_mut() {
            negotiation.free_offers = 0;
        }
    }

    /// From here on dials offer what was configured, and invalid messages are counted anew.
    pub(super) fn forget_disagreements(&mut self) {
        if let Some(history) = &mut self.history {
            history.negotiation = None;
            history.invalid.take();
        }
    }

    /// Whether the next dial offers permessage-deflate.
    pub(super) fn compression_offered(&self) -> Offering {
        match (&self.settings().deflate, self.negotiation()) {
            (None, _) => Offering::LeftOut,
            (Some(_), Some(negotiation)) => negotiation.compression(),
            (Some(_), None) => Offering::Offered,
        }
    }

    pub(super) fn negotiation(&self) -> Option<&Negotiation> {
        self.history.as_ref()?.negotiation.as_deref()
    }

    fn negotiation_mut(&mut self) -> Option<&mut Negotiation> {
        self.history.as_mut()?.negotiation.as_deref_mut()
    }
}

/// The ready script of the present offer.
pub(super) fn ready_steps<'a>(config: &'a Config, history: Option<&'a History>) -> &'a [ReadyStep] {
    let terms = history.and_then(|history| history.negotiation.as_ref()?.terms.as_deref());
    terms
        .and_then(Terms::ready_steps)
        .unwrap_or(&config.hooks().ready)
}
