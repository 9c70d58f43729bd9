//! What must hold between calls, however the limits are set.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Admission, Dial, Place};

impl Admission {
    /// Panics if a limit is broken or the bookkeeping does not agree with itself. For tests: O(n).
    pub fn check_invariants(&self) {
        self.check_counts();
        self.check_hosts();
        self.check_addresses();
        self.bytes.check_invariants();
    }

    fn check_counts(&self) {
        let connecting = self.count(|place| match place {
            Place::Resolving | Place::Connecting(_) => true,
            Place::AwaitingHost(_) | Place::AwaitingAddress(_) => false,
        });
        assert_eq!(connecting, self.connecting as usize);
        assert!(self.connecting <= self.limits.connecting_max.get());
        assert_eq!(self.by_ticket.len(), self.requests.len());
        for (ticket, id) in &self.by_ticket {
            assert_eq!(self.requests[id].ticket, *ticket);
        }
        let next: BTreeSet<_> = self
            .hosts
            .values()
            .filter_map(|host| host.next)
            .chain(self.addresses.values().filter_map(|address| address.next))
            .collect();
        assert_eq!(next, self.ready, "who is next is ready, and nobody else");
    }

    fn check_hosts(&self) {
        let per_host_max = self.limits.connecting_per_address_max.get();
        for (name, host) in &self.hosts {
            let here = |id: &_| Arc::as_ref(&self.requests[id].host) == &**name;
            assert!(host.exempt.iter().chain(&host.redials).all(here));
            let dialling = self.requests.values().filter(|request| {
                request.host == *name && !matches!(request.place, Place::AwaitingHost(_))
            });
            assert_eq!(dialling.count(), host.dialling as usize);
            assert!(host.dialling <= per_host_max);
            assert_eq!(
                host.is_unused(),
                host.unused_until.is_some(),
                "empties are freed"
            );
        }
        for (lane, dials) in [
            (
                self.hosts.values().map(|host| host.exempt.len()).sum(),
                &[Dial::First, Dial::Planned][..],
            ),
            (
                self.hosts.values().map(|host| host.redials.len()).sum(),
                &[Dial::Redial],
            ),
        ] {
            let waiting = self.count(|place| match place {
                Place::AwaitingHost(dial) => dials.contains(&dial),
                Place::Resolving | Place::AwaitingAddress(_) | Place::Connecting(_) => false,
            });
            let lane: usize = lane;
            assert_eq!(lane, waiting, "who waits for a host is in its queue");
        }
        let timed = self.hosts.values().filter(|host| host.token_at.is_some());
        assert_eq!(timed.count(), self.awaiting_token.len());
        let unused = self
            .hosts
            .values()
            .filter(|host| host.unused_until.is_some());
        assert_eq!(unused.count(), self.unused.len());
    }

    fn check_addresses(&self) {
        for (address, entry) in &self.addresses {
            assert!(
                entry.connecting > 0 || !entry.waiting.is_empty(),
                "empties are freed"
            );
            assert!(entry.connecting <= self.limits.connecting_per_address_max.get());
            let connecting = self.count(|place| place == Place::Connecting(*address));
            assert_eq!(connecting, entry.connecting as usize);
            let waiting = self.count(|place| place == Place::AwaitingAddress(*address));
            assert_eq!(waiting, entry.waiting.len());
        }
    }

    fn count(&self, mut is_counted: impl FnMut(Place) -> bool) -> usize {
        self.requests
            .values()
            .filter(|request| is_counted(request.place))
            .count()
    }
}
