//! A transport in memory: the client's end is a `Socket`, the server's end blocks a thread.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use ropewalk_driver::Socket;

/// How many bytes a direction holds: few, so that writes are partial.
const CAPACITY: usize = 7;

#[derive(Default)]
struct Direction {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Direction {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

/// The client's end.
pub(crate) struct Client {
    incoming: Arc<Direction>,
    outgoing: Arc<Direction>,
}

/// The server's end.
pub(crate) struct Peer {
    incoming: Arc<Direction>,
    outgoing: Arc<Direction>,
}

/// Both ends of a new pipe.
pub(crate) fn pipe() -> (Client, Peer) {
    let (up, down) = (Arc::<Direction>::default(), Arc::<Direction>::default());
    let client = Client {
        incoming: Arc::clone(&down),
        outgoing: Arc::clone(&up),
    };
    let peer = Peer {
        incoming: up,
        outgoing: down,
    };
    (client, peer)
}

impl Socket for Client {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.incoming.state.lock().unwrap();
        if state.bytes.is_empty() && !state.is_closed {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = state.bytes.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(state.bytes.drain(..count)) {
            *to = from;
        }
        drop(state);
        self.incoming.changed.notify_all();
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.outgoing.state.lock().unwrap();
        let room = CAPACITY - state.bytes.len();
        if room == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .take(room)
            .collect();
        state.bytes.extend(&bytes);
        drop(state);
        self.outgoing.changed.notify_all();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.change(|state| state.is_closed = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.outgoing.change(|state| state.is_closed = true);
        self.incoming.change(|state| state.is_closed = true);
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.incoming.state.lock().unwrap();
        let wait = |state: &mut State| state.bytes.is_empty() && !state.is_closed;
        drop(self.incoming.changed.wait_while(state, wait).unwrap());
        Ok(self.incoming.change(|state| {
            let count = state.bytes.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(state.bytes.drain(..count)) {
                *to = from;
            }
            count
        }))
    }
}

impl Write for Peer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let state = self.outgoing.state.lock().unwrap();
        let wait = |state: &mut State| state.bytes.len() >= CAPACITY && !state.is_closed;
        drop(self.outgoing.changed.wait_while(state, wait).unwrap());
        self.outgoing.change(|state| {
            if state.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = buffer.len().min(CAPACITY - state.bytes.len());
            state.bytes.extend(&buffer[..count]);
            Ok(count)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.outgoing.change(|state| state.is_closed = true);
    }
}
