//! An epoll instance of a shard's own, with all its TCP streams: the runtime watches it alone, in place of every one of them.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::mailbox::Mailbox;
use crate::runtime::{Runtime, Watch};
use crate::watched::Change;

/// What a stream is watched for, from its beginning to its end. Edge-triggered: a change is told of once.
const INTEREST: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// So many changes are taken from the kernel at once.
const EVENTS_MAX: usize = 128;

/// How long epoll_wait(2) waits.
const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Tells what has changed for streams, each by its number.
pub(crate) struct Poller {
    state: State,
    /// Whether the last look found more than one stream.
    found_several: bool,
    mailbox: Arc<Mailbox>,
}

enum State {
    /// There was nothing to watch yet.
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
            mailbox,
        }
    }

    /// Watches a stream until it is closed.
    ///
    /// # Errors
    /// The runtime cannot wait for an epoll instance, or the system has no room for another or for the stream.
    pub(crate) fn add<R: Runtime>(&mut self, stream: &TcpStream, number: u32) -> io::Result<()> {
        if matches!(self.state, State::New) {
            self.state = begin::<R>().unwrap_or(State::Unavailable);
            // The task has to leave its waker with it.
            self.mailbox.ready.notify();
        }
        match &self.state {
            State::Watched { epoll, .. } => {
                let data = EventData::new_u64(number.into());
                Ok(epoll::add(epoll, stream, data, INTEREST)?)
            }
            State::New | State::Unavailable => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Tells of every change there was; the next one wakes the task.
    ///
    /// # Errors
    /// Nothing is watched any more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut tell: impl FnMut(u32, Change),
    ) -> io::Result<()> {
        let State::Watched { epoll, watch } = &mut self.state else {
            return Ok(());
        };
        let mut found = 0;
        let mut look = || {
            while let Poll::Ready(result) = watch.poll_readable(cx) {
                result?;
                found += take(epoll, &mut tell)?;
            }
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
            let has_ended = is_broken || flags.contains(EventFlags::RDHUP);
            let change = Change {
                is_readable: has_ended || flags.contains(EventFlags::IN),
                is_writable: is_broken || flags.contains(EventFlags::OUT),
                has_ended,
            };
            tell(u32::try_from(data.u64()).expect("it was one"), change);
        }
        if !rest.is_empty() {
            return Ok(taken);
        }
    }
}
