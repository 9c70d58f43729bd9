//! What the unit tests share.

use std::sync::Arc;

use ropewalk_core::{Config, ConnectionId, ConnectionSet, Consumer, Instant, Seed, Target};

/// The id of some connection.
pub(crate) fn any_id() -> ConnectionId {
    let mut set = ConnectionSet::new(Seed::for_tests(1));
    let target = Target::parse("ws://test/").unwrap();
    set.insert(
        Instant::ORIGIN,
        target,
        Arc::new(Config::default()),
        Consumer::Pull,
    )
}
