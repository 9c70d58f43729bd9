//! What admission knows of a request, a host and an address.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bucket::Bucket;
use super::{AdmissionLimits, Dial, RequestId, Ticket};
use crate::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) host: Arc<str>,
    pub(super) place: Place,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    AwaitingHost(Dial),
    Resolving,
    AwaitingAddress(SocketAddr),
    Connecting(SocketAddr),
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) connections: u32,
    /// Dials that were granted and not released.
    pub(super) dialling: u32,
    /// Requests that wait for the host and need no token.
    pub(super) exempt: BTreeSet<RequestId>,
    /// Requests that wait for the host and need one.
    pub(super) redials: BTreeSet<RequestId>,
    pub(super) bucket: Bucket,
    /// The one of them that is in `ready`.
    pub(super) next: Option<RequestId>,
    /// The entry in `awaiting_token`.
    pub(super) token_at: Option<Instant>,
    /// The entry in `unused`.
    pub(super) unused_until: Option<Instant>,
}

impl Host {
    pub(super) fn new(limits: &AdmissionLimits, now: Instant) -> Self {
        Self {
            connections: 0,
            dialling: 0,
            exempt: BTreeSet::new(),
            redials: BTreeSet::new(),
            bucket: Bucket::full(limits, now),
            next: None,
            token_at: None,
            unused_until: None,
        }
    }

    pub(super) fn lane(&mut self, dial: Dial) -> &mut BTreeSet<RequestId> {
        match dial {
            Dial::First | Dial::Planned => &mut self.exempt,
            Dial::Redial => &mut self.redials,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.connections == 0
            && self.dialling == 0
            && self.exempt.is_empty()
            && self.redials.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    pub(super) connecting: u32,
    pub(super) waiting: BTreeSet<RequestId>,
    /// The one of them that is in `ready`.
    pub(super) next: Option<RequestId>,
}
