//! What an asynchronous runtime must offer.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Instant;

/// An asynchronous runtime: how to spawn, resolve, connect and wait on it.
///
/// Everything that is decided, is decided elsewhere: an implementation only translates. It is a type
/// without values; its functions are called on the runtime's own threads, within a task.
pub trait Runtime: Send + Sync + 'static {
    /// A TCP stream that the runtime watches.
    type Socket: Socket;
    /// A timer.
    type Timer: Timer;

    /// Starts a task and lets it go. The runtime may drop it when the runtime itself ends, and only then.
    fn spawn(future: impl Future<Output = ()> + Send + 'static);

    /// Calls `poll` once, at once and with `cx`, and returns what it returned. It serves many sockets and keeps a budget of its own: a
    /// runtime that limits what a task may do in one poll must not limit what is done in it. By default it is called and nothing else.
    fn unlimited<T>(
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        poll(cx)
    }

    /// Whether the runtime that this is called in runs all its tasks on one thread, so that none runs while another is polled, whatever
    /// that does. Then processors are called by the task that serves their sockets, since no other could do so meanwhile. Asked once for
    /// each such task, by whoever opens its first connection. By default no.
    fn has_one_thread() -> bool {
        false
    }

    /// Looks a host name up.
    fn resolve(
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static;

    /// Connects to an address. The stream is in non-blocking mode. Dropping the future gives the attempt up.
    fn connect(address: SocketAddr)
    -> impl Future<Output = io::Result<TcpStream>> + Send + 'static;

    /// Takes a stream that was [connected](Self::connect), where none of them can be [watched](Self::watch).
    ///
    /// # Errors
    /// The runtime cannot take it.
    fn socket(stream: TcpStream) -> io::Result<Self::Socket>;

    /// Watches an epoll instance that the caller keeps and registers its sockets with: the runtime has one descriptor to look at in place
    /// of many. `epoll` is a duplicate. By default there is no such thing.
    ///
    /// # Errors
    /// The runtime cannot wait for a descriptor. Then the stream becomes a [`Socket`](Self::socket) of its own, and the next one leads to
    /// another call, unless the error was [`Unsupported`](io::ErrorKind::Unsupported).
    #[cfg(target_os = "linux")]
    fn watch(epoll: OwnedFd) -> io::Result<Box<dyn Watch>> {
        drop(epoll);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A timer that is not set.
    fn timer() -> Self::Timer;
}

/// A connected byte stream. Dropping it closes it at once.
///
/// Implement it to bring a transport of your own ([`Connect::over`](crate::Connect::over)): a Unix
/// socket, a pipe in memory, a TLS stream. Its methods are called on the task that serves many other
/// sockets too, so they must never block. `Interrupted` is retried by the caller; any other error ends the
/// socket.
pub trait Socket: Unpin + Send + 'static {
    /// Reads into `buffer`, which is not empty; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Called after a read that did not fill its buffer: `Pending` promises that there was nothing left
    /// to read, and that the task is woken when there is. `Ready` promises nothing, and makes the caller
    /// read again; it is what a stream that cannot tell returns, and the default.
    ///
    /// It saves a system call a wake-up where the runtime knows.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Writes some of `slices`, in order, which are not all empty. 0 is an error.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Ends our half of the stream, after everything that was written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Socket for Box<dyn Socket> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buffer)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_readable(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, slices)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(cx)
    }
}

/// One timer, set again and again.
pub trait Timer: Unpin + Send + 'static {
    /// Wakes whoever polled last at `at` or soon after, and not for an earlier setting any more.
    fn reset(&mut self, at: Instant);

    /// `Ready` once the time has come. Until then `cx`'s waker is kept, which is not that of the task that polls, and woken: it is
    /// polled again only when that has happened, or after a [`reset`](Self::reset). Early or repeated wake-ups do no harm: the caller
    /// looks at the clock itself.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A descriptor that a runtime watches.
#[cfg(target_os = "linux")]
pub trait Watch: Send + 'static {
    /// `Ready` if there may be something to read that `Ready` was not returned for before. `Pending` promises that `cx`'s waker, which
    /// is not that of the task that polls, is woken when something comes. It is the wake-up that counts: whoever polls takes all there
    /// is when that has happened, before it polls, and again after each `Ready`.
    ///
    /// # Errors
    /// The runtime waits no more. All connections of the shard whose sockets were watched so are cut off and dialled again, and the
    /// runtime then watches each socket by itself.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// An error for a stream whose two ends have one address, which a dial to a free port of the same machine
/// can produce: a TCP simultaneous open with itself.
pub(crate) fn refuse_self_connect(stream: &TcpStream) -> io::Result<()> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => Err(io::Error::other(SelfConnect)),
        (Ok(_) | Err(_), _) => Ok(()),
    }
}

/// A stream is connected to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the socket connected to itself")]
pub(crate) struct SelfConnect;
