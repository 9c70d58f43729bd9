//! What a shard keeps of a connection beside its protocol.

use std::sync::Arc;

use ropewalk_core::admission::RequestId;
use ropewalk_core::{ConnectionId, SocketId};

use super::outcomes::Outcomes;
use super::processing::Pending;
use super::redriving::Redriven;
use crate::application::{Provide, Transport};
use crate::link::Link;
use crate::scoped::Scoped;

/// A connection, as its shard knows it.
pub(super) struct Member {
    pub(super) id: ConnectionId,
    pub(super) link: Arc<Link>,
    /// What the application does for each attempt, if it does anything.
    pub(super) helper: Option<Box<Helper>>,
    /// What was begun for the processor, or is to be; it ends with the connection.
    pub(super) pending: Option<Box<Pending>>,
    pub(super) resolving: Option<u32>,
    /// The latest request to the admission; answers to earlier ones are stale.
    pub(super) request: Option<RequestId>,
    pub(super) sockets: Sockets,
    pub(super) outcomes: Outcomes,
    /// Outbound letters that are being sent again.
    pub(super) redriven: Option<Box<Redriven>>,
}

/// There is one for each connection, idle ones included.
const _: () = assert!(size_of::<Option<Member>>() <= 128);

/// The application's part in a connection's attempts.
pub(super) struct Helper {
    pub(super) provide: Option<Provide>,
    pub(super) transport: Option<Transport>,
    pub(super) providing: Option<Scoped>,
}

/// The places of a connection's sockets, dials included: rarely more than one.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    first: Option<Placed>,
    #[allow(
        clippy::box_collection,
        reason = "eight bytes in every connection, not 24"
    )]
    others: Option<Box<Vec<Placed>>>,
}

/// The generation of a socket, and its place.
type Placed = (u32, u32);

impl Helper {
    /// What there is to keep, if anything.
    pub(super) fn new(provide: Option<Provide>, transport: Option<Transport>) -> Option<Box<Self>> {
        let helper = Self {
            provide,
            transport,
            providing: None,
        };
        (helper.provide.is_some() || helper.transport.is_some()).then(|| Box::new(helper))
    }
}

impl Sockets {
    pub(super) fn insert(&mut self, socket: SocketId, place: u32) {
        let placed = (socket.generation, place);
        match self.first {
            None => self.first = Some(placed),
            Some(_) => self.others.get_or_insert_default().push(placed),
        }
    }

    /// Forgets a socket; returns its place.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<u32> {
        let is_it = |placed: &mut Placed| placed.0 == socket.generation;
        if let Some((_, place)) = self.first.take_if(is_it) {
            return Some(place);
        }
        let others = self.others.as_mut()?;
        let at = others
            .iter()
            .position(|(generation, _)| *generation == socket.generation)?;
        let (_, place) = others.swap_remove(at);
        if others.is_empty() {
            self.others = None;
        }
        Some(place)
    }

    pub(super) fn place_of(&self, socket: SocketId) -> Option<u32> {
        let mut all = self.iter();
        let found = all.find(|(generation, _)| *generation == socket.generation);
        found.map(|(_, place)| place)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        self.iter().map(|(_, place)| place)
    }

    fn iter(&self) -> impl Iterator<Item = Placed> {
        let others = self.others.iter().flat_map(|others| others.iter());
        self.first.iter().chain(others).copied()
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_core::{Config, ConnectionSet, Consumer, Instant, Seed, Target};

    use super::*;

    #[test]
    fn each_socket_is_found_where_it_was_put_until_it_is_removed() {
        let mut set = ConnectionSet::new(Seed::for_tests(1));
        let target = Target::parse("ws://example.com/").unwrap();
        let config = Arc::new(Config::default());
        let connection = set.insert(Instant::ORIGIN, target, config, Consumer::Pull);
        let socket = |generation| SocketId {
            connection,
            generation,
        };
        // Whichever goes first, the others stay.
        for first_gone in 1..=3 {
            let mut sockets = Sockets::default();
            for generation in 1..=3 {
                assert_eq!(sockets.place_of(socket(generation)), None);
                sockets.insert(socket(generation), 10 * generation);
            }
            for gone in (first_gone..=3).chain(1..first_gone) {
                assert_eq!(sockets.place_of(socket(gone)), Some(10 * gone));
                assert_eq!(sockets.remove(socket(gone)), Some(10 * gone));
                assert_eq!(sockets.remove(socket(gone)), None);
                assert_eq!(sockets.place_of(socket(gone)), None);
            }
            assert_eq!(sockets.places().count(), 0);
            assert!(sockets.others.is_none());
            sockets.insert(socket(4), 40);
            assert!(sockets.others.is_none());
            assert_eq!(sockets.places().collect::<Vec<_>>(), [40]);
        }
    }
}
