//! The driver's suite on this runtime, which calls processors in one of two ways.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

mod many_threads {
    crate::suite::tests!(ropewalk_tokio::Tokio, super::many_threads::block_on);

    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Runtime::new().expect("the system has threads to give");
        runtime.block_on(future)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn connections_outlive_what_watched_them() {
    many_threads::block_on(suite::connections_outlive_what_watched_them::<
        ropewalk_tokio::Tokio,
    >());
}

#[cfg(target_os = "linux")]
#[test]
fn what_wakes_a_shard_is_looked_at_whatever_its_watch_says() {
    many_threads::block_on(
        suite::what_wakes_a_shard_is_looked_at_whatever_its_watch_says::<ropewalk_tokio::Tokio>(),
    );
}

/// As where there is no epoll.
mod sockets_one_by_one {
    type Tokio = crate::suite::OneByOne<ropewalk_tokio::Tokio>;

    crate::suite::tests!(Tokio, super::many_threads::block_on);
}

mod one_thread {
    use std::future::pending;
    use std::thread;

    use tokio::runtime::Builder;

    crate::suite::tests!(ropewalk_tokio::Tokio, super::one_thread::block_on);

    /// All tasks have one thread; the test has its own, where it may wait for them.
    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system has a queue of events to give");
        let handle = runtime.handle().clone();
        let last = runtime.spawn(pending::<()>());
        let end = last.abort_handle();
        let tasks = thread::spawn(move || runtime.block_on(last));
        let output = handle.block_on(future);
        end.abort();
        let last = tasks.join().expect("no task ends its thread");
        assert!(last.is_err_and(|it| it.is_cancelled()));
        output
    }
}
