//! Admission as one list in order of asking, searched from its start each time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::{AdmissionLimits, Dial, Stage, Ticket};

pub(super) struct Model {
    limits: AdmissionLimits,
    list: Vec<Entry>,
    /// Connections, and the level in 1 / (10⁹ × divisor) of a token.
    hosts: BTreeMap<Arc<str>, (u128, u128)>,
}

struct Entry {
    ticket: Ticket,
    host: Arc<str>,
    dial: Dial,
    has_resolved: bool,
    address: Option<SocketAddr>,
    is_connecting: bool,
}

impl Model {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            list: Vec::new(),
            hosts: BTreeMap::new(),
        }
    }

    pub(super) fn join(&mut self, host: &Arc<str>) {
        self.host(host).0 += 1;
    }

    pub(super) fn leave(&mut self, host: &Arc<str>) {
        self.host(host).0 -= 1;
    }

    pub(super) fn request(&mut self, ticket: Ticket, host: &Arc<str>, dial: Dial) {
        self.release(ticket);
        self.host(host);
        self.list.push(Entry {
            ticket,
            host: Arc::clone(host),
            dial,
            has_resolved: false,
            address: None,
            is_connecting: false,
        });
    }

    pub(super) fn narrow(&mut self, ticket: Ticket, address: SocketAddr) {
        if let Some(entry) = self.list.iter_mut().find(|entry| entry.ticket == ticket)
            && entry.has_resolved
        {
            entry.address = Some(address);
            entry.is_connecting = false;
        }
    }

    pub(super) fn release(&mut self, ticket: Ticket) {
        self.list.retain(|entry| entry.ticket != ticket);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let divisor = u128::from(self.limits.redial_divisor.get());
        let least = u128::from(self.limits.redial_rate_min.get()) * divisor;
        let full = self.token() * u128::from(self.limits.redial_burst.get());
        for (connections, level) in self.hosts.values_mut() {
            *level = (*level + time.as_nanos() * least.max(*connections)).min(full);
        }
    }

    pub(super) fn grant(&mut self) -> Option<(Ticket, Stage)> {
        if self.connecting() >= self.limits.connecting_max.get() as usize {
            return None;
        }
        let index = (0..self.list.len()).find(|index| self.may_go(*index))?;
        let token = self.token();
        let entry = &mut self.list[index];
        if entry.has_resolved {
            entry.is_connecting = true;
            return Some((entry.ticket, Stage::Connect));
        }
        entry.has_resolved = true;
        if entry.dial == Dial::Redial {
            let host = self.hosts.get_mut(&entry.host).expect("it asked");
            host.1 -= token;
        }
        Some((entry.ticket, Stage::Resolve))
    }

    /// How long until somebody who lacks nothing else, as long as nobody before them can go, has a token.
    pub(super) fn next_token(&self) -> Option<Duration> {
        let divisor = u128::from(self.limits.redial_divisor.get());
        let least = u128::from(self.limits.redial_rate_min.get()) * divisor;
        let mut waits = Vec::new();
        for (host, (connections, level)) in &self.hosts {
            let first = self
                .list
                .iter()
                .find(|entry| entry.host == *host && !entry.has_resolved);
            // Behind one that needs no token nobody is waited for.
            let Some(entry) = first else { continue };
            if entry.dial != Dial::Redial || self.is_busy(host) || *level >= self.token() {
                continue;
            }
            let missing = self.token() - level;
            let nanos = missing.div_ceil(least.max(*connections));
            waits.push(Duration::from_nanos(
                u64::try_from(nanos).expect("it is short"),
            ));
        }
        waits.into_iter().min()
    }

    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        self.list
            .iter()
            .any(|entry| entry.ticket == ticket && entry.has_resolved)
    }

    pub(super) fn connecting(&self) -> usize {
        let counts =
            |entry: &&Entry| entry.has_resolved && (entry.address.is_none() || entry.is_connecting);
        self.list.iter().filter(counts).count()
    }

    pub(super) fn waiting(&self) -> usize {
        self.list.len() - self.connecting()
    }

    fn may_go(&self, index: usize) -> bool {
        let entry = &self.list[index];
        if entry.has_resolved {
            let Some(address) = entry.address else {
                return false;
            };
            let same = |other: &&Entry| other.is_connecting && other.address == Some(address);
            let busy = self.list.iter().filter(same).count();
            return !entry.is_connecting
                && busy < self.limits.connecting_per_address_max.get() as usize;
        }
        let has_token = entry.dial != Dial::Redial || self.hosts[&entry.host].1 >= self.token();
        has_token && !self.is_busy(&entry.host)
    }

    fn is_busy(&self, host: &Arc<str>) -> bool {
        let dialling = |entry: &&Entry| entry.host == *host && entry.has_resolved;
        let count = self.list.iter().filter(dialling).count();
        count >= self.limits.connecting_per_address_max.get() as usize
    }

    fn token(&self) -> u128 {
        1_000_000_000 * u128::from(self.limits.redial_divisor.get())
    }

    fn host(&mut self, host: &Arc<str>) -> &mut (u128, u128) {
        let full = self.token() * u128::from(self.limits.redial_burst.get());
        self.hosts.entry(Arc::clone(host)).or_insert((0, full))
    }
}
