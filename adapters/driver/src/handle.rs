//! A connection as its application holds it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use ropewalk_core::{Batch, ConnectionReport, Consumer, Shutdown, State};

use crate::link::{Link, Settled};
use crate::mailbox::Command;
use crate::oneshot::oneshot;
use crate::sender::Sender;
use crate::snapshot::Snapshot;
use crate::waiters::Key;

/// A connection: takes its batches, steers it, asks how it is.
///
/// It lives until it is closed, gives up, or its fleet ends; sockets come and go below it. Dropping the
/// handle of a connection without a processor closes it in the background, since nobody could take its
/// messages any more: what is queued is sent, for at most the close timeout
/// ([`Timeouts::close`](ropewalk_core::settings::Timeouts::close)). A connection with a processor goes on without
/// its handle.
pub struct ConnectionHandle {
    link: Arc<Link>,
    close_timeout: Duration,
    key: Key,
}

impl ConnectionHandle {
    pub(crate) fn new(link: Arc<Link>, close_timeout: Duration) -> Self {
        Self {
            link,
            close_timeout,
            key: None,
        }
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// The connection's name.
    pub fn name(&self) -> &Arc<str> {
        &self.link.name
    }

    /// A sender of messages; there may be many.
    pub fn sender(&self) -> Sender {
        Sender::new(&self.link)
    }

    /// Waits for the next batch of messages, through every reconnect; `None` once the connection has
    /// ended and everything it had received was taken. Waiting says that the batch before is done with.
    ///
    /// Cancel safe: a batch that comes after the wait was dropped is there for the next one. A connection
    /// with a processor has no batches for anybody else: this then waits for its end.
    pub async fn next_batch(&self) -> Option<Batch> {
        next_batch(&self.link).await
    }

    /// Where the connection is in its life, as far as its shard has told.
    pub fn state(&self) -> State {
        self.link.state()
    }

    /// How the connection stands, counters included. Once it has ended: how it stood then, or `None` if
    /// its fleet was dropped. Cancel safe.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (promise, snapshot) = oneshot();
        self.link
            .tell(Command::Snapshot(Arc::clone(&self.link), promise));
        match snapshot.await {
            Some(snapshot) => Some(snapshot),
            None => self.link.report().map(|report| Snapshot {
                name: Arc::clone(&self.link.name),
                state: self.link.state(),
                counters: report.counters,
            }),
        }
    }

    /// Closes the session, if there is one, and dials no more until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.link.tell(Command::Pause(Arc::clone(&self.link)));
    }

    /// Ends a pause: the connection dials at once.
    pub fn resume(&self) {
        self.link.tell(Command::Resume(Arc::clone(&self.link)));
    }

    /// Gives the processor, or whoever waits in [`next_batch`](Self::next_batch), no more batches until
    /// [`resume_processing`](Self::resume_processing). Calls that run go on, one that begins this very moment included. The socket
    /// stays: messages gather up to the bounds of the inbound queue, and then it is not read. When the connection is to end, the pause
    /// ends, so that nothing is left.
    pub fn pause_processing(&self) {
        self.link.pause_processing();
    }

    /// Ends such a pause.
    pub fn resume_processing(&self) {
        self.link.resume_processing();
    }

    /// Ends the wait before the next attempt, if the connection is waiting.
    pub fn retry_now(&self) {
        self.link.tell(Command::RetryNow(Arc::clone(&self.link)));
    }

    /// Ends the connection: accepts no more messages to send, sends what is queued, closes the WebSocket
    /// and lets the consumer finish. What is left after `within` is dropped and counted in the report.
    /// Batches can be taken meanwhile with [`next_batch`](Self::next_batch), and one that is ready at the
    /// end afterwards.
    ///
    /// `None` if the fleet was dropped before the end. Dropping the future does not take the close back;
    /// calling again waits for the same end, or for an earlier one.
    pub async fn close(&self, within: Duration) -> Option<ConnectionReport> {
        let deadline = self.link.now() + within;
        self.link.remove(Shutdown::Graceful { deadline });
        self.ended().await
    }

    /// Waits until the connection has ended for good. Cancel safe. `None` if the fleet was dropped first.
    ///
    /// A connection that gave up ends when its consumer is done; to wait here says that a puller is done
    /// with the batches it took.
    pub async fn ended(&self) -> Option<ConnectionReport> {
        if self.link.settle() == Settled::Ask {
            self.link.tell(Command::Ask(Arc::clone(&self.link)));
        }
        let mut wait = Wait {
            link: &self.link,
            key: None,
        };
        poll_fn(move |cx| self.link.poll_report(&mut wait.key, cx)).await
    }
}

impl Stream for ConnectionHandle {
    type Item = Batch;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        let Self { link, key, .. } = &mut *self;
        link.poll_batch(key, cx)
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.link.leave(self.key);
        match self.link.consumer {
            // Nobody can take its messages any more.
            Consumer::Pull => {
                let deadline = self.link.now() + self.close_timeout;
                self.link.remove(Shutdown::Unread { deadline });
            }
            Consumer::Process => {}
        }
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("name", &self.link.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

async fn next_batch(link: &Arc<Link>) -> Option<Batch> {
    let mut wait = Wait { link, key: None };
    poll_fn(move |cx| link.poll_batch(&mut wait.key, cx)).await
}

/// A wait that leaves nothing behind.
struct Wait<'a> {
    link: &'a Link,
    key: Key,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.link.leave(self.key);
    }
}
