//! The batches between a shard and a consumer.

use std::collections::VecDeque;

use ropewalk_core::Batch;

/// Batches in their order: rarely more than one, which needs no memory of its own.
#[derive(Debug)]
pub(crate) struct Batches<B = Batch> {
    /// If there is none, there are no others.
    first: Option<B>,
    #[allow(
        clippy::box_collection,
        reason = "eight bytes in every connection, not 32"
    )]
    others: Option<Box<VecDeque<B>>>,
}

impl<B> Default for Batches<B> {
    fn default() -> Self {
        Self {
            first: None,
            others: None,
        }
    }
}

impl<B> Batches<B> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn push_back(&mut self, batch: B) {
        match &self.first {
            None => self.first = Some(batch),
            Some(_) => self.others.get_or_insert_default().push_back(batch),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<B> {
        let batch = self.first.take();
        if let Some(others) = &mut self.others {
            self.first = others.pop_front();
            if others.is_empty() {
                self.others = None;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_their_order_and_leave_nothing_behind() {
        let mut batches = Batches::default();
        let mut came = Vec::new();
        // Up to three wait at once; in between none does.
        for round in 0..4 {
            assert!(batches.is_empty());
            for number in 0..3 {
                batches.push_back(3 * round + number);
                if number == round {
                    came.extend(batches.pop_front());
                }
            }
            while let Some(number) = batches.pop_front() {
                came.push(number);
            }
            assert!(batches.others.is_none());
        }
        assert_eq!(came, (0..12).collect::<Vec<_>>());
    }
}
