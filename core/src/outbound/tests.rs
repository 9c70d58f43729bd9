//! The queue beside a list that is sorted by hand.

use proptest::prelude::*;

use super::*;
use bytes::Bytes;

use crate::message::{Lane, MessageId, Offline};
use crate::time::Instant;

#[derive(Clone, Debug)]
enum Act {
    Insert {
        lane: Lane,
        ttl: Option<u64>,
        key: Option<u8>,
        offline: Offline,
    },
    Remove(usize),
    /// This many more of the first messages are begun.
    Commit(usize),
    /// The first is written.
    Write,
    /// The socket is lost, and with it as many of what it had begun as are cut.
    Lose {
        interrupted: usize,
    },
    Expire(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let lane = prop::sample::select(vec![Lane::Normal, Lane::Normal, Lane::Priority]);
    let offline = prop::sample::select(vec![Offline::Wait, Offline::Wait, Offline::Refuse]);
    let insert = (
        lane,
        prop::option::of(1..50_u64),
        prop::option::of(0..3_u8),
        offline,
    );
    prop_oneof![
        6 => insert.prop_map(|(lane, ttl, key, offline)| Act::Insert { lane, ttl, key, offline }),
        2 => any::<usize>().prop_map(Act::Remove),
        2 => (1..4_usize).prop_map(Act::Commit),
        2 => Just(Act::Write),
        1 => (0..3_usize).prop_map(|interrupted| Act::Lose { interrupted }),
        2 => (1..20_u64).prop_map(Act::Expire),
    ]
}

/// What the model remembers of a message.
#[derive(Clone, Debug)]
struct Known {
    id: MessageId,
    lane: Lane,
    expires_at: Option<u64>,
    key: Option<u8>,
    offline: Offline,
    /// Begun on a socket that was lost, or behind which others were begun: it goes first.
    is_first: bool,
}

#[derive(Debug, Default)]
struct Model {
    queue: Vec<Known>,
    committed: usize,
    now: u64,
}

impl Model {
    fn insert(&mut self, known: Known) {
        let index = match known.lane {
            Lane::Normal => self.queue.len(),
            Lane::Priority => {
                let settled = |(index, other): (usize, &Known)| {
                    index < self.committed || other.is_first || other.lane == Lane::Priority
                };
                self.queue
                    .iter()
                    .enumerate()
                    .take_while(|each| settled(*each))
                    .count()
            }
        };
        self.queue.insert(index, known);
    }

    fn remove(&mut self, index: usize) -> Known {
        if index < self.committed {
            self.committed -= 1;
        }
        let removed = self.queue.remove(index);
        // A key is forgotten with the latest message that has it.
        let is_latest = self
            .queue
            .iter()
            .all(|k| k.key != removed.key || k.id < removed.id);
        if is_latest {
            self.queue
                .iter_mut()
                .filter(|k| k.key == removed.key)
                .for_each(|k| k.key = None);
        }
        removed
    }

    /// The last that came of this key, unless a socket has begun it.
    fn latest_with_key(&self, key: u8) -> Option<usize> {
        let latest = self
            .queue
            .iter()
            .filter(|k| k.key == Some(key))
            .max_by_key(|k| k.id)?;
        let index = self.queue.iter().position(|k| k.id == latest.id)?;
        Some(index).filter(|index| *index >= self.begun())
    }

    /// How many at the front this socket or one before it has begun.
    fn begun(&self) -> usize {
        let before = self.queue.iter().take_while(|known| known.is_first).count();
        before.max(self.committed)
    }

    /// The oldest that can be dropped, those of the priority lane last.
    fn oldest(&self) -> Option<usize> {
        let normal = |index: &usize| self.queue[*index].lane == Lane::Normal;
        let mut droppable = self.begun()..self.queue.len();
        droppable.clone().find(normal).or(droppable.next())
    }
}

proptest! {
    #[test]
    fn lanes_keep_their_order_and_everything_is_found(acts in prop::collection::vec(act(), 1..60)) {
        let mut outbound = Outbound::default();
        let mut model = Model::default();
        for act in acts {
            match act {
                Act::Insert { lane, ttl, key, offline } => {
                    let mut message = Message::text("x").lane(lane).offline(offline);
                    if let Some(ttl) = ttl {
                        message = message.ttl(std::time::Duration::from_millis(ttl));
                    }
                    let bytes = key.map(|key| Bytes::from(vec![key]));
                    if let (Some(key), Some(bytes)) = (key, &bytes) {
                        let replaced = outbound.with_key(bytes, model.committed);
                        prop_assert_eq!(replaced, model.latest_with_key(key));
                        if let Some(index) = replaced {
                            outbound.remove(index);
                            model.remove(index);
                        }
                    }
                    let id = outbound.number();
                    let now = Instant::from_nanos(model.now * 1_000_000);
                    let index = outbound.insert(now, (id, message), Report::Quiet, bytes, model.committed);
                    let expires_at = ttl.map(|ttl| model.now + ttl);
                    model.insert(Known { id, lane, expires_at, key, offline, is_first: false });
                    prop_assert_eq!(model.queue[index].id, id);
                }
                Act::Remove(index) if model.queue.len() > model.committed => {
                    let index = model.committed + index % (model.queue.len() - model.committed);
                    let removed = outbound.remove(index).map(|queued| queued.id);
                    prop_assert_eq!(removed, Some(model.remove(index).id));
                }
                Act::Commit(more) => {
                    model.committed = (model.committed + more).min(model.queue.len());
                }
                Act::Write if model.committed > 0 => {
                    let written = outbound.remove(0).map(|queued| queued.id);
                    prop_assert_eq!(written, Some(model.remove(0).id));
                }
                Act::Lose { interrupted } => {
                    for _ in 0..interrupted.min(model.committed) {
                        outbound.remove(0);
                        model.remove(0);
                    }
                    outbound.waits_again(model.committed);
                    for known in &mut model.queue[..model.committed] {
                        known.is_first = true;
                    }
                    model.committed = 0;
                }
                Act::Expire(time) => {
                    model.now += time;
                    let is_due = |known: &Known| known.expires_at.is_some_and(|at| at <= model.now);
                    let mut expired = Vec::new();
                    while let Some(index) = outbound.next_expired(Instant::from_nanos(model.now * 1_000_000), model.committed) {
                        expired.extend(outbound.remove(index).map(|queued| queued.id));
                    }
                    expired.sort();
                    let mut wanted: Vec<_> = model.queue[model.committed..].iter().filter(|k| is_due(k)).map(|k| k.id).collect();
                    wanted.sort();
                    prop_assert_eq!(&expired, &wanted);
                    for id in wanted {
                        let index = model.queue.iter().position(|known| known.id == id);
                        model.remove(index.expect("it was found above"));
                    }
                }
                Act::Remove(_) | Act::Write => {}
            }
            let order: Vec<_> = (0..outbound.len()).filter_map(|index| Some(outbound.get(index)?.id)).collect();
            let wanted: Vec<_> = model.queue.iter().map(|known| known.id).collect();
            prop_assert_eq!(order, wanted);
            prop_assert_eq!(outbound.oldest(model.committed), model.oldest());
            let refusing = model.queue.iter().position(|known| known.offline == Offline::Refuse);
            prop_assert_eq!(outbound.first_refusing(), refusing);
        }
        while outbound.remove(0).is_some() {}
        prop_assert_eq!(outbound.charged(), 0);
        prop_assert!(outbound.next_expiry().is_none());
    }
}

#[test]
fn one_message_larger_than_the_bound_is_admitted_alone() {
    let bounds = QueueBounds {
        items_max: 2,
        bytes_max: 10,
    };
    let mut outbound = Outbound::default();
    assert!(outbound.admits(&bounds, 11));
    let id = outbound.number();
    let message = Message::binary(vec![0; 11]);
    outbound.insert(Instant::ORIGIN, (id, message), Report::Quiet, None, 0);
    assert!(!outbound.admits(&bounds, 0));
}

#[test]
fn an_emptied_queue_frees_what_a_burst_took() {
    let mut outbound = Outbound::default();
    for _ in 0..1_000 {
        let id = outbound.number();
        outbound.insert(
            Instant::ORIGIN,
            (id, Message::text("x")),
            Report::Quiet,
            None,
            0,
        );
    }
    while outbound.remove(0).is_some() {}
    assert_eq!(outbound.kept_slots(), 0);
    assert_eq!(outbound.charged(), 0);
}
