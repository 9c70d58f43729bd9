//! How many messages were written, and how many still may be.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What `--count` leaves, shared by all connections.
#[derive(Debug)]
pub(super) struct Quota {
    left: Option<AtomicU64>,
}

/// What was granted of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// This many messages may be written.
    pub(super) messages: usize,
    /// Whether more may be afterwards.
    pub(super) rest: Rest,
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Some,
    Nothing,
}

impl Quota {
    pub(super) fn new(count: Option<NonZeroU64>) -> Self {
        Self {
            left: count.map(|count| AtomicU64::new(count.get())),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        let left = self.left.as_ref();
        left.is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Takes as many of `wanted` messages as are left.
    pub(super) fn take(&self, wanted: usize) -> Grant {
        let Some(left) = &self.left else {
            return Grant {
                messages: wanted,
                rest: Rest::Some,
            };
        };
        let amount = u64::try_from(wanted).unwrap_or(u64::MAX);
        let before = left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(amount))
            })
            .unwrap_or_default();
        Grant {
            messages: usize::try_from(before).map_or(wanted, |before| before.min(wanted)),
            rest: if before > amount {
                Rest::Some
            } else {
                Rest::Nothing
            },
        }
    }
}

/// What one connection's writer has written.
#[derive(Debug, Default)]
pub(super) struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn add(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes of payload.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Counts tasks down, and tells the one that was the last.
#[derive(Debug)]
pub(super) struct Remaining(AtomicUsize);

impl Remaining {
    pub(super) fn new(tasks: usize) -> Self {
        Self(AtomicUsize::new(tasks))
    }

    /// Whether this was the last.
    pub(super) fn is_last(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_grants_what_it_has_and_no_more() {
        let quota = Quota::new(NonZeroU64::new(5));
        let grant = |messages, rest| Grant { messages, rest };
        assert_eq!(quota.take(3), grant(3, Rest::Some));
        assert!(!quota.is_spent());
        assert_eq!(quota.take(3), grant(2, Rest::Nothing));
        assert!(quota.is_spent() && !Quota::new(None).is_spent());
        assert_eq!(quota.take(3), grant(0, Rest::Nothing));
        assert_eq!(Quota::new(None).take(3), grant(3, Rest::Some));
        assert_eq!(
            Quota::new(NonZeroU64::new(3)).take(3),
            grant(3, Rest::Nothing)
        );
    }
}
