//! Ropewalk on smol: many WebSocket client connections, kept alive in one process.
//!
//! ```no_run
#![doc = include_str!("../examples/program_smol.rs")]
//! ```
//!
//! Everything here is `ropewalk-driver`'s, on smol: the types are documented there. Tasks run on smol's
//! global executor, whose threads the environment variable `SMOL_THREADS` counts (one, unless it is set).

#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

pub use ropewalk_driver::*;

/// A scope of connections, on smol.
pub type Fleet = ropewalk_driver::Fleet<Smol>;

/// Opens one WebSocket and waits until it is ready; nothing is dialled again.
///
/// # Errors
/// [`ConnectError`]: the URL cannot be tried, or it was tried and failed.
pub async fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    ropewalk_driver::connect::<Smol>(Connect::to(url)?).await
}

/// Smol's global executor and reactor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    type Socket = SmolSocket;
    type Timer = SmolTimer;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }

    fn has_one_thread() -> bool {
        is_one(std::env::var("SMOL_THREADS").ok())
    }

    async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve((host, port)).await
    }

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        Async::<TcpStream>::connect(address).await?.into_inner()
    }

    fn socket(stream: TcpStream) -> io::Result<SmolSocket> {
        Async::new_nonblocking(stream).map(SmolSocket)
    }

    #[cfg(target_os = "linux")]
    fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
        Ok(Box::new(SmolWatch(Async::new_nonblocking(epoll)?)))
    }

    fn timer() -> SmolTimer {
        SmolTimer(smol::Timer::never())
    }
}

/// As smol reads it when its first task is spawned.
fn is_one(threads: Option<String>) -> bool {
    threads.and_then(|it| it.parse().ok()).unwrap_or(1) == 1
}

/// A TCP stream on smol's reactor.
#[derive(Debug)]
pub struct SmolSocket(Async<TcpStream>);

impl Socket for SmolSocket {
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
        Poll::Ready(self.0.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

/// A descriptor on smol's reactor.
#[cfg(target_os = "linux")]
struct SmolWatch(Async<OwnedFd>);

#[cfg(target_os = "linux")]
impl Watch for SmolWatch {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(cx)
    }
}

/// A timer on smol's reactor.
#[derive(Debug)]
pub struct SmolTimer(smol::Timer);

impl Timer for SmolTimer {
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
    fn smol_has_one_thread_unless_it_is_told_of_another_number() {
        for threads in [None, Some("1"), Some("many")] {
            assert!(is_one(threads.map(str::to_owned)), "{threads:?}");
        }
        for threads in ["0", "2", "16"] {
            assert!(!is_one(Some(threads.to_owned())), "{threads}");
        }
    }
}
