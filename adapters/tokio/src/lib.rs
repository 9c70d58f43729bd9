//! Ropewalk on tokio: many WebSocket client connections, kept alive in one process.
//!
//! ```no_run
#![doc = include_str!("../examples/program_tokio.rs")]
//! ```
//!
//! Everything here is `ropewalk-driver`'s, on tokio: the types are documented there. Use it within a tokio
//! runtime whose network and time drivers are enabled.

#![forbid(unsafe_code)]

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{self, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::unconstrained;
use tokio::time::Sleep;

pub use ropewalk_driver::*;

/// A scope of connections, on tokio.
pub type Fleet = ropewalk_driver::Fleet<Tokio>;

/// Opens one WebSocket and waits until it is ready; nothing is dialled again.
///
/// # Errors
/// [`ConnectError`]: the URL cannot be tried, or it was tried and failed.
pub async fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    ropewalk_driver::connect::<Tokio>(Connect::to(url)?).await
}

/// The tokio runtime whose context a task runs in.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl Runtime for Tokio {
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(future);
    }

    fn unlimited<T>(
        cx: &mut Context<'_>,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // The cooperative budget of a task would end a shard's turn after 128 polls of sockets.
        pin!(unconstrained(poll_fn(poll))).poll(cx)
    }

    fn has_one_thread() -> bool {
        Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
    }

    async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn connect(address: SocketAddr) -> io::Result<net::TcpStream> {
        TcpStream::connect(address).await?.into_std()
    }

    fn socket(stream: net::TcpStream) -> io::Result<TokioSocket> {
        TcpStream::from_std(stream).map(TokioSocket)
    }

    #[cfg(target_os = "linux")]
    fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
        #[allow(deprecated, reason = "sound for what owns its descriptor")]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Box::new(TokioWatch(epoll)))
    }

    fn timer() -> TokioTimer {
        TokioTimer(None)
    }
}

/// A TCP stream of tokio's.
#[derive(Debug)]
pub struct TokioSocket(TcpStream);

impl Socket for TokioSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A descriptor on tokio's driver.
#[cfg(target_os = "linux")]
struct TokioWatch(AsyncFd<OwnedFd>);

#[cfg(target_os = "linux")]
impl Watch for TokioWatch {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Cleared before the caller looks, so that what comes meanwhile is told of.
        ready!(self.0.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// A timer of tokio's.
#[derive(Debug)]
pub struct TokioTimer(Option<Pin<Box<Sleep>>>);

impl Timer for TokioTimer {
    fn reset(&mut self, at: std::time::Instant) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(at.into()),
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
