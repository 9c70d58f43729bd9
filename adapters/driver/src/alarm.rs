//! A shard's timer, which is looked at only when it has rung.

use std::sync::Arc;
use std::task::Poll;

use ropewalk_core::Instant;

use crate::bell::Bell;
use crate::clock::Clock;
use crate::mailbox::Mailbox;
use crate::runtime::Timer;

/// A timer, and what it is set to.
pub(crate) struct Alarm<T> {
    timer: T,
    set_to: Option<Instant>,
    bell: Bell,
}

impl<T: Timer> Alarm<T> {
    pub(crate) fn new(timer: T, mailbox: Arc<Mailbox>) -> Self {
        Self {
            timer,
            set_to: None,
            bell: Bell::new(mailbox),
        }
    }

    /// Sets the timer to `at`, if it is not set to that already. Ready when it says that the time has come; else the shard is woken
    /// when that may have happened.
    pub(crate) fn poll(&mut self, at: Instant, clock: &Clock) -> Poll<()> {
        let has_rung = self.bell.take();
        if self.set_to != Some(at) {
            self.set_to = Some(at);
            self.timer.reset(clock.wake_time(at));
        } else if !has_rung {
            return Poll::Pending;
        }
        let poll = self.timer.poll(&mut self.bell.context());
        if poll.is_ready() {
            self.set_to = None;
        }
        poll
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    /// Rings when the test wants it to.
    #[derive(Default)]
    struct Manual {
        waker: Option<Waker>,
        is_due: bool,
        polls: u32,
    }

    impl Timer for Manual {
        fn reset(&mut self, _: std::time::Instant) {
            self.is_due = false;
        }

        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            match self.is_due {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    #[test]
    fn a_timer_is_polled_when_it_was_set_anew_or_has_rung_and_not_otherwise() {
        let clock = Clock::start();
        let at = |secs| Instant::from_origin(Duration::from_secs(secs));
        let mut alarm = Alarm::new(Manual::default(), Arc::new(Mailbox::default()));
        for _ in 0..3 {
            assert!(alarm.poll(at(10), &clock).is_pending());
            assert_eq!(alarm.timer.polls, 1);
        }
        assert!(alarm.poll(at(5), &clock).is_pending());
        assert_eq!(alarm.timer.polls, 2);
        // For nothing, as a timer may.
        alarm.timer.waker.clone().unwrap().wake();
        assert!(alarm.poll(at(5), &clock).is_pending());
        assert!(alarm.poll(at(5), &clock).is_pending());
        assert_eq!(alarm.timer.polls, 3);
        alarm.timer.is_due = true;
        alarm.timer.waker.clone().unwrap().wake();
        assert!(alarm.poll(at(5), &clock).is_ready());
        // The caller's clock is behind: it is set again.
        assert!(alarm.poll(at(5), &clock).is_pending());
        assert_eq!(alarm.timer.polls, 5);
    }
}
