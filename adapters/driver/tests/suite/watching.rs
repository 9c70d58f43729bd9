//! Who watches sockets: runtimes that do not watch an epoll instance, or do not go on with it.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream};
use std::task::{Context, Poll};

use ropewalk_driver::Runtime;

/// A runtime that watches each socket by itself, as all do where there is no epoll.
pub(crate) struct OneByOne<R>(PhantomData<R>);

/// Everything of a runtime but how it watches sockets.
macro_rules! as_the_inner_one {
    () => {
        type Socket = R::Socket;
        type Timer = R::Timer;

        fn spawn(future: impl Future<Output = ()> + Send + 'static) {
            R::spawn(future);
        }

        fn unlimited<T>(
            cx: &mut Context<'_>,
            poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
        ) -> Poll<T> {
            R::unlimited(cx, poll)
        }

        fn has_one_thread() -> bool {
            R::has_one_thread()
        }

        fn resolve(
            host: String,
            port: u16,
        ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
            R::resolve(host, port)
        }

        fn connect(
            address: SocketAddr,
        ) -> impl Future<Output = io::Result<TcpStream>> + Send + 'static {
            R::connect(address)
        }

        fn socket(stream: TcpStream) -> io::Result<R::Socket> {
            R::socket(stream)
        }

        fn timer() -> R::Timer {
            R::timer()
        }
    };
}

impl<R: Runtime> Runtime for OneByOne<R> {
    as_the_inner_one!();
}

#[cfg(target_os = "linux")]
pub(crate) use watches::{
    connections_outlive_what_watched_them, what_wakes_a_shard_is_looked_at_whatever_its_watch_says,
};

#[cfg(target_os = "linux")]
mod watches {
    use super::*;
    use std::num::NonZeroUsize;
    use std::os::fd::OwnedFd;

    use ropewalk_driver::{CloseReason, EventKind, Fleet, Watch};

    use crate::suite::server::Server;
    use crate::suite::{eager, texts, until};

    /// So many times a watch is polled before it fails.
    const POLLS: usize = 20;

    /// A runtime whose watches fail after a while.
    pub(crate) struct Failing<R>(PhantomData<R>);

    struct FailingWatch {
        inner: Box<dyn Watch>,
        polls_left: usize,
    }

    impl<R: Runtime> Runtime for Failing<R> {
        as_the_inner_one!();

        fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
            Ok(Box::new(FailingWatch {
                inner: R::watch(epoll)?,
                polls_left: POLLS,
            }))
        }
    }

    impl Watch for FailingWatch {
        fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Some(polls_left) = self.polls_left.checked_sub(1) else {
                return Poll::Ready(Err(io::Error::other("no more")));
            };
            self.polls_left = polls_left;
            self.inner.poll_readable(cx)
        }
    }

    /// A runtime whose watches never say that there is something, but wake whoever waits for it.
    pub(crate) struct Silent<R>(PhantomData<R>);

    struct SilentWatch(Box<dyn Watch>);

    impl<R: Runtime> Runtime for Silent<R> {
        as_the_inner_one!();

        fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
            Ok(Box::new(SilentWatch(R::watch(epoll)?)))
        }
    }

    impl Watch for SilentWatch {
        fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0.poll_readable(cx) {
                Poll::Ready(Ok(())) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
            }
        }
    }

    pub(crate) async fn what_wakes_a_shard_is_looked_at_whatever_its_watch_says<R: Runtime>() {
        let server = Server::echo();
        let fleet = Fleet::<Silent<R>>::new();
        let handle = fleet.open(eager(&server.url()));
        for number in 0..100 {
            let text = number.to_string();
            handle.sender().send(text.as_str()).await.unwrap();
            assert_eq!(texts(&handle.next_batch().await.unwrap()), [text]);
        }
    }

    pub(crate) async fn connections_outlive_what_watched_them<R: Runtime>() {
        let server = Server::echo();
        let builder = Fleet::<Failing<R>>::builder().shards(NonZeroUsize::MIN);
        let fleet = builder.build().unwrap();
        let mut events = fleet.events();
        let handle = fleet.open(eager(&server.url()));
        // What becomes of each takes its shard a poll at least.
        for _ in 0..POLLS {
            let receipt = handle.sender().send("before").await.unwrap();
            receipt.outcome().await;
        }
        let is_failure = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::Closed {
                    reason: CloseReason::Transport(_),
                    ..
                }
            )
        };
        until(&mut events, is_failure).await;
        handle.sender().send("after").await.unwrap();
        loop {
            let batch = handle.next_batch().await.unwrap();
            if texts(&batch).contains(&"after".to_owned()) {
                break;
            }
        }
    }
}
