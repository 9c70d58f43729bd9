//! The driver's suite on this runtime.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

suite::tests!(ropewalk_smol::Smol, crate::block_on);

#[cfg(target_os = "linux")]
#[test]
fn connections_outlive_what_watched_them() {
    block_on(suite::connections_outlive_what_watched_them::<
        ropewalk_smol::Smol,
    >());
}

#[cfg(target_os = "linux")]
#[test]
fn what_wakes_a_shard_is_looked_at_whatever_its_watch_says() {
    block_on(
        suite::what_wakes_a_shard_is_looked_at_whatever_its_watch_says::<ropewalk_smol::Smol>(),
    );
}

/// As where there is no epoll.
mod sockets_one_by_one {
    type Smol = crate::suite::OneByOne<ropewalk_smol::Smol>;

    crate::suite::tests!(Smol, crate::block_on);
}

fn block_on<F: Future>(future: F) -> F::Output {
    smol::block_on(future)
}
