//! Several calls of an application's function in one task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::ready::{Queued, ReadyList};

/// Futures that are polled when they were woken, and not when another was.
pub(crate) struct Calls<F> {
    ready: Arc<ReadyList>,
    places: Vec<Place<F>>,
    vacant: Vec<u32>,
    woken: Vec<u32>,
}

struct Place<F> {
    bell: Arc<Bell>,
    waker: Waker,
    call: Option<F>,
}

/// Puts a place's number on the list of those that were woken.
struct Bell {
    index: u32,
    queued: Queued,
    ready: Arc<ReadyList>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.index, &self.queued);
    }
}

impl<F: Future + Unpin> Calls<F> {
    pub(crate) fn new() -> Self {
        Self {
            ready: Arc::default(),
            places: Vec::new(),
            vacant: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// How many go on.
    pub(crate) fn running(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// To be called before a poll: what is woken from now on wakes `task`.
    pub(crate) fn register(&mut self, task: &Waker) {
        self.ready.register(task, &mut self.woken);
    }

    /// Begins a call, which runs when the others are [polled](Self::poll).
    pub(crate) fn begin(&mut self, call: F) {
        let index = self.vacant.pop().unwrap_or_else(|| self.add_place());
        self.places[index as usize].call = Some(call);
        self.woken.push(index);
    }

    /// Lets all run that were woken, and takes the results of those that have ended. Whether there was one.
    pub(crate) fn poll(&mut self, mut take: impl FnMut(F::Output)) -> Progress {
        let mut progress = Progress::None;
        for index in self.woken.drain(..) {
            let place = &mut self.places[index as usize];
            place.bell.queued.clear();
            let Some(call) = &mut place.call else {
                continue;
            };
            let mut context = Context::from_waker(&place.waker);
            if let Poll::Ready(result) = Pin::new(call).poll(&mut context) {
                place.call = None;
                self.vacant.push(index);
                progress = Progress::Some;
                take(result);
            }
        }
        progress
    }

    fn add_place(&mut self) -> u32 {
        let index = u32::try_from(self.places.len()).expect("there are few workers");
        let bell = Arc::new(Bell {
            index,
            queued: Queued::default(),
            ready: Arc::clone(&self.ready),
        });
        self.places.push(Place {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            call: None,
        });
        index
    }
}

/// Whether a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Some,
    None,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::application::BoxFuture;
    use crate::oneshot::oneshot;
    use crate::woken::Woken;

    #[test]
    fn only_calls_that_were_woken_are_polled_and_places_are_used_again() {
        let mut calls = Calls::<BoxFuture<&str>>::new();
        let task = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&task));
        let polls = Arc::new(Mutex::new(Vec::new()));
        let mut promises = Vec::new();
        for name in ["first", "second"] {
            let (promise, answer) = oneshot::<()>();
            promises.push(promise);
            let mut answer = Box::pin(answer);
            let polls = Arc::clone(&polls);
            calls.begin(Box::pin(std::future::poll_fn(move |cx| {
                polls.lock().unwrap().push(name);
                answer.as_mut().poll(cx).map(|_| name)
            })));
        }
        let mut ended = Vec::new();
        calls.register(&waker);
        assert_eq!(calls.poll(|name| ended.push(name)), Progress::None);
        assert_eq!(polls.lock().unwrap().len(), 2);
        polls.lock().unwrap().clear();

        promises.pop().unwrap().keep(());
        assert_eq!(task.times(), 1);
        calls.register(&waker);
        assert_eq!(calls.poll(|name| ended.push(name)), Progress::Some);
        assert_eq!((&ended[..], calls.running()), (&["second"][..], 1));
        assert_eq!(*polls.lock().unwrap(), ["second"]);

        calls.begin(Box::pin(async { "third" }));
        assert_eq!((calls.running(), calls.places.len()), (2, 2));
        assert_eq!(calls.poll(|name| ended.push(name)), Progress::Some);
        assert_eq!(ended, ["second", "third"]);
    }
}
