//! The memory of batches, used again.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::batch::{Batch, Contents, Draft};

/// For how many bytes of payloads there may be memory that comes back here.
const LENT_BYTES_MAX: usize = 2 << 20;
/// What is smaller is quickly taken anew, and what is larger is rare.
const BYTES_MIN: usize = 16 << 10;
const BYTES_MAX: usize = 256 << 10;
/// The same of what was read to where it is: that is what such memory is for.
const LONG_BYTES_MAX: usize = 1 << 20;

/// How much memory small batches that have come back may take, and how much of it one takes beside its messages.
const SMALL_BYTES_MAX: usize = 256 << 10;
const SMALL_OVERHEAD: usize = 256;
/// Among how many of them one is looked for that fits.
const SMALL_LOOKED_AT: usize = 8;

/// How much one read brings at most.
pub(crate) const READ_BYTES: usize = 224 << 10;
/// Where in the memory for reads a read begins. What an earlier one has brought of the first message can be put before it.
pub(crate) const READ_AT: usize = 32 << 10;

/// The latest batches that were handed out. Once nobody else holds one of them, the next takes its memory: what a busy
/// socket brings is then not paid for with new pages each time.
///
/// All connections of a set share this, so it holds at most [`LENT_BYTES_MAX`], however many connections there are, and
/// nothing once little comes.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    lent: VecDeque<Batch>,
    lent_bytes: usize,
    small: Vec<Draft>,
    small_bytes: usize,
    is_used: bool,
}

impl Arenas {
    /// A batch to be [filled](Draft::fill) with messages of about `len` bytes that lie in the next `ahead` bytes of a socket, with memory for at most
    /// `bytes_max` bytes and `count_max` messages: one piece instead of many that double.
    pub(crate) fn draft(
        &mut self,
        generation: u32,
        (len, ahead): (usize, usize),
        bounds: (usize, usize),
    ) -> Draft {
        let (bytes, count) = Contents::room_for(len, ahead, bounds);
        if bytes < BYTES_MIN {
            return match self.take_small(bytes) {
                Some(draft) => draft,
                None => Draft::new(Contents::with_room(bytes, count), generation),
            };
        }
        // In few sizes, so that one that was used before mostly fits.
        let bytes = bytes.next_power_of_two().min(bounds.0);
        // Whoever keeps a batch is not to keep far more than its messages.
        let contents = match self.take(bytes..=bytes.saturating_mul(2)) {
            Some(spare) => spare.emptied(),
            None => Contents::with_room(bytes, count),
        };
        Draft::new(contents, generation)
    }

    /// Memory for what one read brings.
    pub(crate) fn for_read(&mut self) -> Contents {
        const BYTES: usize = READ_AT + READ_BYTES;
        match self.take(BYTES..=BYTES + BYTES / 4) {
            Some(mut spare) => {
                spare.memory().resize(BYTES, 0);
                spare
            }
            None => Contents::for_read(BYTES),
        }
    }

    /// Memory that there is already for a message of so many bytes.
    pub(crate) fn for_message(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let mut memory = std::mem::take(self.take(bytes..=bytes.saturating_mul(2))?.memory());
        memory.resize(bytes, 0);
        Some(memory)
    }

    /// Notes a batch that is handed out.
    pub(crate) fn lend(&mut self, batch: &Batch) {
        let contents = batch.contents();
        let bytes_max = match contents.is_lent() {
            true => LONG_BYTES_MAX,
            false => BYTES_MAX,
        };
        if !(BYTES_MIN..=bytes_max).contains(&contents.capacity()) {
            return;
        }
        self.is_used = true;
        self.lent_bytes += contents.capacity();
        self.lent.push_back(batch.clone());
        while self.lent_bytes > LENT_BYTES_MAX {
            self.remove(0);
        }
    }

    /// Takes a batch that is done with. A small one, which nobody else has, is used again as it is.
    pub(crate) fn take_back(&mut self, batch: Batch) {
        let weight = small_weight(batch.contents());
        if weight < 2 * BYTES_MIN
            && self.small_bytes + weight <= SMALL_BYTES_MAX
            && let Some(draft) = Draft::of_spare(batch)
        {
            self.is_used = true;
            self.small_bytes += weight;
            self.small.push(draft);
        }
    }

    /// Some time has passed. What nobody has needed since the last time is given back.
    pub(crate) fn age(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            *self = Self::default();
        }
    }

    fn take(&mut self, fits: RangeInclusive<usize>) -> Option<Contents> {
        let is_free = |it: &Batch| it.is_unshared() && fits.contains(&it.contents().capacity());
        // The latest is the likeliest to be in the processor's cache.
        let at = self.lent.iter().rposition(is_free)?;
        let contents = self.remove(at)?.into_contents()?;
        Some(contents.into_spare())
    }

    fn take_small(&mut self, bytes: usize) -> Option<Draft> {
        let fits = bytes..=bytes.saturating_mul(2);
        let from = self.small.len().saturating_sub(SMALL_LOOKED_AT);
        let fits = |it: &Draft| fits.contains(&it.contents().capacity());
        let behind = self.small[from..].iter().rposition(fits)?;
        let draft = self.small.swap_remove(from + behind);
        self.small_bytes -= small_weight(draft.contents());
        Some(draft)
    }

    fn remove(&mut self, at: usize) -> Option<Batch> {
        let batch = self.lent.remove(at)?;
        self.lent_bytes -= batch.contents().capacity();
        Some(batch)
    }
}

/// How many bytes keeping a small batch costs.
fn small_weight(contents: &Contents) -> usize {
    contents.capacity() + contents.overhead() + SMALL_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::MessageRef;
    use crate::ids::ConnectionId;
    use crate::message::Kind;
    use crate::time::Instant;

    const BOUNDS: (usize, usize) = (256 << 10, 1_024);

    fn handed_out(draft: Draft) -> Batch {
        let connection = ConnectionId {
            index: 0,
            generation: 0,
        };
        draft.hand_out(connection, Instant::ORIGIN, 0)
    }

    /// A batch of one message that was to be many.
    fn batch(arenas: &mut Arenas, ahead: usize) -> Batch {
        let mut draft = arenas.draft(1, (1_000, ahead), BOUNDS);
        let message = MessageRef::new(Kind::Text, &[b'x'; 1_000], 1, Instant::ORIGIN);
        draft.contents_mut().push(message);
        let batch = handed_out(draft);
        arenas.lend(&batch);
        batch
    }

    fn place(batch: &Batch) -> *const u8 {
        batch.get(0).expect("it has one").as_bytes().as_ptr()
    }

    #[test]
    fn memory_is_used_again_once_nobody_holds_its_batch_and_not_before() {
        let mut arenas = Arenas::default();
        let first = batch(&mut arenas, 20 << 10);
        let second = batch(&mut arenas, 20 << 10);
        assert_ne!(place(&first), place(&second));
        let (freed, clone) = (place(&second), second.clone());
        drop(second);
        let third = batch(&mut arenas, 20 << 10);
        assert_ne!(place(&third), freed, "somebody still holds it");
        drop(clone);
        let again = batch(&mut arenas, 20 << 10);
        assert_eq!((place(&again), again.len()), (freed, 1));
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back_when_nothing_comes() {
        let mut arenas = Arenas::default();
        for _ in 0..100 {
            drop(batch(&mut arenas, 100 << 10));
        }
        assert_eq!(arenas.lent.len(), 1, "the same again and again");
        let held: Vec<_> = (0..100).map(|_| batch(&mut arenas, 100 << 10)).collect();
        assert!(arenas.lent_bytes <= LENT_BYTES_MAX);
        let capacities = arenas.lent.iter().map(|it| it.contents().capacity());
        assert_eq!(capacities.sum::<usize>(), arenas.lent_bytes);
        drop(held);
        arenas.age();
        assert!(!arenas.lent.is_empty());
        arenas.age();
        assert_eq!((arenas.lent.len(), arenas.lent_bytes), (0, 0));
    }

    #[test]
    fn a_long_message_leaves_its_memory_only_if_it_was_read_to_where_it_is() {
        let mut arenas = Arenas::default();
        let long = || Contents::of_one(Kind::Binary, vec![0; 512 << 10], 1, Instant::ORIGIN);
        arenas.lend(&handed_out(Draft::new(long(), 1)));
        assert_eq!(arenas.for_message(512 << 10), None);
        let mut lent = long();
        lent.lend();
        arenas.lend(&handed_out(Draft::new(lent, 1)));
        let memory = arenas.for_message(512 << 10);
        assert_eq!(memory.map(|memory| memory.len()), Some(512 << 10));
    }

    #[test]
    fn a_small_batch_that_came_back_is_used_again_if_nobody_else_has_it() {
        let mut arenas = Arenas::default();
        let small = |arenas: &mut Arenas| {
            let mut draft = arenas.draft(1, (100, 300), BOUNDS);
            let message = MessageRef::new(Kind::Text, &[b'x'; 100], 1, Instant::ORIGIN);
            draft.contents_mut().push(message);
            handed_out(draft)
        };
        let first = small(&mut arenas);
        let freed = place(&first);
        arenas.take_back(first);
        let again = small(&mut arenas);
        assert_eq!((place(&again), again.len()), (freed, 1));
        arenas.take_back(again.clone());
        assert!(arenas.small.is_empty(), "somebody has it");

        let many: Vec<_> = (0..1_000).map(|_| small(&mut arenas)).collect();
        many.into_iter().for_each(|batch| arenas.take_back(batch));
        assert!(arenas.small_bytes <= SMALL_BYTES_MAX && arenas.small.len() > 100);
        arenas.age();
        arenas.age();
        assert_eq!((arenas.small.len(), arenas.small_bytes), (0, 0));
    }
}
