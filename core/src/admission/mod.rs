//! Who may dial, and who may hold how many bytes: what all shards of a process share.
//!
//! One [`Admission`] stands beside all the shards, usually behind a mutex, and is asked about dials and
//! about shares of the byte budget, never about single messages.
//!
//! A dial passes two gates. [`request`](Admission::request) waits, in order, for its host's turn, for
//! one of `connecting_max` places and, if it is a redial, for a token of its host's bucket; its grant
//! allows the host to be resolved. [`narrow`](Admission::narrow) then names the address, gives the place
//! back while it waits for that address's turn, so that nobody else waits for a slow server, and its
//! grant allows the transport to be connected. [`release`](Admission::release) ends both.

mod bucket;
mod bytes;
mod calls;
mod entries;
mod invariants;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::ids::ConnectionId;
use crate::time::Instant;
use bytes::ByteBudget;
use entries::{Address, Host, Place, Request};

pub use calls::{Answer, Calls};
pub use limits::AdmissionLimits;

/// The gates that all dials of a process pass, and its byte budget.
///
/// Nothing here reads a clock or wakes anybody: after every change, and at
/// [`poll_timeout`](Self::poll_timeout), call [`poll_grant`](Self::poll_grant) until it returns `None`.
/// Every operation is O(log n) in the number of dials that wait. First asked, first served, as far as the
/// limits allow: whoever cannot go lets those pass who can, and goes before them once it can. Hosts,
/// addresses and dials that are gone leave no memory behind.
#[derive(Clone, Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    /// The latest `now` of any call: time does not run backwards here.
    clock: Instant,
    requests_made: u64,
    requests: BTreeMap<RequestId, Request>,
    by_ticket: BTreeMap<Ticket, RequestId>,
    hosts: BTreeMap<Arc<str>, Host>,
    addresses: BTreeMap<SocketAddr, Address>,
    /// Requests that need nothing but one of `connecting_max` places: the first of each host and address.
    ready: BTreeSet<RequestId>,
    /// Hosts whose next request needs a token, by when there will be one.
    awaiting_token: BTreeSet<(Instant, Arc<str>)>,
    /// Hosts that nobody uses, by when their bucket is full again and they can be forgotten.
    unused: BTreeSet<(Instant, Arc<str>)>,
    connecting: u32,
    bytes: ByteBudget,
}

/// Names a connection across shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The shard that the connection lives on.
    pub shard: u32,
    /// The connection.
    pub connection: ConnectionId,
}

/// Names one request of a ticket. Later requests have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// What kind of dial is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dial {
    /// A connection's first: needs no token.
    First,
    /// One after a failure: needs a token of its host's bucket.
    Redial,
    /// One that replaces a healthy socket by plan: needs no token.
    Planned,
}

/// A dial may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Whose it is.
    pub ticket: Ticket,
    /// The request it answers. A grant that crosses with a release is recognised by it.
    pub request: RequestId,
    /// How far the dial may go.
    pub stage: Stage,
}

/// How far a dial may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The host may be resolved.
    Resolve,
    /// The transport may be connected to the address that was named last.
    Connect,
}

impl Admission {
    /// Nobody dials and nobody holds bytes.
    pub fn new(limits: AdmissionLimits) -> Self {
        let bytes = ByteBudget::new(limits.bytes_max.get());
        Self {
            limits,
            clock: Instant::ORIGIN,
            requests_made: 0,
            requests: BTreeMap::new(),
            by_ticket: BTreeMap::new(),
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            ready: BTreeSet::new(),
            awaiting_token: BTreeSet::new(),
            unused: BTreeSet::new(),
            connecting: 0,
            bytes,
        }
    }

    /// A connection to this host exists from now on, dialled or not: the host's redials may be so much
    /// quicker. Each call needs its [`leave`](Self::leave).
    pub fn join(&mut self, host: &Arc<str>) {
        let connections = &mut self.host_before_change(host).connections;
        *connections = connections.saturating_add(1);
        self.refresh_host(host);
    }

    /// A connection that [joined](Self::join) is no more.
    pub fn leave(&mut self, host: &Arc<str>) {
        let connections = &mut self.host_before_change(host).connections;
        debug_assert!(
            *connections > 0,
            "a connection to {host} leaves that never joined"
        );
        *connections = connections.saturating_sub(1);
        self.refresh_host(host);
    }

    /// Asks for a dial to `host`, which is a name and a port. A request that the ticket made before is
    /// released.
    pub fn request(
        &mut self,
        now: Instant,
        ticket: Ticket,
        host: &Arc<str>,
        dial: Dial,
    ) -> RequestId {
        self.release(now, ticket);
        self.requests_made += 1;
        let id = RequestId(self.requests_made);
        self.by_ticket.insert(ticket, id);
        let request = Request {
            ticket,
            host: Arc::clone(host),
            place: Place::AwaitingHost(dial),
        };
        self.requests.insert(id, request);
        self.host_before_change(host).lane(dial).insert(id);
        self.refresh_host(host);
        id
    }

    /// Names the address that the ticket's dial goes to, once it may resolve: one connection in
    /// CONNECTING state per IP address and port, whatever the name (RFC 6455 §4.1). May be called again
    /// for the next address, which gives the last one free.
    ///
    /// Does nothing if the ticket has no request that was granted.
    pub fn narrow(&mut self, now: Instant, ticket: Ticket, address: SocketAddr) {
        self.observe(now);
        let Some((id, place)) = self.find(ticket) else {
            return;
        };
        match place {
            Place::AwaitingHost(_) => return,
            Place::Resolving => self.connecting -= 1,
            Place::AwaitingAddress(old) => self.leave_queue(id, old),
            Place::Connecting(old) => self.leave_address(old),
        }
        let address = canonical(address);
        self.set_place(id, Place::AwaitingAddress(address));
        self.addresses
            .entry(address)
            .or_default()
            .waiting
            .insert(id);
        self.refresh_address(address);
    }

    /// The ticket's dial has been established, has failed or is no longer wanted, at whatever stage.
    /// Does nothing if there is none.
    pub fn release(&mut self, now: Instant, ticket: Ticket) {
        self.observe(now);
        let Some((id, place)) = self.find(ticket) else {
            return;
        };
        self.by_ticket.remove(&ticket);
        let request = self
            .requests
            .remove(&id)
            .expect("a ticket names a request that exists");
        match place {
            Place::AwaitingHost(_) => {}
            Place::Resolving => self.connecting -= 1,
            Place::AwaitingAddress(address) => self.leave_queue(id, address),
            Place::Connecting(address) => self.leave_address(address),
        }
        let host = self.host_before_change(&request.host);
        match place {
            Place::AwaitingHost(dial) => {
                host.lane(dial).remove(&id);
            }
            Place::Resolving | Place::AwaitingAddress(_) | Place::Connecting(_) => {
                host.dialling -= 1;
            }
        }
        self.refresh_host(&request.host);
    }

    /// The next dial that may go on.
    pub fn poll_grant(&mut self, now: Instant) -> Option<Grant> {
        self.observe(now);
        self.pass_time();
        if self.connecting >= self.limits.connecting_max.get() {
            return None;
        }
        let id = *self.ready.first()?;
        self.connecting += 1;
        let request = self.request_mut(id);
        let ticket = request.ticket;
        let stage = match request.place {
            Place::AwaitingHost(dial) => {
                request.place = Place::Resolving;
                let host = Arc::clone(&request.host);
                self.begin_dial(&host, id, dial);
                Stage::Resolve
            }
            Place::AwaitingAddress(address) => {
                request.place = Place::Connecting(address);
                let entry = self.address_mut(address);
                entry.waiting.remove(&id);
                entry.connecting += 1;
                self.refresh_address(address);
                Stage::Connect
            }
            Place::Resolving | Place::Connecting(_) => {
                unreachable!("what was granted is ready no more")
            }
        };
        Some(Grant {
            ticket,
            request: id,
            stage,
        })
    }

    /// When [`poll_grant`](Self::poll_grant) may have something although nothing changed: when a bucket
    /// has a token for a redial that waits. Later than `now` once `poll_grant` has returned `None`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.awaiting_token.first().map(|(at, _)| *at)
    }

    /// Takes up to `wanted` bytes of the budget for a shard, and returns how many it got. If that is
    /// none, the shard waits, in order, for [`poll_refill`](Self::poll_refill); asking again while it
    /// waits changes only how many it wants.
    pub fn take_bytes(&mut self, shard: u32, wanted: u64) -> u64 {
        self.bytes.take(shard, wanted)
    }

    /// Gives back bytes that the shard took.
    pub fn give_bytes(&mut self, shard: u32, bytes: u64) {
        self.bytes.give(shard, bytes);
    }

    /// Gives back everything that a shard took, and withdraws what it waits for: it has ended.
    pub fn give_all_bytes(&mut self, shard: u32) {
        self.bytes.give_all(shard);
    }

    /// A shard that waited and how many bytes it gets. Call until `None` after bytes were given back.
    pub fn poll_refill(&mut self) -> Option<(u32, u64)> {
        self.bytes.poll_refill()
    }

    /// The limits.
    pub fn limits(&self) -> &AdmissionLimits {
        &self.limits
    }

    /// Dials in progress: those that count towards `connecting_max`.
    pub fn connecting(&self) -> u32 {
        self.connecting
    }

    /// Requests that wait for something.
    pub fn waiting(&self) -> usize {
        self.requests.len() - self.connecting as usize
    }

    /// Bytes of the budget that the shards hold together.
    pub fn bytes_held(&self) -> u64 {
        self.bytes.held_in_all()
    }

    fn observe(&mut self, now: Instant) {
        self.clock = self.clock.max(now);
    }

    /// Does what only needed time.
    fn pass_time(&mut self) {
        while let Some((_, host)) = first_due(&self.awaiting_token, self.clock) {
            self.refresh_host(&host);
        }
        while let Some(entry) = first_due(&self.unused, self.clock) {
            self.unused.remove(&entry);
            self.hosts.remove(&entry.1);
        }
    }

    fn begin_dial(&mut self, host: &Arc<str>, id: RequestId, dial: Dial) {
        let limits = self.limits;
        let entry = self.host_before_change(host);
        entry.lane(dial).remove(&id);
        entry.dialling += 1;
        match dial {
            Dial::Redial => entry.bucket.take(&limits),
            Dial::First | Dial::Planned => {}
        }
        self.refresh_host(host);
    }

    fn leave_queue(&mut self, id: RequestId, address: SocketAddr) {
        self.address_mut(address).waiting.remove(&id);
        self.ready.remove(&id);
        self.refresh_address(address);
    }

    fn leave_address(&mut self, address: SocketAddr) {
        self.connecting -= 1;
        self.address_mut(address).connecting -= 1;
        self.refresh_address(address);
    }

    /// The host's entry with its bucket filled at the rate that held until now. What is changed in it
    /// must be followed by [`refresh_host`](Self::refresh_host).
    fn host_before_change(&mut self, host: &Arc<str>) -> &mut Host {
        let (limits, clock) = (&self.limits, self.clock);
        let entry = self
            .hosts
            .entry(Arc::clone(host))
            .or_insert_with(|| Host::new(limits, clock));
        entry.bucket.fill(limits, clock, entry.connections);
        entry
    }

    /// Decides anew which request of the host is next, and what it waits for.
    fn refresh_host(&mut self, host: &Arc<str>) {
        let clock = self.clock;
        let limits = &self.limits;
        let entry = self
            .hosts
            .get_mut(host)
            .expect("a host is refreshed only while it has an entry");
        entry.bucket.fill(limits, clock, entry.connections);
        if let Some(id) = entry.next.take() {
            self.ready.remove(&id);
        }
        if let Some(at) = entry.token_at.take() {
            self.awaiting_token.remove(&(at, Arc::clone(host)));
        }
        if let Some(at) = entry.unused_until.take() {
            self.unused.remove(&(at, Arc::clone(host)));
        }
        if entry.dialling < limits.connecting_per_address_max.get() {
            let exempt = entry.exempt.first().copied();
            let redial = entry.redials.first().copied();
            let redial_is_first = match (exempt, redial) {
                (Some(exempt), Some(redial)) => redial < exempt,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if !redial_is_first {
                entry.next = exempt;
            } else if entry.bucket.has_token(limits) {
                entry.next = redial;
            } else {
                // Those who need no token pass meanwhile.
                entry.next = exempt;
                entry.token_at = Some(entry.bucket.token_at(limits, entry.connections));
            }
        }
        if let Some(id) = entry.next {
            self.ready.insert(id);
        }
        if let Some(at) = entry.token_at {
            self.awaiting_token.insert((at, Arc::clone(host)));
        }
        if entry.is_unused() {
            let at = entry.bucket.full_at(limits, 0);
            if at.is_due(clock) {
                self.hosts.remove(host);
            } else {
                entry.unused_until = Some(at);
                self.unused.insert((at, Arc::clone(host)));
            }
        }
    }

    /// Decides anew which request for the address is next.
    fn refresh_address(&mut self, address: SocketAddr) {
        let connecting_max = self.limits.connecting_per_address_max.get();
        let entry = self.address_mut(address);
        let last = entry.next.take();
        if entry.connecting < connecting_max {
            entry.next = entry.waiting.first().copied();
        }
        let next = entry.next;
        if entry.connecting == 0 && entry.waiting.is_empty() {
            self.addresses.remove(&address);
        }
        if let Some(id) = last {
            self.ready.remove(&id);
        }
        if let Some(id) = next {
            self.ready.insert(id);
        }
    }

    fn find(&self, ticket: Ticket) -> Option<(RequestId, Place)> {
        let id = *self.by_ticket.get(&ticket)?;
        self.requests.get(&id).map(|request| (id, request.place))
    }

    fn set_place(&mut self, id: RequestId, place: Place) {
        self.request_mut(id).place = place;
    }

    fn request_mut(&mut self, id: RequestId) -> &mut Request {
        self.requests
            .get_mut(&id)
            .expect("tickets, queues and places name requests that exist")
    }

    fn address_mut(&mut self, address: SocketAddr) -> &mut Address {
        self.addresses
            .get_mut(&address)
            .expect("an address that a request is at has an entry")
    }
}

/// The first entry whose time has come; `FAR_FUTURE` is no time that comes.
fn first_due(entries: &BTreeSet<(Instant, Arc<str>)>, now: Instant) -> Option<(Instant, Arc<str>)> {
    entries
        .first()
        .filter(|(at, _)| at.is_due(now) && *at != Instant::FAR_FUTURE)
        .cloned()
}

/// One way to write each address: an IPv4 address inside IPv6 is the same server.
fn canonical(address: SocketAddr) -> SocketAddr {
    match (address, address.ip().to_canonical()) {
        (SocketAddr::V6(_), ip @ IpAddr::V4(_)) => SocketAddr::new(ip, address.port()),
        (SocketAddr::V6(mut v6), IpAddr::V6(_)) => {
            v6.set_flowinfo(0);
            SocketAddr::V6(v6)
        }
        (SocketAddr::V4(_), _) => address,
    }
}

#[cfg(test)]
mod tests;
