//! How long a message may take to arrive.

use std::time::Duration;

use crate::reason::TimerKind;
use crate::time::Instant;

use super::{Connection, Step, Turn};

/// How long a message may take, whatever the settings say of others, while its socket is the only one that is read.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// The time of a message of which only a part is here.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) due: Instant,
    /// For how long the set had not let sockets be read when `due` was reckoned: as much more is not counted.
    unread: Duration,
}

impl Connection {
    /// Begins or ends the time of a message, after bytes were received.
    pub(super) fn time_message(&mut self, step: &Step<'_>) {
        let Some(session) = &mut self.session else {
            return;
        };
        if !session.decoder.is_mid_message() {
            session.arriving = None;
        } else if let (None, Some(limit)) =
            (&session.arriving, self.config.settings().timeouts.message)
        {
            session.arriving = Some(Box::new(Arriving {
                due: step.now + limit,
                unread: step.unread,
            }));
        }
    }

    /// The connection is the only one that is read from now on, for the sake of its unfinished message.
    pub(crate) fn read_alone(&mut self, now: Instant, unread: Duration) {
        let has_limit = self.settings().timeouts.message.is_some();
        let Some(session) = &mut self.session else {
            return;
        };
        match &mut session.arriving {
            Some(arriving) if has_limit => arriving.leave_out(unread),
            Some(_) | None => {
                let due = now + ALONE_MAX;
                session.arriving = Some(Box::new(Arriving { due, unread }));
            }
        }
    }

    /// A message's time is over.
    pub(super) fn message_due(&mut self, step: &mut Step<'_>) {
        let has_limit = self.settings().timeouts.message.is_some();
        let Some(session) = &mut self.session else {
            return;
        };
        let Some(arriving) = &mut session.arriving else {
            return;
        };
        match step.turn {
            Turn::Alone => self.end_now(step, TimerKind::Message),
            Turn::Everybody | Turn::NotNow if !has_limit => session.arriving = None,
            Turn::Everybody | Turn::NotNow => {
                arriving.leave_out(step.unread);
                if arriving.due.is_due(step.now) {
                    self.end_now(step, TimerKind::Message);
                }
            }
        }
    }
}

impl Arriving {
    /// Time in which the set let no socket be read does not count.
    fn leave_out(&mut self, unread: Duration) {
        self.due += unread.saturating_sub(self.unread);
        self.unread = unread;
    }
}
