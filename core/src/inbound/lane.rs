//! Messages that keep their order.

use std::collections::VecDeque;

use crate::arenas::Arenas;
use crate::batch::{Draft, Filling, MessageRef, Next, Pushed, Room};
use crate::settings::{BatchPolicy, IdleFlush};
use crate::time::Instant;

/// A batch that is complete and waits for its consumer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    /// A batch to be tried again is held until then.
    pub(super) not_before: Instant,
}

/// Batches in the order of their messages; the last one may still grow.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Boxed, because most consumers keep up and never need it.
    #[allow(
        clippy::box_collection,
        reason = "eight bytes in every idle connection, not 32"
    )]
    complete: Option<Box<VecDeque<Waiting>>>,
    growing: Option<Draft>,
}

/// What one read has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The socket it came over.
    pub(crate) generation: u32,
    pub(crate) at: Instant,
    /// Of its first message.
    pub(crate) seq: u64,
}

impl Lane {
    /// Appends a message to the batch in progress. Memory is taken ahead for `left` bytes at most; `ahead` bytes of the socket have
    /// arrived and were not looked at.
    pub(super) fn push(
        &mut self,
        policy: &BatchPolicy,
        (left, ahead): (usize, usize),
        generation: u32,
        message: MessageRef<'_>,
        arenas: &mut Arenas,
    ) -> Filling<'_> {
        let len = message.as_bytes().len();
        if let Some(growing) = &self.growing {
            let contents = growing.contents();
            let is_full = growing.generation() != generation
                || contents.len() >= policy.count_max
                || contents.bytes().saturating_add(len) > policy.bytes_max
                || !contents.has_room_for(len, message.seq());
            if is_full {
                self.complete_growing();
            }
        }
        let growing = self.growing.get_or_insert_with(|| {
            let bounds = (policy.bytes_max.min(left), policy.count_max);
            arenas.draft(generation, (len, ahead), bounds)
        });
        let mut filling = growing.fill(generation);
        let contents = &mut filling.contents;
        let bytes_max = contents.bytes().saturating_add(left);
        contents.make_room(len, policy.bytes_max.min(bytes_max));
        contents.push(message);
        filling.note_fullness(policy);
        filling
    }

    /// Appends messages of one socket, as many as `next` has and `room` allows.
    pub(super) fn push_run<'i>(
        &mut self,
        policy: &BatchPolicy,
        room: Room,
        run: &Arrival,
        arenas: &mut Arenas,
        mut next: impl FnMut() -> Option<Next<'i>>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        let mut hard = next();
        // Each that may need more memory is followed by those that do not.
        while let Some((kind, payload, ahead)) = hard.take() {
            let seq = run.seq + u64::from(pushed.items);
            let message = MessageRef::new(kind, payload, seq, run.at);
            let left = room.bytes - pushed.bytes;
            let mut filling = self.push(policy, (left, ahead), run.generation, message, arenas);
            pushed.items += 1;
            pushed.bytes += payload.len();
            let left = room.after(pushed);
            let contents = &mut filling.contents;
            let easy;
            (easy, hard) = contents.push_easy(policy, (seq + 1, run.at), left, &mut next);
            pushed.items += easy.items;
            pushed.bytes += easy.bytes;
            filling.note_fullness(policy);
        }
        pushed
    }

    /// Ends the batch in progress although it is not full: what comes next is of another kind.
    pub(super) fn complete_growing(&mut self) {
        if let Some(mut draft) = self.growing.take() {
            draft.contents_mut().shrink();
            self.append_complete(draft);
        }
    }

    /// Gives back what the batch in progress took ahead for messages that did not come.
    pub(super) fn shrink_growing(&mut self) {
        if let Some(growing) = &mut self.growing {
            growing.contents_mut().shrink_to_twice();
        }
    }

    /// The batch in progress is not to wait for more.
    pub(super) fn mark_urgent(&mut self) {
        if let Some(growing) = &mut self.growing {
            growing.mark_urgent();
        }
    }

    /// Puts a complete batch behind all others; the one in progress grows no more.
    pub(super) fn append(&mut self, draft: Draft) {
        self.complete_growing();
        self.append_complete(draft);
    }

    /// Puts a batch in front of all others.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.complete.get_or_insert_default().push_front(waiting);
    }

    pub(super) fn take(&mut self) -> Option<Draft> {
        self.take_complete().or_else(|| self.growing.take())
    }

    /// When the next batch may go out to a consumer that has asked; `None` if nothing waits.
    pub(super) fn next_due(&self, policy: &BatchPolicy) -> Option<Instant> {
        if let Some(first) = self.complete.as_ref().and_then(|c| c.front()) {
            return Some(first.not_before);
        }
        let growing = self.growing.as_ref()?;
        let received_at = growing.contents().first_received_at()?;
        Some(match policy.idle {
            IdleFlush::AtOnce => Instant::ORIGIN,
            IdleFlush::Linger if growing.is_urgent() => Instant::ORIGIN,
            IdleFlush::Linger => received_at + policy.linger,
        })
    }

    fn append_complete(&mut self, draft: Draft) {
        let waiting = Waiting {
            draft,
            not_before: Instant::ORIGIN,
        };
        self.complete.get_or_insert_default().push_back(waiting);
    }

    fn take_complete(&mut self) -> Option<Draft> {
        let complete = self.complete.as_mut()?;
        let waiting = complete.pop_front();
        if complete.is_empty() {
            self.complete = None;
        }
        Some(waiting?.draft)
    }
}
