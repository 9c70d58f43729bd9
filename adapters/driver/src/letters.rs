//! Dead letters as they come.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_core::Stream;
use ropewalk_core::DeadLetter;

use crate::store::Keeper;
use crate::waiters::{Key, Waiters};

/// A dead letter with the name of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The connection's name.
    pub name: Arc<str>,
    /// The message and why it could not be delivered or processed.
    pub letter: DeadLetter,
}

/// How many dead letters a fleet keeps for somebody to read. Beyond that the oldest go, and are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterBounds {
    /// The most letters. Default: 10,000.
    pub letters_max: NonZeroUsize,
    /// The most bytes of payload. Default: 64 MiB. A letter larger than that is kept alone.
    pub bytes_max: NonZeroUsize,
}

impl Default for LetterBounds {
    fn default() -> Self {
        Self {
            letters_max: NonZeroUsize::MIN.saturating_add(10_000 - 1),
            bytes_max: NonZeroUsize::MIN.saturating_add((64 << 20) - 1),
        }
    }
}

/// A reader of a fleet's dead letters, the oldest first, those from before it was made included. Each
/// letter goes to one reader.
///
/// It ends when the fleet has and there are no letters left.
///
/// A fleet with a [store](crate::FleetBuilder::letter_store) keeps each letter there as well, whether it is read
/// here or not, and lets a program [list](Self::list), [retry](Self::retry) and otherwise decide about them.
pub struct Letters {
    tray: Arc<Tray>,
    pub(crate) keeper: Option<Keeper>,
    key: Key,
}

impl Letters {
    pub(crate) fn new(tray: &Arc<Tray>, keeper: Option<Keeper>) -> Self {
        Self {
            tray: Arc::clone(tray),
            keeper,
            key: None,
        }
    }

    /// Waits for the next letter; `None` when the fleet has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Letter> {
        poll_fn(|cx| self.poll_letter(cx)).await
    }

    /// How many letters went because there were too many, since the fleet began.
    pub fn dropped(&self) -> u64 {
        self.tray.lock().dropped
    }

    fn poll_letter(&mut self, cx: &Context<'_>) -> Poll<Option<Letter>> {
        let mut state = self.tray.lock();
        if let Some(letter) = state.letters.pop_front() {
            state.bytes -= letter.letter.payload.len();
            return Poll::Ready(Some(letter));
        }
        match state.phase {
            Phase::Ended => Poll::Ready(None),
            Phase::Running => {
                state.waiters.wait(&mut self.key, cx);
                Poll::Pending
            }
        }
    }
}

impl Stream for Letters {
    type Item = Letter;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Letter>> {
        self.poll_letter(cx)
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.tray.lock().waiters.leave(self.key);
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").finish_non_exhaustive()
    }
}

/// The letters that nobody has read.
#[derive(Debug)]
pub(crate) struct Tray {
    bounds: LetterBounds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    letters: VecDeque<Letter>,
    bytes: usize,
    dropped: u64,
    phase: Phase,
    waiters: Waiters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Ended,
}

impl Tray {
    pub(crate) fn new(bounds: LetterBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, letter: Letter) {
        let mut state = self.lock();
        state.bytes += letter.letter.payload.len();
        state.letters.push_back(letter);
        while state.letters.len() > 1
            && (state.letters.len() > self.bounds.letters_max.get()
                || state.bytes > self.bounds.bytes_max.get())
        {
            if let Some(oldest) = state.letters.pop_front() {
                state.bytes -= oldest.letter.payload.len();
                state.dropped += 1;
            }
        }
        let wake = state.waiters.take();
        drop(state);
        wake.wake();
    }

    /// Readers end once they have read what is there.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.phase = Phase::Ended;
        let wake = state.waiters.take();
        drop(state);
        wake.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_core::{Direction, Instant, Kind, Stage};

    use super::*;

    fn letter(seq: u64, bytes: usize, connection: ropewalk_core::ConnectionId) -> Letter {
        Letter {
            name: "test".into(),
            letter: DeadLetter {
                connection,
                endpoint: "ws://test/".into(),
                generation: 1,
                seq,
                direction: Direction::Inbound,
                stage: Stage::Business,
                reason: "no".into(),
                attempts: 1,
                received_at: Instant::ORIGIN,
                first_failed_at: Instant::ORIGIN,
                kind: Kind::Text,
                payload: vec![0; bytes].into(),
            },
        }
    }

    fn read(letters: &mut Letters) -> Vec<u64> {
        let cx = Context::from_waker(std::task::Waker::noop());
        let mut seqs = Vec::new();
        while let Poll::Ready(Some(letter)) = letters.poll_letter(&cx) {
            seqs.push(letter.letter.seq);
        }
        seqs
    }

    #[test]
    fn the_oldest_letters_go_when_there_are_too_many_and_are_counted() {
        let id = crate::tests::any_id();
        let tray = Arc::new(Tray::new(LetterBounds {
            letters_max: NonZeroUsize::new(3).unwrap(),
            bytes_max: NonZeroUsize::new(10).unwrap(),
        }));
        let mut letters = Letters::new(&tray, None);
        for seq in 1..=4 {
            tray.push(letter(seq, 1, id));
        }
        assert_eq!(letters.dropped(), 1);
        assert_eq!(read(&mut letters), [2, 3, 4]);
        tray.push(letter(5, 6, id));
        tray.push(letter(6, 6, id));
        assert_eq!(read(&mut letters), [6]);
        tray.push(letter(7, 1, id));
        tray.push(letter(8, 1_000, id));
        assert_eq!(
            read(&mut letters),
            [8],
            "one that is too large is kept alone"
        );
        tray.push(letter(9, 1, id));
        tray.end();
        assert_eq!(read(&mut letters), [9]);
        let cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(letters.poll_letter(&cx), Poll::Ready(None)));
        assert_eq!(letters.dropped(), 3);
    }
}
