//! How a connection stands at one moment.

use std::sync::Arc;

use ropewalk_core::{Counters, State};

/// How a connection stands at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The connection's name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// Its counters, in which both conservation laws hold.
    pub counters: Counters,
}
