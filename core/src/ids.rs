//! Names of connections and sockets.

use std::fmt;

/// Names a connection of a set. Generational: an id is never valid again once its connection is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// The slot, small and dense, for use as an index. Reused after the connection is removed.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How often the slot was used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Names one socket: a connection's dial. Inputs that name a socket which the connection has given up
/// are ignored and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// The connection that dialled it.
    pub connection: ConnectionId,
    /// The connection's dials are numbered from 1; this is the generation that events and batches carry.
    pub generation: u32,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.connection, self.generation)
    }
}
