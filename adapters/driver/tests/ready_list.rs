//! No wake-up is lost, whatever the order of steps on the two sides: every order is tried.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// Loom's primitives, in the place of the standard library's.
mod sync {
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}

#[allow(dead_code, reason = "the test needs a part of it")]
#[path = "../src/ready.rs"]
mod ready;

use ready::{News, Queued, ReadyList};

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

#[test]
fn mail_is_seen_or_the_shard_is_woken_again() {
    loom::model(|| {
        let list = Arc::new(ReadyList::default());
        let mail = Arc::new(sync::Mutex::new(0));
        let task = Task::new();
        let sender = loom::thread::spawn({
            let (list, mail) = (Arc::clone(&list), Arc::clone(&mail));
            move || {
                for _ in 0..2 {
                    // Only what comes into an empty box is told.
                    let mut mail = mail.lock().unwrap();
                    *mail += 1;
                    let is_first = *mail == 1;
                    drop(mail);
                    if is_first {
                        list.notify();
                    }
                }
            }
        });
        let waker = Waker::from(Arc::clone(&task));
        // Looks only where something may have come.
        let look = || match list.register(&waker, &mut VecDeque::new()) {
            News::Some => std::mem::take(&mut *mail.lock().unwrap()),
            News::None => 0,
        };
        let mut seen = look();
        seen += look();
        sender.join().unwrap();
        while task.take_wake() {
            seen += look();
        }
        assert_eq!(seen, 2);
    });
}
