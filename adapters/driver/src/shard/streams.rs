//! What sockets and dials bring, and what they are given.

use std::io;
use std::task::{Context, Poll, ready};

use ropewalk_core::{Input, Instant, SocketId, TransportError, TransportErrorKind};

use super::Shard;
use crate::budget::{Left, WRITE_QUANTUM};
use crate::runtime::{Runtime, SelfConnect};
use crate::slots::{Dialled, Open, Reading, Stream, Work, Writing, caught};
use crate::watched::Watched;

/// So little that it is quickly read and dealt with.
const LITTLE_BYTES: usize = 4 << 10;
/// So many sockets that bring little are read before that is dealt with: what is done many times in a row is done faster.
const READS_MAX: usize = 64;

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another place may have its turn at once.
    Turn,
    /// What was read is to be taken first.
    Reads,
}

/// A read whose bytes the set has not taken yet.
pub(super) struct Deferred {
    index: u32,
    /// Whether the socket had no more.
    is_drained: bool,
}

/// What a turn's read came to.
enum Read {
    /// Nothing for now, or nothing is wanted.
    Done,
    /// So many bytes, which are taken later.
    Deferred(usize),
    /// There may be more: another turn.
    More,
    /// The end of the stream.
    End,
    Failed(io::Error),
}

impl<R: Runtime> Shard<R> {
    /// Gives one place its turn.
    pub(super) fn turn(&mut self, now: Instant, index: u32) -> Then {
        let slot = self.slots.slot(index);
        let mut cx = Context::from_waker(&slot.waker);
        match &mut slot.work {
            Work::Vacant => {}
            Work::Resolve {
                connection,
                generation,
                future,
            } => {
                let (connection, generation) = (*connection, *generation);
                let Poll::Ready(result) = caught(|| future.as_mut().poll(&mut cx)) else {
                    return Then::Reads;
                };
                self.slots.release(index);
                if let Some(member) = self.member(connection) {
                    member.resolving.take_if(|place| *place == index);
                }
                let input = Input::Resolved {
                    connection,
                    generation,
                    result: result.map_err(|error| error.to_string().into()),
                };
                self.set.handle(now, input);
                self.perform(now);
            }
            Work::Dial { socket, future } => {
                let socket = *socket;
                let Poll::Ready(result) = caught(|| future.as_mut().poll(&mut cx)) else {
                    return Then::Reads;
                };
                match result.and_then(|dialled| self.adopt(index, dialled)) {
                    Ok(stream) => {
                        self.slots.slot(index).work = Work::Open(Open::new(socket, stream));
                        self.slots.schedule(index);
                        self.set.handle(now, Input::Connected { socket });
                        self.perform(now);
                    }
                    Err(error) => self.fail(socket, &error),
                }
            }
            Work::Open(open) => {
                let socket = open.socket;
                return self.serve(now, index, socket);
            }
        }
        Then::Reads
    }

    /// Has what was dialled watched from now on.
    fn adopt(&mut self, index: u32, dialled: Dialled) -> io::Result<Stream<R::Socket>> {
        Ok(match dialled {
            Dialled::Application(socket) => Stream::Application(socket),
            Dialled::Tcp(stream) => match self.poller.add::<R>(&stream, index) {
                Ok(()) => Stream::Watched(Watched::new(stream)),
                Err(_) => Stream::Runtime(R::socket(stream)?),
            },
        })
    }

    /// Takes note of what has changed for sockets.
    pub(super) fn poll_sockets(&mut self) {
        let slots = &mut self.slots;
        let polled = self.poller.poll(|index, change| slots.note(index, change));
        if let Err(error) = polled {
            // Nobody would tell of them any more.
            for socket in self.slots.watched().collect::<Vec<_>>() {
                self.fail(socket, &error);
            }
        }
    }

    /// Gives the set what was read and not taken yet.
    pub(super) fn take_reads(&mut self, now: Instant) {
        while let Some(Deferred { index, is_drained }) = self.reads.pop_front()
            && let Some((socket, rest)) = self.set.handle_deferred(now)
        {
            if let Some((open, _)) = self.slots.open(index)
                && open.socket == socket
            {
                open.leftover.extend_from_slice(rest);
                if !is_drained || !open.leftover.is_empty() {
                    self.slots.schedule(index);
                }
            }
            self.perform(now);
        }
    }

    /// Writes what waits on all sockets that the core has named; returns the time.
    pub(super) fn write_all(&mut self, mut now: Instant) -> Instant {
        while let Some(socket) = self.writes.pop() {
            if let Some(index) = self.place_of(socket) {
                self.write(now, index, socket);
                now = self.advance();
            }
        }
        now
    }

    fn serve(&mut self, mut now: Instant, index: u32, socket: SocketId) -> Then {
        let mut then = Then::Turn;
        if let Some((open, _)) = self.slots.open(index)
            && matches!(open.writing, Writing::Blocked | Writing::Ending)
        {
            self.write(now, index, socket);
            now = self.advance();
            // That may have given a place another turn whose read is deferred.
            then = Then::Reads;
        }
        match self.read(now, index, socket) {
            Read::Deferred(..=LITTLE_BYTES)
                if self.reads.len() < READS_MAX && self.budget.has_bytes() =>
            {
                return then;
            }
            Read::Done | Read::Deferred(_) => {}
            Read::More => self.slots.schedule(index),
            Read::End => {
                self.set.handle(now, Input::Eof { socket });
                self.perform(now);
            }
            Read::Failed(error) => self.fail(socket, &error),
        }
        Then::Reads
    }

    /// Writes until nothing is left or the socket takes no more.
    fn write(&mut self, now: Instant, index: u32, socket: SocketId) {
        let mut written = 0;
        let result = loop {
            let Some((open, waker)) = self.slots.open(index) else {
                return;
            };
            if open.socket != socket {
                return;
            }
            let mut cx = Context::from_waker(waker);
            let Some(transmit) = self.set.transmit(now, socket) else {
                break match open.writing {
                    Writing::Ending => match open.stream.poll_shutdown(&mut cx) {
                        Poll::Pending => Ok(()),
                        Poll::Ready(result) => {
                            open.writing = Writing::Ended;
                            result
                        }
                    },
                    Writing::Idle | Writing::Blocked => {
                        open.writing = Writing::Idle;
                        Ok(())
                    }
                    Writing::Ended => Ok(()),
                };
            };
            match open.stream.poll_write(&mut cx, &transmit.slices()) {
                Poll::Ready(Ok(0)) => break Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    transmit.advance(bytes);
                    self.budget.charge(bytes);
                    written += bytes;
                    let is_late = || self.budget.left(self.common.clock.now()) == Left::Nothing;
                    if written >= WRITE_QUANTUM || is_late() {
                        open.wait_to_write();
                        self.slots.schedule(index);
                        break Ok(());
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Pending => {
                    open.wait_to_write();
                    break Ok(());
                }
            }
        };
        self.perform(now);
        if let Err(error) = result {
            // What the peer sent before it went may say why it went.
            while matches!(
                self.read(now, index, socket),
                Read::More | Read::Deferred(_)
            ) && self.budget.left(self.common.clock.now()) == Left::Some
            {
                self.take_reads(now);
            }
            self.take_reads(now);
            self.fail(socket, &error);
        }
    }

    /// Reads once, or feeds what an earlier read brought and the core did not take.
    fn read(&mut self, now: Instant, index: u32, socket: SocketId) -> Read {
        let Some((open, waker)) = self.slots.open(index) else {
            return Read::Done;
        };
        if open.socket != socket || open.reading == Reading::Ended {
            return Read::Done;
        }
        open.reading = Reading::Waits;
        if !open.leftover.is_empty() && self.set.wants_read(socket) {
            let taken = self.set.handle_input(now, socket, &mut open.leftover);
            open.leftover.drain(..taken);
            if open.leftover.is_empty() {
                open.leftover = Vec::new();
            }
            self.perform(now);
            return Read::More;
        }
        let buffer = self.set.read_buffer(socket);
        let bytes_max = buffer.len();
        if bytes_max == 0 {
            if self.set.wants_read(socket) {
                // What others have brought is in the way.
                return Read::More;
            }
            open.reading = Reading::Stalled;
            self.slots.stall(index);
            return Read::Done;
        }
        let mut cx = Context::from_waker(waker);
        // A short read has emptied the socket, if the socket is one that can tell.
        let mut read_once = || -> Poll<io::Result<_>> {
            let bytes = ready!(open.stream.poll_read(&mut cx, buffer))?;
            let is_short = (1..bytes_max).contains(&bytes);
            let is_drained = is_short && open.stream.poll_readable(&mut cx).is_pending();
            Poll::Ready(Ok((bytes, is_drained)))
        };
        let (bytes, is_drained) = loop {
            match read_once() {
                Poll::Ready(Ok((0, _))) => {
                    open.reading = Reading::Ended;
                    return Read::End;
                }
                Poll::Ready(Ok(read)) => break read,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Read::Failed(error),
                Poll::Pending => return Read::Done,
            }
        };
        self.budget.charge(bytes);
        if bytes > bytes_max {
            let error = "the socket says that it read more than there was room for";
            return Read::Failed(io::Error::other(error));
        }
        self.set.defer_read(bytes);
        self.reads.push_back(Deferred { index, is_drained });
        Read::Deferred(bytes)
    }

    /// Drops a socket and tells the core why.
    fn fail(&mut self, socket: SocketId, error: &io::Error) {
        let now = self.advance();
        if self.place_of(socket).is_none() {
            return;
        }
        self.drop_socket(socket);
        let inner = error.get_ref();
        let error = match inner.and_then(|inner| inner.downcast_ref::<SelfConnect>()) {
            Some(SelfConnect) => TransportError::new(TransportErrorKind::SelfConnect),
            None => TransportError::from(error),
        };
        let input = Input::TransportFailed { socket, error };
        self.set.handle(now, input);
        self.perform(now);
    }
}

impl<S> Open<S> {
    fn wait_to_write(&mut self) {
        self.writing = match self.writing {
            Writing::Idle | Writing::Blocked => Writing::Blocked,
            // Written again until nothing is left, and then ended.
            Writing::Ending | Writing::Ended => self.writing,
        };
    }
}
