//! No wake-up is lost, whatever the order of steps on the two sides: every order is tried.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// Loom's primitives, in the place of the standard library's.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

#[allow(dead_code, reason = "the test needs a part of it")]
#[path = "../src/ready.rs"]
mod ready;

#[allow(dead_code, reason = "the test needs a part of it")]
#[path = "../src/tray.rs"]
mod tray;

use ready::{News, Queued, ReadyList};
use tray::Tray;

/// A task: woken or not.
struct Task(sync::AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, sync::Ordering::SeqCst);
    }
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self(sync::AtomicBool::new(false)))
    }

    fn take_wake(&self) -> bool {
        self.0.swap(false, sync::Ordering::SeqCst)
    }
}

/// A shard's poll: leave the waker, look, serve. What it saw is added to `seen`.
fn poll(
    list: &ReadyList,
    task: &Arc<Task>,
    queued: &Queued,
    seen: &mut usize,
    news: &sync::AtomicBool,
) {
    let mut ready = VecDeque::new();
    list.register(&Waker::from(Arc::clone(task)), &mut ready);
    for _ in ready {
        // Cleared before it is served.
        queued.clear();
        if news.swap(false, sync::Ordering::SeqCst) {
            *seen += 1;
        }
    }
}

#[test]
fn news_is_seen_or_the_shard_is_woken_again() {
    loom::model(|| {
        let list = Arc::new(ReadyList::default());
        let queued = Arc::new(Queued::default());
        let news = Arc::new(sync::AtomicBool::new(false));
        let task = Task::new();
        let socket = loom::thread::spawn({
            let (list, queued, news) = (Arc::clone(&list), Arc::clone(&queued), Arc::clone(&news));
            move || {
                for _ in 0..2 {
                    news.store(true, sync::Ordering::SeqCst);
                    list.push(0, &queued);
                }
            }
        });
        let mut seen = 0;
        poll(&list, &task, &queued, &mut seen, &news);
        socket.join().unwrap();
        // From here on nobody wakes but by what was left behind: a runtime polls while it is woken.
        while task.take_wake() {
            poll(&list, &task, &queued, &mut seen, &news);
        }
        assert!(seen >= 1, "something was seen");
        assert!(
            !news.load(sync::Ordering::SeqCst),
            "nothing is left that nobody will look at"
        );
    });
}

/// The box of a shard, and that shard's task.
struct Mail {
    list: ReadyList,
    tray: Tray<u32>,
    task: Arc<Task>,
}

impl Mail {
    /// Leaves one more. Only what comes into an empty box is told.
    fn leave(&self) {
        let mut left = self.tray.lock();
        *left += 1;
        self.tray.set_news(&left, true);
        let is_first = *left == 1;
        drop(left);
        if is_first {
            self.list.notify();
        }
    }

    fn take(&self) -> u32 {
        self.tray.lock_if_news().map_or(0, |mut left| {
            self.tray.set_news(&left, false);
            std::mem::take(&mut *left)
        })
    }

    /// A poll takes what was left if something may have come, and once more when calls were made, without another look for news.
    fn poll(&self, with_calls: bool) -> u32 {
        let waker = Waker::from(Arc::clone(&self.task));
        let taken = match self.list.register(&waker, &mut VecDeque::new()) {
            News::Some => self.take(),
            News::None => 0,
        };
        taken + if with_calls { self.take() } else { 0 }
    }
}

fn mail_is_seen(polls: [bool; 2]) {
    loom::model(move || {
        let mail = Arc::new(Mail {
            list: ReadyList::default(),
            tray: Tray::default(),
            task: Task::new(),
        });
        let sender = loom::thread::spawn({
            let mail = Arc::clone(&mail);
            move || (0..2).for_each(|_| mail.leave())
        });
        let mut seen: u32 = polls.iter().map(|&with_calls| mail.poll(with_calls)).sum();
        sender.join().expect("nothing there can panic");
        while mail.task.take_wake() {
            seen += mail.poll(false);
        }
        assert_eq!(seen, 2);
    });
}

#[test]
fn mail_is_seen_or_the_shard_is_woken_again() {
    mail_is_seen([false, false]);
}

#[test]
fn mail_that_is_taken_after_calls_is_seen_once_and_the_rest_still_wakes() {
    mail_is_seen([true, false]);
    mail_is_seen([false, true]);
}
