//! What is due when, and what happens then.

use crate::admission::Dial;
use crate::event::State;
use crate::reason::{CloseReason, TimerKind};
use crate::time::Instant;

use super::session::Session;
use super::{Connection, Step, Turn};

/// Deadlines that one call may fire. Each firing moves the connection on, so this is never reached; it
/// keeps a mistake from becoming an endless loop.
const FIRINGS_MAX: usize = 16;

impl Connection {
    /// The next deadline, and why it exists.
    pub(crate) fn next_deadline(&self) -> Option<(Instant, TimerKind)> {
        let own = self.stage_deadline();
        if self.has_own_deadline_only() {
            return own.filter(|(at, _)| *at != Instant::FAR_FUTURE);
        }
        let inbound = self.inbound_deadline();
        let end = self.end_deadline();
        let expiry = self
            .outbound
            .next_expiry()
            .map(|at| (at, TimerKind::Expiry));
        let reply = self.outbound.next_reply_deadline();
        let reply = reply.map(|at| (at, TimerKind::Acknowledge));
        let linger = self
            .linger_deadline()
            .map(|at| (at, TimerKind::OutboundLinger));
        [own, inbound, end, expiry, reply, linger]
            .into_iter()
            .flatten()
            .filter(|(at, _)| *at != Instant::FAR_FUTURE)
            .min()
    }

    /// Whether nothing waits but the stage itself: as with most connections, most of the time.
    fn has_own_deadline_only(&self) -> bool {
        let is_lingering = |session: &Session| session.is_lingering;
        self.inbound.waiting() == 0
            && self.ending.is_none()
            && self.outbound.is_timeless()
            && !self.session.as_ref().is_some_and(is_lingering)
    }

    /// Does what is due.
    pub(crate) fn fire_due(&mut self, step: &mut Step<'_>) {
        self.expire_messages(step);
        self.miss_replies(step);
        for _ in 0..FIRINGS_MAX {
            match self.stage_deadline() {
                Some((at, kind)) if at.is_due(step.now) => self.fire(step, at, kind),
                Some(_) | None => return,
            }
        }
        debug_assert!(false, "{FIRINGS_MAX} deadlines at once in {:?}", self.life);
    }

    fn fire(&mut self, step: &mut Step<'_>, at: Instant, kind: TimerKind) {
        match kind {
            TimerKind::Backoff => self.start_dial(step, Dial::Redial),
            TimerKind::Provider
            | TimerKind::Resolve
            | TimerKind::Connect
            | TimerKind::Tls
            | TimerKind::Upgrade
            | TimerKind::Attempt => self.attempt_timed_out(step, kind),
            // While the socket is not read for want of bytes to hold, silence is of our own making.
            TimerKind::Keepalive | TimerKind::KeepaliveTimeout | TimerKind::Stale
                if step.turn == Turn::NotNow =>
            {
                if let Some(session) = &mut self.session {
                    session.received(step.now);
                    session.last_data_at = step.now;
                }
            }
            TimerKind::Keepalive => self.ping(step),
            TimerKind::KeepaliveTimeout => {
                // A deadline that is noticed this late says that we slept, not that the peer is gone.
                let lateness = step.now.saturating_since(at);
                let timeout = self.settings().keepalive.map(|keepalive| keepalive.timeout);
                if timeout.is_some_and(|timeout| lateness >= timeout) {
                    self.ping(step);
                } else {
                    self.end_now(step, kind);
                }
            }
            TimerKind::Ready | TimerKind::Stale => {
                self.close_for(step, CloseReason::Timeout(kind));
            }
            TimerKind::Message => self.message_due(step),
            TimerKind::FlushBeforeClose => self.make_close_due(step),
            TimerKind::WriteProgress | TimerKind::CloseHandshake | TimerKind::Shutdown => {
                self.end_now(step, kind);
            }
            TimerKind::Linger
            | TimerKind::OutboundLinger
            | TimerKind::Retry
            | TimerKind::Expiry
            | TimerKind::Acknowledge => {}
        }
    }

    fn ping(&mut self, step: &mut Step<'_>) {
        let nonce = self.jitter.next_u64();
        if let Some(session) = &mut self.session {
            session.start_ping(step.now, nonce);
        }
    }

    fn stage_deadline(&self) -> Option<(Instant, TimerKind)> {
        match self.life.state() {
            State::Backoff => {
                let history = self.history.as_ref()?;
                Some((history.redial_at, TimerKind::Backoff))
            }
            State::Resolving | State::Connecting | State::TlsHandshaking | State::Upgrading => {
                self.attempt.as_ref().map(|attempt| attempt.next_deadline())
            }
            State::Readying => {
                let session = self.session.as_ref()?;
                let script = session.script.as_ref()?;
                let ready = (script.deadline, TimerKind::Ready);
                let message = message_deadline(session);
                Some(ready.min(message).min(self.write_deadline(session)))
            }
            State::Open => {
                let session = self.session.as_ref()?;
                let read = self.read_deadline(session);
                Some(read.min(self.write_deadline(session)))
            }
            State::Closing => {
                let session = self.session.as_ref()?;
                session.close.as_ref().map(|close| close.timer())
            }
            State::Idle | State::WaitingForSlot | State::Paused | State::Closed | State::GaveUp => {
                None
            }
        }
    }

    /// Deadlines that wait for the peer's bytes stand still while we do not read them.
    fn read_deadline(&self, session: &Session) -> (Instant, TimerKind) {
        let never = (Instant::FAR_FUTURE, TimerKind::Keepalive);
        if !session.is_read() {
            return never;
        }
        let settings = self.settings();
        let alive = settings.keepalive.map_or(never, |keepalive| {
            if session.is_life_awaited {
                let at = session.pinged_at + keepalive.timeout;
                (at, TimerKind::KeepaliveTimeout)
            } else {
                (session.ping_at(keepalive.interval), TimerKind::Keepalive)
            }
        });
        let stale = settings.stale_after.map_or(never, |after| {
            (session.last_data_at + after, TimerKind::Stale)
        });
        alive.min(stale).min(message_deadline(session))
    }

    fn write_deadline(&self, session: &Session) -> (Instant, TimerKind) {
        let limit = self.settings().timeouts.write_progress;
        (session.unwritten_since + limit, TimerKind::WriteProgress)
    }

    /// Only a consumer that waits makes a deadline of what lingers or is to be tried again.
    pub(crate) fn inbound_deadline(&self) -> Option<(Instant, TimerKind)> {
        if !self.inbound.is_asked_for() {
            return None;
        }
        let due = self.inbound.next_due(&self.settings().batch)?;
        Some((due, TimerKind::Linger))
    }

    fn end_deadline(&self) -> Option<(Instant, TimerKind)> {
        let ending = self.ending.as_ref()?;
        Some((ending.deadline, TimerKind::Shutdown))
    }
}

/// Until when the message of which a part is here has to be complete.
fn message_deadline(session: &Session) -> (Instant, TimerKind) {
    let arriving = session.arriving.as_ref().filter(|_| session.is_read());
    let due = arriving.map_or(Instant::FAR_FUTURE, |arriving| arriving.due);
    (due, TimerKind::Message)
}
