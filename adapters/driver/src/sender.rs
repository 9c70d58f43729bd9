//! Sending.

use std::fmt;
use std::sync::Arc;

use ropewalk_core::settings::Overflow;
use ropewalk_core::{Kind, Message, Outcome, SendError, SendErrorCause};

use crate::link::Link;
use crate::oneshot::{Awaited, Promise, oneshot};
use crate::room::{Load, NoRoom, Posted};

/// Sends messages over a connection, whichever socket it has or will have. Cheap to clone.
///
/// Messages wait in a queue bounded in messages and bytes ([`Settings::outbound`](ropewalk_core::Settings::outbound)); where it is full,
/// senders wait for room, the longest first, unless [`when_full`](ropewalk_core::settings::OutboundSettings::when_full) says otherwise. What is in the
/// queue outlives sockets and leaves in order, lane by lane, once the ready script has succeeded.
#[derive(Clone)]
pub struct Sender {
    pub(crate) link: Arc<Link>,
}

impl Sender {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self {
            link: Arc::clone(link),
        }
    }

    /// Queues a message, waiting for room unless [`when_full`](ropewalk_core::settings::OutboundSettings::when_full) is to reject. The receipt tells
    /// what became of it. To whom that does not matter, [`post`](Self::post) costs less.
    ///
    /// Dropping the future before it is done drops the message, and nothing was sent. To keep the message
    /// in that case, [`reserve`](Self::reserve) first.
    ///
    /// # Errors
    /// The connection has ended or is ending, or there is no room and a full queue rejects; the message comes back.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let (outcome, receipt) = oneshot();
        match self.try_queue(message.into(), Some(outcome)) {
            Ok(()) => {}
            Err((posted, no_room)) => self.queue_later(posted, no_room).await?,
        }
        Ok(Receipt(receipt))
    }

    /// As [`send`](Self::send), without a receipt: what becomes of the message is only counted, and where messages become dead
    /// letters, this one does too. Short ones cost less with [`post_text`](Self::post_text) and [`post_binary`](Self::post_binary).
    ///
    /// Dropping the future before it is done drops the message, and nothing was sent.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn post(&self, message: impl Into<Message>) -> Result<(), SendError> {
        match self.try_queue(message.into(), None) {
            Ok(()) => Ok(()),
            Err((posted, no_room)) => self.queue_later(posted, no_room).await,
        }
    }

    /// As [`post`](Self::post), for a text that is short or is kept elsewhere: it is copied to where it waits, and while others wait
    /// there, a short one needs no memory of its own. The cheapest way to send very many.
    ///
    /// Dropping the future before it is done drops the message, and nothing was sent.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    #[inline]
    pub async fn post_text(&self, text: &str) -> Result<(), SendError> {
        match self.link.room.post_bytes(Kind::Text, text.as_bytes()) {
            Some(then) => {
                self.link.posted(then);
                Ok(())
            }
            None => self.post(text).await,
        }
    }

    /// As [`post_text`](Self::post_text), for binary data.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    #[inline]
    pub async fn post_binary(&self, bytes: &[u8]) -> Result<(), SendError> {
        match self.link.room.post_bytes(Kind::Binary, bytes) {
            Some(then) => {
                self.link.posted(then);
                Ok(())
            }
            None => self.post(bytes.to_vec()).await,
        }
    }

    /// Queues a message if there is room.
    ///
    /// # Errors
    /// There is no room, or the connection has ended or is ending; the message comes back. Where a full queue drops
    /// messages there is no room only while twice as many are on their way as may wait.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let (outcome, receipt) = oneshot();
        match self.try_queue(message.into(), Some(outcome)) {
            Ok(()) => Ok(Receipt(receipt)),
            Err((posted, no_room)) => Err(refused(posted.message, no_room)),
        }
    }

    /// As [`try_send`](Self::try_send), without a receipt.
    ///
    /// # Errors
    /// As for [`try_send`](Self::try_send).
    pub fn try_post(&self, message: impl Into<Message>) -> Result<(), SendError> {
        match self.try_queue(message.into(), None) {
            Ok(()) => Ok(()),
            Err((posted, no_room)) => Err(refused(posted.message, no_room)),
        }
    }

    /// Waits for the room that there was not, if there may be some.
    async fn queue_later(&self, posted: Posted, no_room: NoRoom) -> Result<(), SendError> {
        let Posted { message, outcome } = posted;
        let waits = no_room == NoRoom::Full && self.link.when_full != Overflow::Reject;
        if !waits {
            return Err(refused(message, no_room));
        }
        match self.reserve(message.len()).await {
            Ok(permit) => permit.post(message, outcome),
            Err(Closed) => Err(refused(message, NoRoom::Closed)),
        }
    }

    fn try_queue(
        &self,
        message: Message,
        outcome: Option<Promise<Outcome>>,
    ) -> Result<(), (Posted, NoRoom)> {
        let posted = Posted { message, outcome };
        let then = self.link.room.post(posted)?;
        self.link.posted(then);
        Ok(())
    }

    /// Waits for room for one message of at most `bytes`. Cancel safe: dropped, it gives up its place in
    /// the line and nothing else.
    ///
    /// # Errors
    /// The connection has ended or is ending.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, Closed> {
        match self.link.room.wait(Load::one(bytes)).await {
            Ok(()) => Ok(Permit::new(&self.link, bytes)),
            Err(NoRoom::Full | NoRoom::Closed) => Err(Closed),
        }
    }

    /// The connection's name.
    pub fn name(&self) -> &Arc<str> {
        &self.link.name
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("name", &self.link.name)
            .finish_non_exhaustive()
    }
}

/// The connection has ended or is ending and sends nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended")]
pub struct Closed;

/// Room for one message. Dropping it gives the room back.
#[must_use]
pub struct Permit {
    link: Arc<Link>,
    held: Option<usize>,
}

impl Permit {
    pub(crate) fn new(link: &Arc<Link>, bytes: usize) -> Self {
        Self {
            link: Arc::clone(link),
            held: Some(bytes),
        }
    }

    /// Queues the message, at once.
    ///
    /// # Errors
    /// The message is longer than what was reserved ([`SendErrorCause::Full`]), or the connection has
    /// ended; the message comes back.
    pub fn send(self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let (outcome, receipt) = oneshot();
        self.post(message.into(), Some(outcome))?;
        Ok(Receipt(receipt))
    }

    fn post(
        mut self,
        message: Message,
        outcome: Option<Promise<Outcome>>,
    ) -> Result<(), SendError> {
        let bytes = message.len();
        let Some(spare) = self.held.and_then(|held| held.checked_sub(bytes)) else {
            return Err(refused(message, NoRoom::Full));
        };
        let posted = Posted { message, outcome };
        match self.link.room.post_charged(posted, spare) {
            Ok(then) => {
                // From here on the room is the message's, and is given back when the message leaves.
                self.held = None;
                self.link.posted(then);
                Ok(())
            }
            Err(posted) => Err(refused(posted.message, NoRoom::Closed)),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(bytes) = self.held.take() {
            self.link.room.give(1, bytes);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bytes", &self.held)
            .finish_non_exhaustive()
    }
}

/// Tells what became of a message. It may be dropped: the message is sent all the same.
#[derive(Debug)]
pub struct Receipt(pub(crate) Awaited<Outcome>);

impl Receipt {
    /// Waits until the message has left, or cannot any more. [`Outcome::Written`] means that the kernel
    /// accepted it, not that the peer has it.
    ///
    /// If the fleet's task was killed with its runtime, nobody knows, and the answer is
    /// [`Outcome::Interrupted`].
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::Interrupted)
    }
}

fn refused(message: Message, no_room: NoRoom) -> SendError {
    SendError {
        message,
        cause: match no_room {
            NoRoom::Full => SendErrorCause::Full,
            NoRoom::Closed => SendErrorCause::Closed,
        },
    }
}
