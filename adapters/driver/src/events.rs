//! What happens in a fleet, for whoever wants to know.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_core::Stream;
use ropewalk_core::Event;

use crate::waiters::{Key, Waiters};

/// An event with the name of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetEvent {
    /// The connection's name.
    pub name: Arc<str>,
    /// What happened to it, and when.
    pub event: Event,
    /// How many events before this one were lost to this reader, because it was slow: 0 unless it fell
    /// behind by more than the ring holds.
    pub missed: u64,
}

/// A reader of a fleet's events, from the moment it was made. Each reader sees every event, in each
/// connection's order.
///
/// It ends when the fleet has.
pub struct Events {
    ring: Arc<Ring>,
    next: u64,
    key: Key,
}

impl Events {
    pub(crate) fn new(ring: &Arc<Ring>) -> Self {
        let mut state = ring.lock();
        state.readers += 1;
        let next = state.first + state.events.len() as u64;
        drop(state);
        Self {
            ring: Arc::clone(ring),
            next,
            key: None,
        }
    }

    /// Waits for the next event; `None` when the fleet has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<FleetEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<FleetEvent>> {
        let mut state = self.ring.lock();
        let missed = state.first.saturating_sub(self.next);
        self.next += missed;
        let index = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        if let Some((name, event)) = state.events.get(index) {
            self.next += 1;
            return Poll::Ready(Some(FleetEvent {
                name: Arc::clone(name),
                event: event.clone(),
                missed,
            }));
        }
        match state.phase {
            Phase::Ended => Poll::Ready(None),
            Phase::Running => {
                state.waiters.wait(&mut self.key, cx);
                Poll::Pending
            }
        }
    }
}

impl Stream for Events {
    type Item = FleetEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FleetEvent>> {
        self.poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.ring.lock();
        state.waiters.leave(self.key);
        state.readers -= 1;
        if state.readers == 0 {
            state.first += state.events.len() as u64;
            state.events = VecDeque::new();
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The last events, as many as a slow reader may lag behind; empty while nobody reads.
#[derive(Debug)]
pub(crate) struct Ring {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(Arc<str>, Event)>,
    /// The number of the oldest event in `events`, counted from 0.
    first: u64,
    readers: usize,
    phase: Phase,
    waiters: Waiters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Ended,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, name: &Arc<str>, event: Event) {
        let mut state = self.lock();
        if state.readers == 0 {
            return;
        }
        if state.events.len() >= self.capacity {
            state.events.pop_front();
            state.first += 1;
        }
        state.events.push_back((Arc::clone(name), event));
        let wake = state.waiters.take();
        drop(state);
        wake.wake();
    }

    /// Readers end once they have seen what is there.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.phase = Phase::Ended;
        let wake = state.waiters.take();
        drop(state);
        wake.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}
