//! Which of a shard's sockets and dials have something to do.
//!
//! The order of operations is what makes it right: whoever has news first stores it and then wakes; the
//! shard first leaves its waker and then looks. Both happen under one lock, so that one of them sees the
//! other.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::tray::move_behind;

/// Indices that were woken, and the task to wake for them.
#[derive(Debug, Default)]
pub(crate) struct ReadyList {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    woken: VecDeque<u32>,
    task: Option<Waker>,
}

/// Whether an index waits for its turn already, so that it is listed once.
#[derive(Debug, Default)]
pub(crate) struct Queued(AtomicBool);

/// Whether anything may have come since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Some,
    None,
}

impl Queued {
    /// Marks it; whether it was not marked before.
    pub(crate) fn mark(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// To be called before the index is served, so that what happens meanwhile lists it again.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl ReadyList {
    /// Lists `index`, if it is not listed, and wakes the shard.
    pub(crate) fn push(&self, index: u32, queued: &Queued) {
        if queued.mark() {
            let mut state = self.lock();
            state.woken.push_back(index);
            let task = state.task.take();
            drop(state);
            wake(task);
        }
    }

    /// Wakes the shard because of something that is kept elsewhere and was stored before.
    pub(crate) fn notify(&self) {
        let task = self.lock().task.take();
        wake(task);
    }

    /// Leaves `task` to be woken by whatever comes from now on, and moves what has come behind what is `ready`. Whoever comes takes
    /// the waker, so while there is one still, nothing has come since the last time, here or where others keep it.
    pub(crate) fn register(&self, task: &Waker, ready: &mut VecDeque<u32>) -> News {
        let mut state = self.lock();
        if let Some(known) = &mut state.task {
            known.clone_from(task);
            return News::None;
        }
        state.task = Some(task.clone());
        release_room(ready);
        move_behind(ready, &mut state.woken);
        News::Some
    }

    /// Forgets the task. It has ended.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        let task = state.task.take();
        let woken = mem::take(&mut state.woken);
        drop(state);
        drop((task, woken));
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

/// Capacity that an emptied list keeps: 4 KiB.
const KEPT: usize = 1024;

/// Gives the room of a list back if it was long and is empty.
pub(crate) fn release_room(list: &mut VecDeque<u32>) {
    if list.is_empty() && list.capacity() > KEPT {
        *list = VecDeque::new();
    }
}

fn wake(task: Option<Waker>) {
    if let Some(task) = task {
        task.wake();
    }
}
