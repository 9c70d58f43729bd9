//! An epoll instance of a shard's own, with all its TCP streams: the runtime watches it alone, in place of every one of them.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::mailbox::Mailbox;
use crate::runtime::{Runtime, Watch};
use crate::watched::Change;

/// What a stream is watched for, from its beginning to its end. Edge-triggered: a change is told of once.
const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::PRI)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// So many changes are taken from the kernel at once.
const EVENTS_MAX: usize = 128;

/// How long epoll_wait(2) waits.
const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// So often it is looked for changes before what they are about is served.
const LOOKS_MAX: usize = 2;

/// Tells what has changed for streams, each by its number.
pub(crate) struct Poller {
    state: State,
    /// Whether the last look found more than one stream.
    found_several: bool,
    /// The runtime rings it when there is something to look for.
    bell: Bell,
}

enum State {
    /// There was nothing to watch yet, or there was no room.
    New,
    Watched {
        epoll: OwnedFd,
        watch: Box<dyn Watch>,
    },
    /// There is none to be had: streams are the runtime's to watch.
    Unavailable,
}

impl Poller {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            state: State::New,
            found_several: false,
            bell: Bell::new(mailbox),
        }
    }

    /// Watches a stream until it is closed.
    ///
    /// # Errors
    /// The runtime cannot wait for an epoll instance, or the system has no room for another or for the stream.
    pub(crate) fn add<R: Runtime>(&mut self, stream: &TcpStream, number: u32) -> io::Result<()> {
        if matches!(self.state, State::New) {
            match begin::<R>() {
                Ok(state) => {
                    self.state = state;
                    // Its bell has to be left with the runtime.
                    self.bell.ring();
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.state = State::Unavailable;
                }
                Err(error) => return Err(error),
            }
        }
        match &self.state {
            State::Watched { epoll, .. } => {
                let data = EventData::new_u64(number.into());
                Ok(epoll::add(epoll, stream, data, INTEREST)?)
            }
            State::New | State::Unavailable => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Tells of every change there was, if the runtime has rung; the next one rings again.
    ///
    /// # Errors
    /// Nothing is watched any more.
    pub(crate) fn poll(&mut self, mut tell: impl FnMut(u32, Change)) -> io::Result<()> {
        self.found_several = false;
        let State::Watched { epoll, watch } = &mut self.state else {
            return Ok(());
        };
        if !self.bell.take() {
            return Ok(());
        }
        let mut found = 0;
        let mut look = || {
            for _ in 0..LOOKS_MAX {
                // Whatever the runtime says: some know only afterwards that there was something.
                found += take(epoll, &mut tell)?;
                match watch.poll_readable(&mut self.bell.context()) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(result) => result?,
                }
            }
            self.bell.ring();
            Ok(())
        };
        let looked = look();
        self.found_several = found > 1;
        looked.inspect_err(|_| self.state = State::Unavailable)
    }

    /// Tells of what has changed since, without the runtime. Where one stream had something, it has nothing more: only what takes a
    /// while, as it is about several, is likely to have been followed by more.
    pub(crate) fn look_again(&mut self, mut tell: impl FnMut(u32, Change)) {
        if self.found_several
            && let State::Watched { epoll, .. } = &self.state
        {
            // An error will come again when it is polled.
            let found = take(epoll, &mut tell).unwrap_or(0);
            self.found_several = found > 1;
        }
    }
}

fn begin<R: Runtime>() -> io::Result<State> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let watch = R::watch(epoll.try_clone()?)?;
    Ok(State::Watched { epoll, watch })
}

/// Takes all changes there are; returns how many.
fn take(epoll: &OwnedFd, tell: &mut impl FnMut(u32, Change)) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let (events, rest) = match epoll::wait(epoll, &mut room[..], Some(&NOT_AT_ALL)) {
            Ok(filled) => filled,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        taken += events.len();
        for &mut Event { flags, data, .. } in events {
            let is_broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            let has_more = is_broken || flags.intersects(EventFlags::RDHUP | EventFlags::PRI);
            let change = Change {
                is_readable: has_more || flags.contains(EventFlags::IN),
                is_writable: is_broken || flags.contains(EventFlags::OUT),
                has_more,
            };
            tell(u32::try_from(data.u64()).expect("it was one"), change);
        }
        if !rest.is_empty() {
            return Ok(taken);
        }
    }
}
