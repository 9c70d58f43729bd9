//! Dead letters on their way out of a shard, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ropewalk_core::{
    ConnectionId, DeadLetter, Direction, Fate, Input, Instant, Kind, Message, MessageId, Outcome,
    Redrive, Report,
};

use super::Shard;
use crate::letters::Letter;
use crate::link::Link;
use crate::runtime::Runtime;
use crate::store::{LetterId, StoredLetter};

/// The outbound letters of a connection that are being sent again.
#[derive(Debug, Default)]
pub(super) struct Redriven {
    letters: BTreeMap<MessageId, LetterId>,
    /// Those that the end of their connection came before: their letters are in the store already.
    unsent: BTreeSet<u64>,
}

impl<R: Runtime> Shard<R> {
    /// A new letter, for those who read and for the store.
    pub(super) fn file(&mut self, letter: DeadLetter) {
        let Some(member) = self.member(letter.connection) else {
            return;
        };
        let is_known = letter.direction == Direction::Outbound
            && member
                .redriven
                .as_mut()
                .is_some_and(|redriven| redriven.unsent.remove(&letter.seq));
        if is_known {
            return;
        }
        let name = Arc::clone(&member.link.name);
        if let Some(keeper) = &self.common.keeper {
            keeper.file(&name, &letter);
        }
        self.common.tray.push(Letter { name, letter });
    }

    /// A stored letter goes back to its consumer or its server. Its outputs are still to be performed.
    pub(super) fn redrive(&mut self, now: Instant, link: &Arc<Link>, letter: &StoredLetter) {
        let Some(connection) = link.id() else {
            return;
        };
        let payload = letter.payload().clone();
        let record = &letter.record;
        match record.direction {
            Direction::Inbound => {
                let redrive = Redrive {
                    connection,
                    letter: letter.id.0,
                    generation: record.generation,
                    seq: record.seq,
                    kind: record.kind,
                    payload,
                };
                self.set.handle(now, Input::Redrive(Box::new(redrive)));
            }
            Direction::Outbound => {
                let message = match (record.kind, std::str::from_utf8(&payload)) {
                    (Kind::Text, Ok(text)) => Message::text(text),
                    (Kind::Text | Kind::Binary, _) => Message::binary(payload),
                };
                let bytes = message.len();
                link.room.charge(bytes);
                match self.set.send(now, connection, message, Report::Outcome) {
                    Ok(message) => {
                        if let Some(member) = self.member(connection) {
                            let redriven = member.redriven.get_or_insert_default();
                            redriven.letters.insert(message, letter.id);
                        }
                    }
                    Err(error) => {
                        link.room.give(1, bytes);
                        let reason = error.to_string().into();
                        let fate = Fate::Failed {
                            reason,
                            attempts: 1,
                        };
                        self.settle(connection, letter.id, fate);
                    }
                }
            }
        }
    }

    /// A message has its outcome; if it was a letter, that is the letter's fate.
    pub(super) fn note_fate(
        &mut self,
        connection: ConnectionId,
        message: MessageId,
        outcome: &Outcome,
    ) {
        let Some(redriven) = self
            .member(connection)
            .and_then(|member| member.redriven.as_mut())
        else {
            return;
        };
        let Some(letter) = redriven.letters.remove(&message) else {
            return;
        };
        let fate = match outcome {
            Outcome::Written | Outcome::Acknowledged(_) => Fate::Delivered,
            // Its connection has ended: it is still to be retried, by the next of that name.
            Outcome::NotSent => {
                redriven.unsent.insert(message.as_u64());
                return;
            }
            Outcome::Interrupted | Outcome::Expired | Outcome::Dropped(_) => Fate::Failed {
                reason: format!("sent again, and {}", outcome.name()).into(),
                attempts: 1,
            },
        };
        self.settle(connection, letter, fate);
    }

    pub(super) fn settle(&mut self, connection: ConnectionId, letter: LetterId, fate: Fate) {
        if let Some(member) = self.member(connection) {
            let link = Arc::clone(&member.link);
            if let Some(keeper) = &self.common.keeper {
                keeper.settle(&link, letter, fate);
            }
        }
    }
}
