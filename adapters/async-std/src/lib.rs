//! Ropewalk on async-std: many WebSocket client connections, kept alive in one process.
//!
//! ```no_run
#![doc = include_str!("../examples/program_async_std.rs")]
//! ```
//!
//! Everything here is `ropewalk-driver`'s, on async-std: the types are documented there. Tasks run on async-std's
//! global executor, whose threads the environment variable `ASYNC_STD_THREAD_COUNT` counts (one for each processor, unless it is set).
//!
//! async-std is discontinued (RUSTSEC-2025-0052). This adapter serves applications that still embed it;
//! a new one does better with `ropewalk-smol`, which runs on the same reactor.

#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use async_std::io::{Read, Write};
use async_std::net::ToSocketAddrs;

pub use ropewalk_driver::*;

/// A scope of connections, on async-std.
pub type Fleet = ropewalk_driver::Fleet<AsyncStd>;

/// Opens one WebSocket and waits until it is ready; nothing is dialled again.
///
/// # Errors
/// [`ConnectError`]: the URL cannot be tried, or it was tried and failed.
pub async fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    ropewalk_driver::connect::<AsyncStd>(Connect::to(url)?).await
}

/// async-std's global executor and reactor.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Socket = AsyncStdSocket;
    type Timer = AsyncStdTimer;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(future);
    }

    fn has_one_thread() -> bool {
        is_one(std::env::var("ASYNC_STD_THREAD_COUNT").ok())
    }

    async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host.as_str(), port).to_socket_addrs().await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        Async::<TcpStream>::connect(address).await?.into_inner()
    }

    fn socket(stream: TcpStream) -> io::Result<AsyncStdSocket> {
        Async::new_nonblocking(stream).map(AsyncStdSocket)
    }

    #[cfg(target_os = "linux")]
    fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
        Ok(Box::new(AsyncStdWatch(Async::new_nonblocking(epoll)?)))
    }

    fn timer() -> AsyncStdTimer {
        AsyncStdTimer(async_io::Timer::never())
    }
}

/// As async-std reads it when its first task is spawned.
fn is_one(threads: Option<String>) -> bool {
    let threads = threads.and_then(|it| it.parse().ok());
    threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)) <= 1
}

/// A TCP stream on the reactor that async-std runs on: unlike async-std's own, it tells whether there is more to read.
#[derive(Debug)]
pub struct AsyncStdSocket(Async<TcpStream>);

impl Socket for AsyncStdSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.poll_readable(cx) {
            // Told of the event that led to the read just done. Asked again, the reactor looks anew.
            Poll::Ready(Ok(())) => self.0.poll_readable(cx),
            other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}

/// A descriptor on the reactor that async-std runs on.
#[cfg(target_os = "linux")]
struct AsyncStdWatch(Async<OwnedFd>);

#[cfg(target_os = "linux")]
impl Watch for AsyncStdWatch {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(cx)
    }
}

/// A timer on the reactor that async-std runs on.
#[derive(Debug)]
pub struct AsyncStdTimer(async_io::Timer);

impl Timer for AsyncStdTimer {
    fn reset(&mut self, at: std::time::Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn async_std_has_a_thread_for_each_processor_unless_it_is_told_of_another_number() {
        let by_default = std::thread::available_parallelism().unwrap().get() == 1;
        for (threads, is) in [("many", by_default), ("0", true), ("1", true), ("2", false)] {
            assert_eq!(is_one(Some(threads.to_owned())), is, "{threads}");
        }
    }
}
