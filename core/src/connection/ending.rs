//! Ends: of a session, of an attempt, and of the connection.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::Dial;
use crate::backoff::Ended;
use crate::classify::{Class, Hint, StrikeVerdict, classify};
use crate::event::{EventKind, GaveUpCause, Outcome, Reading, State};
use crate::io::{AdmissionRequest, Output};
use crate::message::Resend;
use crate::reason::{CloseReason, TimerKind, TransportError};
use crate::settings::{FirstDial, Reconnect};
use crate::time::Instant;
use crate::websocket::{ResponseReader, UpgradeError};

use super::renegotiation::Renegotiated;
use super::state::Intent;
use super::{Connection, Step};

/// How often fresh credentials are tried before the connection gives up.
const REAUTHS_MAX: u8 = 2;

/// What the application asked for when it removed the connection.
#[derive(Debug)]
pub(super) struct Ending {
    /// When what is left is dropped.
    pub(super) deadline: Instant,
    /// The state that the end began in.
    pub(super) state: State,
    pub(super) inbox: Inbox,
}

/// Whether somebody will still take what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbox {
    Awaited,
    Abandoned,
}

/// Whether the socket is still there when its session ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    Held,
    Gone,
}

// The end of a session.
impl Connection {
    /// The peer's half of the stream is over.
    pub(crate) fn ended_by_peer(&mut self, step: &mut Step<'_>) {
        match self.life.state() {
            State::Connecting | State::TlsHandshaking => {
                let error = self.end_of_stream();
                self.attempt_failed(step, CloseReason::Transport(error));
            }
            State::Upgrading => {
                let reader = self.attempt.as_mut().and_then(|a| a.take_reader());
                let error = reader.map_or(UpgradeError::Eof { bytes: 0 }, ResponseReader::end);
                self.attempt_failed(step, CloseReason::Upgrade(error));
            }
            State::Readying | State::Open | State::Closing => {
                let error = self.end_of_stream();
                let Some(session) = &mut self.session else {
                    return;
                };
                session.has_ended = true;
                // Our own close frame, and the answers before it, may still reach a peer that closed its half
                // only; without a close frame from either side there is nothing to wait for.
                if session.close.is_none() {
                    self.end_session(step, CloseReason::Transport(error), Socket::Held);
                }
            }
            State::Idle
            | State::WaitingForSlot
            | State::Resolving
            | State::Backoff
            | State::Paused
            | State::Closed
            | State::GaveUp => self.count_stale_input(),
        }
    }

    /// The socket is gone.
    pub(crate) fn transport_failed(&mut self, step: &mut Step<'_>, error: TransportError) {
        match self.life.state() {
            State::Connecting => self.dial_failed(step, error),
            State::TlsHandshaking | State::Upgrading => {
                self.attempt_failed_without_socket(step, CloseReason::Transport(error));
            }
            State::Readying | State::Open | State::Closing => {
                let close = self.session.as_ref().and_then(|s| s.close.as_ref());
                let reason = close.map_or(CloseReason::Transport(error), |c| c.reason().clone());
                self.end_session(step, reason, Socket::Gone);
            }
            State::Idle
            | State::WaitingForSlot
            | State::Resolving
            | State::Backoff
            | State::Paused
            | State::Closed
            | State::GaveUp => self.count_stale_input(),
        }
    }

    /// Ends the session of a deadline that leaves nothing to say to the peer.
    pub(super) fn end_now(&mut self, step: &mut Step<'_>, kind: TimerKind) {
        let close = self.session.as_ref().and_then(|s| s.close.as_ref());
        let reason = close.map_or(CloseReason::Timeout(kind), |close| close.reason().clone());
        self.end_session(step, reason, Socket::Held);
    }

    pub(super) fn end_session(&mut self, step: &mut Step<'_>, reason: CloseReason, socket: Socket) {
        let begun = self.messages_begun();
        let committed = self.messages_committed();
        let Some(session) = self.session.take() else {
            return;
        };
        self.outbound.unpack();
        self.tls = None;
        if socket == Socket::Held {
            step.out.push_back(Output::Abort {
                socket: self.socket(),
            });
        }
        let interrupted = self.interrupt(step, begun);
        let again = self.lose_replies(step);
        // What comes after these may have been put before others of their lane.
        self.outbound.waits_again(again + committed - interrupted);
        self.refuse_to_wait(step);
        self.expire_messages(step);
        self.inbound.complete_growing();
        let uptime = session.uptime(step.now);
        let nanos = u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX);
        self.tally.uptime_nanos = self.tally.uptime_nanos.saturating_add(nanos);
        let is_stable = session.is_ready()
            && session.has_sign_of_life
            && uptime >= self.settings().backoff.stable_after;
        let ended = if is_stable {
            Ended::StableSession
        } else {
            Ended::ShortSession
        };
        if let (true, Some(history)) = (is_stable, &mut self.history) {
            history.reauths = 0;
        }
        if is_stable && !matches!(reason, CloseReason::InvalidMessages(_)) {
            self.understood();
        }
        self.is_transmit_announced = false;
        self.reading = Reading::Resumed;
        self.emit(
            step,
            EventKind::Closed {
                reason: reason.clone(),
                uptime,
            },
        );
        self.go_on_after(step, reason, ended);
    }
}

impl Connection {
    /// The socket is gone, and with it the rest of the first `begun` messages. Those that may be sent twice
    /// stay where they are. Returns how many may not.
    fn interrupt(&mut self, step: &mut Step<'_>, begun: usize) -> usize {
        let mut index = 0;
        for _ in 0..begun {
            let resend = self
                .outbound
                .get(index)
                .map(|queued| queued.message.resend());
            match resend {
                Some(Resend::Never) => {
                    self.tally.interrupted += 1;
                    self.message_left_from(step, index, Outcome::Interrupted);
                }
                Some(Resend::IfInterrupted) => {
                    self.outbound.was_cut(index);
                    index += 1;
                }
                None => break,
            }
        }
        begun - index
    }
}

// The end of an attempt.
impl Connection {
    pub(super) fn attempt_failed(&mut self, step: &mut Step<'_>, reason: CloseReason) {
        if self.attempt.as_ref().is_some_and(|a| a.has_socket()) {
            step.out.push_back(Output::Abort {
                socket: self.socket(),
            });
        }
        self.attempt_failed_without_socket(step, reason);
    }

    pub(super) fn attempt_failed_without_socket(
        &mut self,
        step: &mut Step<'_>,
        reason: CloseReason,
    ) {
        let was_accepted = self.life.state() == State::Upgrading;
        self.attempt = None;
        self.tls = None;
        self.is_transmit_announced = false;
        self.release_slot(step);
        let is_refusal = matches!(
            reason,
            CloseReason::Upgrade(UpgradeError::Status(_)) | CloseReason::Tls(_)
        );
        let ended = if was_accepted && !is_refusal {
            Ended::ShortSession
        } else {
            Ended::FailedDial
        };
        self.emit(
            step,
            EventKind::Closed {
                reason: reason.clone(),
                uptime: Duration::ZERO,
            },
        );
        self.go_on_after(step, reason, ended);
    }
}

// What follows.
impl Connection {
    fn go_on_after(&mut self, step: &mut Step<'_>, reason: CloseReason, ended: Ended) {
        let history = self.history.get_or_insert_default();
        history.last_reason = Some(reason.clone());
        if ended == Ended::StableSession || self.backoff.failures() == 0 {
            history.failing_since = step.now;
        }
        match self.life.intent() {
            Intent::End => self.finish(step),
            Intent::Pause => {
                let moved = self.life.move_to_paused();
                self.moved(step, moved);
            }
            Intent::Run => self.retry_or_give_up(step, reason, ended),
        }
    }

    fn retry_or_give_up(&mut self, step: &mut Step<'_>, reason: CloseReason, ended: Ended) {
        let config = Arc::clone(&self.config);
        let settings = config.settings();
        let Some(found) = classify(&reason, &settings.classification) else {
            // A pause that was taken back before its close was over.
            self.wait(step, step.now);
            return self.start_dial(step, Dial::Redial);
        };
        if settings.reconnect == Reconnect::Never {
            return self.give_up(step, reason, GaveUpCause::OneSession);
        }
        if settings.backoff.first_dial == FirstDial::Fatal && !self.was_ever_ready {
            return self.give_up(step, reason, GaveUpCause::FirstDial);
        }
        let (class, renegotiating) = match self.renegotiate(&reason) {
            Renegotiated::Unchanged => (found.class, None),
            Renegotiated::Anew(event) => (Class::Retry, Some(event)),
            Renegotiated::StartsOver(event) => (Class::Strike, Some(event)),
            Renegotiated::GiveUp => {
                return self.give_up(step, reason, GaveUpCause::Disagreement);
            }
        };
        let history = self.history.get_or_insert_default();
        let give_up = match class {
            Class::GiveUp => Some(GaveUpCause::Terminal),
            Class::Reauth if history.reauths >= REAUTHS_MAX => Some(GaveUpCause::Reauth),
            Class::Reauth => {
                history.reauths += 1;
                None
            }
            Class::Strike => match history.strikes.record(step.now, found.cause) {
                StrikeVerdict::Tolerated => None,
                StrikeVerdict::GiveUp => Some(GaveUpCause::Strikes),
            },
            Class::Retry | Class::Resource => None,
        };
        if let Some(cause) = give_up {
            return self.give_up(step, reason, cause);
        }
        let since = history.failing_since;
        let was_flapping = self.backoff.is_flapping();
        let delay = self.backoff.next_delay(
            &settings.backoff,
            &mut self.jitter,
            ended,
            class,
            found.hint,
        );
        if self
            .backoff
            .is_exhausted(&settings.backoff, step.now, since)
        {
            return self.give_up(step, reason, GaveUpCause::Exhausted);
        }
        if self.backoff.is_flapping() && !was_flapping {
            let sessions = self.backoff.short_sessions();
            self.emit(step, EventKind::Flapping { sessions });
        }
        let is_sent_elsewhere = matches!(found.hint, Hint::AnotherAddress { .. });
        let is_failure = ended != Ended::StableSession && class != Class::Resource;
        if is_failure || is_sent_elsewhere {
            let endpoints = self.target.endpoints().len();
            self.endpoint =
                u16::try_from((usize::from(self.endpoint) + 1) % endpoints).unwrap_or(0);
        }
        let at = self.wait(step, step.now + delay);
        if let Some(event) = renegotiating {
            self.emit(step, event);
        }
        let retrying = EventKind::Retrying {
            attempt: self.backoff.failures(),
            delay,
            at,
            class,
        };
        self.emit(step, retrying);
    }

    /// Waits for the next attempt; returns when it is due.
    fn wait(&mut self, step: &mut Step<'_>, until: Instant) -> Instant {
        // A wait of nothing is due at the next instant, so that every deadline lies ahead of its step.
        let redial_at = until.max(step.now + Duration::from_nanos(1));
        self.history.get_or_insert_default().redial_at = redial_at;
        let moved = self.life.move_to_backoff();
        self.moved(step, moved);
        redial_at
    }

    fn give_up(&mut self, step: &mut Step<'_>, reason: CloseReason, cause: GaveUpCause) {
        let moved = self.life.move_to_gave_up();
        let why = reason.to_string();
        self.moved(step, moved);
        self.emit(step, EventKind::GaveUp { reason, cause });
        self.ending.get_or_insert_with(|| {
            Box::new(Ending {
                deadline: Instant::FAR_FUTURE,
                state: State::GaveUp,
                inbox: Inbox::Awaited,
            })
        });
        self.abandon_outbound(step, &why);
    }

    /// Stops what is going on because the application pauses (`deadline` is `None`) or removes the connection.
    pub(super) fn stop(&mut self, step: &mut Step<'_>, deadline: Option<Instant>) {
        let is_immediate = deadline.is_some_and(|deadline| deadline.is_due(step.now));
        match self.life.state() {
            State::Readying | State::Open if !is_immediate => self.close_locally(step, deadline),
            State::Closing if !is_immediate => self.hasten_close(deadline),
            State::Readying | State::Open | State::Closing => {
                self.end_session(step, CloseReason::Local, Socket::Held);
            }
            State::WaitingForSlot => {
                self.release_slot(step);
                self.rest(step);
            }
            State::Resolving | State::Connecting | State::TlsHandshaking | State::Upgrading => {
                self.attempt_failed(step, CloseReason::Local);
            }
            State::Idle | State::Backoff | State::Paused => self.rest(step),
            State::Closed | State::GaveUp => {}
        }
    }

    /// Comes to rest from a state in which nothing has to be ended.
    fn rest(&mut self, step: &mut Step<'_>) {
        match self.life.intent() {
            Intent::End => self.finish(step),
            Intent::Pause if self.life.state() != State::Paused => {
                let moved = self.life.move_to_paused();
                self.moved(step, moved);
            }
            Intent::Pause | Intent::Run => {}
        }
    }

    fn finish(&mut self, step: &mut Step<'_>) {
        let moved = self.life.move_to_closed();
        self.moved(step, moved);
        self.abandon_outbound(
            step,
            "the connection was closed before the message was sent",
        );
    }

    /// What was not begun when the connection ended is not sent: each message becomes a dead letter.
    fn abandon_outbound(&mut self, step: &mut Step<'_>, reason: &str) {
        self.outbound.unpack();
        while !self.outbound.is_empty() {
            if let Some(queued) = self.never_sent(step, 0, Outcome::NotSent) {
                self.tally.not_sent += 1;
                self.outbound_letter(step, queued, reason);
            }
        }
    }

    /// Whether nothing is left to wait for: the connection can be removed.
    pub(crate) fn is_finished(&self, now: Instant) -> bool {
        self.ending.as_ref().is_some_and(|ending| {
            self.life.state().is_terminal()
                && (self.inbound.is_settled() || ending.deadline.is_due(now))
        })
    }

    /// The last thing that happens: what no consumer took is dropped, and everything is accounted for.
    pub(crate) fn retire(&mut self, step: &mut Step<'_>) {
        self.drop_inbox(step);
        for endpoint in self.target.endpoints() {
            let host = std::sync::Arc::clone(endpoint.host_key());
            step.out
                .push_back(Output::Admission(AdmissionRequest::Leave(host)));
        }
        let report = self.report(step.now);
        step.out.push_back(Output::Removed(Box::new(report)));
    }
}
