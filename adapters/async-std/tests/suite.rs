//! The driver's suite on this runtime.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

suite::tests!(ropewalk_async_std::AsyncStd, crate::block_on);

#[cfg(target_os = "linux")]
#[test]
fn connections_outlive_what_watched_them() {
    block_on(suite::connections_outlive_what_watched_them::<
        ropewalk_async_std::AsyncStd,
    >());
}

#[cfg(target_os = "linux")]
#[test]
fn what_wakes_a_shard_is_looked_at_whatever_its_watch_says() {
    block_on(
        suite::what_wakes_a_shard_is_looked_at_whatever_its_watch_says::<
            ropewalk_async_std::AsyncStd,
        >(),
    );
}

/// As where there is no epoll.
mod sockets_one_by_one {
    type AsyncStd = crate::suite::OneByOne<ropewalk_async_std::AsyncStd>;

    crate::suite::tests!(AsyncStd, crate::block_on);
}

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}
