//! A waker for one thing among all that wake a shard, which tells whether it was that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use crate::mailbox::Mailbox;

/// Wakes the shard and remembers it. Most of what wakes a shard is something else, and to ask a runtime about each thing each time would
/// cost as much as to read a socket.
pub(crate) struct Bell {
    rung: Arc<Rung>,
    waker: Waker,
}

struct Rung {
    mailbox: Arc<Mailbox>,
    is_rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        let rung = Arc::new(Rung {
            mailbox,
            is_rung: AtomicBool::new(false),
        });
        Self {
            waker: Waker::from(Arc::clone(&rung)),
            rung,
        }
    }

    /// What rings it.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    #[cfg(any(target_os = "linux", test))]
    pub(crate) fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// Whether it was rung since the last time. To be asked before a look, so that what happens meanwhile leads to another.
    pub(crate) fn take(&self) -> bool {
        let is_rung = self.rung.is_rung.load(Ordering::Acquire);
        if is_rung {
            self.rung.is_rung.store(false, Ordering::Release);
        }
        is_rung
    }
}

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        self.mailbox.ready.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;

    #[test]
    fn whoever_rings_wakes_the_shard_and_is_told_of_once() {
        let mailbox = Arc::new(Mailbox::default());
        let bell = Bell::new(Arc::clone(&mailbox));
        let woken = Arc::new(Woken::default());
        mailbox
            .ready
            .register(&Waker::from(Arc::clone(&woken)), &mut Default::default());
        assert!(!bell.take());
        bell.context().waker().wake_by_ref();
        bell.ring();
        assert_eq!(woken.times(), 1);
        assert!(bell.take());
        assert!(!bell.take());
    }
}
