//! A TCP stream that the shard's poller watches.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::task::Poll;

/// What a stream can do since a short time ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// A read that is short does not mean that there is nothing more: behind it is an end, as the peer's half was shut down or the
    /// stream is broken, or what follows urgent data (tcp(7)).
    pub(crate) has_more: bool,
}

/// A stream in non-blocking mode, and what it can do, as far as is known: only changes are told of, so that holds until a call
/// would have blocked.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TcpStream,
    can: Change,
}

impl Watched {
    /// A stream that has just been connected.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let can = Change {
            is_writable: true,
            ..Change::default()
        };
        Self { stream, can }
    }

    pub(crate) fn note(&mut self, change: Change) {
        self.can.is_readable |= change.is_readable;
        self.can.is_writable |= change.is_writable;
        self.can.has_more |= change.has_more;
    }

    pub(crate) fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, can } = self;
        let read = attempt(&mut can.is_readable, || stream.read(buffer));
        if read.is_pending() {
            can.has_more = false;
        }
        read
    }

    /// After a read that did not fill its buffer, which leaves nothing (epoll(7), questions and answers) unless there was said to be more.
    pub(crate) fn poll_readable(&mut self) -> Poll<io::Result<()>> {
        self.can.is_readable = self.can.has_more;
        if self.can.is_readable {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    pub(crate) fn poll_write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { stream, can } = self;
        attempt(&mut can.is_writable, || stream.write_vectored(slices))
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Calls `call`, unless it would block as the last one would have, with no change since.
fn attempt(
    is_able: &mut bool,
    call: impl FnOnce() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    if !*is_able {
        return Poll::Pending;
    }
    match call() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            *is_able = false;
            Poll::Pending
        }
        result @ (Ok(_) | Err(_)) => Poll::Ready(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A stream that was just connected, and its peer.
    fn pair() -> (Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        (Watched::new(stream), listener.accept().unwrap().0)
    }

    fn readable() -> Change {
        Change {
            is_readable: true,
            ..Change::default()
        }
    }

    #[test]
    fn what_would_block_waits_for_a_change() {
        let (mut watched, mut peer) = pair();
        let mut buffer = [0; 8];
        watched.note(readable());
        assert!(watched.poll_read(&mut buffer).is_pending());
        peer.write_all(b"news").unwrap();
        // Whether it has arrived or not: nobody has told of it.
        assert!(watched.poll_read(&mut buffer).is_pending());
        watched.stream.set_nonblocking(false).unwrap();
        watched.note(readable());
        let Poll::Ready(Ok(4)) = watched.poll_read(&mut buffer) else {
            panic!("it was told of");
        };
        assert!(watched.poll_readable().is_pending());
        assert!(watched.poll_read(&mut buffer).is_pending());
    }

    #[test]
    fn a_stream_that_takes_no_more_waits_for_a_change() {
        let (mut watched, _peer) = pair();
        let much = [0; 1 << 20];
        while let Poll::Ready(written) = watched.poll_write(&[IoSlice::new(&much)]) {
            written.unwrap();
        }
        assert!(!watched.can.is_writable);
        watched.note(readable());
        assert!(!watched.can.is_writable);
    }

    #[test]
    fn an_end_that_came_with_the_last_bytes_is_read_without_another_change() {
        let (mut watched, mut peer) = pair();
        peer.write_all(b"bye").unwrap();
        drop(peer);
        watched.stream.set_nonblocking(false).unwrap();
        watched.note(Change {
            has_more: true,
            ..readable()
        });
        let mut buffer = [0; 8];
        for bytes in [3, 0] {
            let Poll::Ready(Ok(read)) = watched.poll_read(&mut buffer) else {
                panic!("it has ended");
            };
            assert_eq!(read, bytes);
            assert!(watched.poll_readable().is_ready());
        }
    }

    #[test]
    fn what_would_block_had_no_end() {
        let (mut watched, mut peer) = pair();
        watched.note(Change {
            has_more: true,
            ..readable()
        });
        let mut buffer = [0; 8];
        assert!(watched.poll_read(&mut buffer).is_pending());
        peer.write_all(b"news").unwrap();
        watched.stream.set_nonblocking(false).unwrap();
        watched.note(readable());
        assert!(watched.poll_read(&mut buffer).is_ready());
        assert!(watched.poll_readable().is_pending());
    }
}
