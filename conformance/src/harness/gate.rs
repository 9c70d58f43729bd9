//! Holds a consumer back.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use crate::scenario::Consuming;

/// Open or shut, and who waits for it.
#[derive(Debug)]
pub(super) struct Gate(Mutex<(Consuming, Vec<Waker>)>);

impl Gate {
    pub(super) fn new(consuming: Consuming) -> Self {
        Self(Mutex::new((consuming, Vec::new())))
    }

    pub(super) fn set(&self, consuming: Consuming) {
        let waiting = {
            let mut state = self.0.lock().expect("nothing panics under this lock");
            state.0 = consuming;
            std::mem::take(&mut state.1)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().expect("nothing panics under this lock");
            match state.0 {
                Consuming::Yes => Poll::Ready(()),
                Consuming::Held => {
                    state.1.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
    }
}
