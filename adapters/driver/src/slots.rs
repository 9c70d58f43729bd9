//! A shard's sockets and everything else of its that a runtime wakes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use ropewalk_core::{ConnectionId, SocketId};

use crate::application::{BoxFuture, guard};
use crate::mailbox::Mailbox;
use crate::ready::{News, Queued};
use crate::runtime::Socket;
use crate::turns::Turns;
use crate::watched::{Change, Watched};

/// Numbered places, each with a waker of its own that puts its number on the shard's ready list. Sockets that the shard's poller
/// watches do not use theirs.
pub(crate) struct Slots<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    turns: Turns,
    /// The numbers that were woken, and have no turn before them yet.
    woken: VecDeque<u32>,
    mailbox: Arc<Mailbox>,
}

pub(crate) struct Slot<S> {
    bell: Arc<Bell>,
    pub(crate) waker: Waker,
    pub(crate) work: Work<S>,
}

/// What stands in a place.
pub(crate) enum Work<S> {
    Vacant,
    Resolve {
        connection: ConnectionId,
        generation: u32,
        future: BoxFuture<io::Result<Vec<SocketAddr>>>,
    },
    Dial {
        socket: SocketId,
        future: BoxFuture<io::Result<Dialled>>,
    },
    Open(Open<S>),
}

/// A connected socket.
pub(crate) struct Open<S> {
    pub(crate) socket: SocketId,
    pub(crate) stream: Stream<S>,
    /// What was read and the core did not take.
    pub(crate) leftover: Vec<u8>,
    pub(crate) reading: Reading,
    pub(crate) writing: Writing,
}

/// Where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// For bytes.
    Waits,
    /// The core does not want any: who brings some is not to wake us.
    Stalled,
    /// There is nothing more to read.
    Ended,
}

/// Where writing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// There was nothing left to write.
    Idle,
    /// The socket takes no more now, and wakes us when it does.
    Blocked,
    /// Our half of the stream is to end, as soon as nothing is left to write.
    Ending,
    /// It has ended.
    Ended,
}

impl<S: Socket> Slots<S> {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            turns: Turns::new(),
            woken: VecDeque::new(),
            mailbox,
        }
    }

    /// Puts work in a place and gives it its first turn.
    pub(crate) fn insert(&mut self, work: Work<S>) -> u32 {
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize].work = work;
                index
            }
            None => {
                let index =
                    u32::try_from(self.slots.len()).expect("there are fewer than 2^32 sockets");
                let bell = Arc::new(Bell {
                    mailbox: Arc::clone(&self.mailbox),
                    index,
                    queued: Queued::default(),
                });
                self.slots.push(Slot {
                    waker: Waker::from(Arc::clone(&bell)),
                    bell,
                    work,
                });
                self.turns.add_place();
                index
            }
        };
        self.schedule(index);
        index
    }

    /// Drops what stands in a place.
    pub(crate) fn release(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize)
            && !matches!(slot.work, Work::Vacant)
        {
            slot.work = Work::Vacant;
            self.free.push(index);
        }
    }

    /// Gives a place a turn that no waker asked for.
    pub(crate) fn schedule(&mut self, index: u32) {
        self.turns.schedule(index);
    }

    /// A socket was not read because the core does not want it: gives it a turn when that wants everybody read again. What is between
    /// the core and this socket alone is for the core to say.
    pub(crate) fn stall(&mut self, index: u32) {
        self.turns.stall(index);
    }

    /// Whether the core wants sockets read at all.
    pub(crate) fn set_reading(&mut self, reading: ropewalk_core::Reading) {
        self.turns.set_reading(reading);
    }

    /// Leaves the waker of the shard's task, and gives a turn to what was woken before.
    pub(crate) fn look(&mut self, waker: &Waker) -> News {
        let news = self.mailbox.ready.register(waker, &mut self.woken);
        while let Some(index) = self.woken.pop_front() {
            self.slots[index as usize].bell.queued.clear();
            self.schedule(index);
        }
        news
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.turns.any()
    }

    /// The next place whose turn it is.
    pub(crate) fn next(&mut self) -> Option<u32> {
        self.turns.next()
    }

    /// Takes note of a change for the stream in a place, and gives it a turn if something waits for that.
    pub(crate) fn note(&mut self, index: u32, change: Change) {
        if let Some((open, _)) = self.open(index)
            && let Stream::Watched(stream) = &mut open.stream
        {
            stream.note(change);
            let is_to_read = change.is_readable && open.reading == Reading::Waits;
            let is_to_write =
                change.is_writable && matches!(open.writing, Writing::Blocked | Writing::Ending);
            if is_to_read || is_to_write {
                self.schedule(index);
            }
        }
    }

    /// The sockets that the shard's poller watches.
    pub(crate) fn watched(&self) -> impl Iterator<Item = SocketId> {
        self.slots.iter().filter_map(|slot| match &slot.work {
            Work::Open(Open {
                socket,
                stream: Stream::Watched(_),
                ..
            }) => Some(*socket),
            Work::Open(_) | Work::Vacant | Work::Resolve { .. } | Work::Dial { .. } => None,
        })
    }

    pub(crate) fn slot(&mut self, index: u32) -> &mut Slot<S> {
        &mut self.slots[index as usize]
    }

    /// The socket in a place, and the waker to poll it with.
    pub(crate) fn open(&mut self, index: u32) -> Option<(&mut Open<S>, &Waker)> {
        let slot = self.slots.get_mut(index as usize)?;
        match &mut slot.work {
            Work::Open(open) => Some((open, &slot.waker)),
            Work::Vacant | Work::Resolve { .. } | Work::Dial { .. } => None,
        }
    }
}

impl<S> Open<S> {
    pub(crate) fn new(socket: SocketId, stream: Stream<S>) -> Self {
        Self {
            socket,
            stream,
            leftover: Vec::new(),
            reading: Reading::Waits,
            writing: Writing::Idle,
        }
    }
}

/// Rings when its place has something to do.
struct Bell {
    mailbox: Arc<Mailbox>,
    index: u32,
    queued: Queued,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.ready.push(self.index, &self.queued);
    }
}

/// What a dial brings.
pub(crate) enum Dialled {
    Tcp(TcpStream),
    Application(Box<dyn Socket>),
}

/// A socket, by who watches it: the shard's poller, the runtime or the application.
pub(crate) enum Stream<S> {
    Watched(Watched),
    Runtime(S),
    Application(Box<dyn Socket>),
}

/// Polls what may be the application's code. A panic there is that socket's error and nobody else's.
pub(crate) fn caught<T>(poll: impl FnOnce() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    guard(poll).unwrap_or_else(|panicked| {
        let words = format!("the transport {panicked}");
        Poll::Ready(Err(io::Error::other(words)))
    })
}

impl<S: Socket> Stream<S> {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Watched(socket) => socket.poll_read(buffer),
            Self::Runtime(socket) => socket.poll_read(cx, buffer),
            Self::Application(socket) => caught(|| socket.poll_read(cx, buffer)),
        }
    }

    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Watched(socket) => socket.poll_readable(),
            Self::Runtime(socket) => socket.poll_readable(cx),
            Self::Application(socket) => caught(|| socket.poll_readable(cx)),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Watched(socket) => socket.poll_write(slices),
            Self::Runtime(socket) => socket.poll_write(cx, slices),
            Self::Application(socket) => caught(|| socket.poll_write(cx, slices)),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Watched(socket) => Poll::Ready(socket.shutdown()),
            Self::Runtime(socket) => socket.poll_shutdown(cx),
            Self::Application(socket) => caught(|| socket.poll_shutdown(cx)),
        }
    }
}
