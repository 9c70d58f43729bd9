//! The closing handshake (RFC 6455 §7): who began it, how far it is, what it waits for.

use crate::event::State;
use crate::reason::{CloseReason, TimerKind};
use crate::time::Instant;
use crate::websocket::{CloseCode, CloseFrame};

use super::ending::Socket;
use super::{Connection, Step};

/// A closing handshake under way (RFC 6455 §7).
#[derive(Debug)]
pub(super) struct Close {
    reason: CloseReason,
    frame: Option<CloseFrame>,
    stage: CloseStage,
    deadline: Instant,
    has_peer_closed: bool,
}

/// How far a closing handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseStage {
    /// Messages that came before the end are still being answered.
    Answering,
    /// Messages that were accepted before the end are still being sent.
    Flushing,
    /// The close frame is what is sent next.
    Due,
    /// It is sent; the peer's frame, or its end of the stream, is awaited.
    Sent,
}

impl Close {
    pub(super) fn is_due(&self) -> bool {
        self.stage == CloseStage::Due
    }

    pub(super) fn is_sent(&self) -> bool {
        self.stage == CloseStage::Sent
    }

    pub(super) fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    pub(super) fn reason(&self) -> &CloseReason {
        &self.reason
    }

    pub(super) fn sent(&mut self) {
        self.stage = CloseStage::Sent;
    }

    pub(super) fn frame(&self) -> Option<&CloseFrame> {
        self.frame.as_ref()
    }

    pub(super) fn lets_messages_out(&self) -> bool {
        matches!(self.stage, CloseStage::Answering | CloseStage::Flushing)
    }

    /// Whether what arrives is no longer looked at (RFC 6455 §5.5.1, §7.1.7).
    pub(super) fn is_deaf(&self) -> bool {
        self.has_peer_closed
            || match self.reason {
                CloseReason::Protocol(_) | CloseReason::InvalidMessages(_) => true,
                CloseReason::Local
                | CloseReason::Peer(_)
                | CloseReason::Transport(_)
                | CloseReason::Tls(_)
                | CloseReason::Resolve(_)
                | CloseReason::Upgrade(_)
                | CloseReason::SubprotocolMissing
                | CloseReason::Ready(_)
                | CloseReason::Provider(_)
                | CloseReason::Timeout(_) => false,
            }
    }

    pub(super) fn timer(&self) -> (Instant, TimerKind) {
        let kind = match self.stage {
            CloseStage::Answering => TimerKind::FlushBeforeClose,
            CloseStage::Flushing => TimerKind::Shutdown,
            CloseStage::Due | CloseStage::Sent => TimerKind::CloseHandshake,
        };
        (self.deadline, kind)
    }
}

// Its steps.
impl Connection {
    /// Ends a session because of what came over it: what was received before is answered first.
    pub(super) fn fail(&mut self, step: &mut Step<'_>, reason: CloseReason) {
        let frame = CloseFrame::new(close_code_of(&reason), "");
        self.begin_close(step, reason, Some(frame), CloseStage::Answering);
    }

    /// Ends a session whose peer can still be talked to.
    pub(super) fn close_for(&mut self, step: &mut Step<'_>, reason: CloseReason) {
        let frame = CloseFrame::new(close_code_of(&reason), "");
        self.begin_close(step, reason, Some(frame), CloseStage::Due);
    }

    /// The peer's close frame is here: it is echoed once what came before it is answered
    /// (RFC 6455 §5.5.1).
    pub(super) fn peer_closed(&mut self, step: &mut Step<'_>, frame: Option<CloseFrame>) {
        if let Some(close) = self.session.as_mut().and_then(|s| s.close.as_mut()) {
            close.has_peer_closed = true;
            if close.stage == CloseStage::Flushing {
                self.make_close_due(step);
            }
            return;
        }
        let echo = frame.clone().map(|frame| CloseFrame::new(frame.code, ""));
        self.begin_close(step, CloseReason::Peer(frame), echo, CloseStage::Answering);
        if let Some(close) = self.session.as_mut().and_then(|s| s.close.as_mut()) {
            close.has_peer_closed = true;
        }
    }

    fn begin_close(
        &mut self,
        step: &mut Step<'_>,
        reason: CloseReason,
        frame: Option<CloseFrame>,
        stage: CloseStage,
    ) {
        let timeouts = self.settings().timeouts;
        let patience = match stage {
            CloseStage::Answering => timeouts.flush_before_close,
            CloseStage::Flushing | CloseStage::Due | CloseStage::Sent => timeouts.close,
        };
        let deadline = self.no_later_than_end(step.now + patience);
        let Some(session) = &mut self.session else {
            return;
        };
        if session.close.is_some() {
            return;
        }
        session.script = None;
        session.close = Some(Box::new(Close {
            reason,
            frame,
            stage,
            deadline,
            has_peer_closed: false,
        }));
        let moved = self.life.move_to_closing();
        self.moved(step, moved);
    }

    /// Ends a session because the application pauses the connection (`deadline` is `None`) or removes it;
    /// in the latter case what is queued goes out first.
    pub(super) fn close_locally(&mut self, step: &mut Step<'_>, deadline: Option<Instant>) {
        let stage = match deadline {
            Some(_) if self.life.state() == State::Open => CloseStage::Flushing,
            Some(_) | None => CloseStage::Due,
        };
        let frame = CloseFrame::new(CloseCode::NORMAL, "");
        self.begin_close(step, CloseReason::Local, Some(frame), stage);
        if let (Some(deadline), CloseStage::Flushing) = (deadline, stage)
            && let Some(close) = self.session.as_mut().and_then(|s| s.close.as_mut())
        {
            close.deadline = deadline;
        }
    }

    /// A closing handshake under way has no more time than this.
    pub(super) fn hasten_close(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && let Some(close) = self.session.as_mut().and_then(|s| s.close.as_mut())
        {
            close.deadline = close.deadline.min(deadline);
        }
    }

    fn no_later_than_end(&self, deadline: Instant) -> Instant {
        self.ending
            .as_ref()
            .map_or(deadline, |ending| deadline.min(ending.deadline))
    }

    pub(super) fn make_close_due(&mut self, step: &mut Step<'_>) {
        let deadline = self.no_later_than_end(step.now + self.settings().timeouts.close);
        if let Some(close) = self.session.as_mut().and_then(|s| s.close.as_mut())
            && close.lets_messages_out()
        {
            close.stage = CloseStage::Due;
            close.deadline = deadline;
        }
    }

    /// Lets the closing handshake go on when what it waited for is done.
    pub(super) fn settle_close(&mut self, step: &mut Step<'_>) {
        let Some(session) = &self.session else {
            return;
        };
        let Some(close) = &session.close else {
            return;
        };
        let is_sent_out = self.outbound.is_empty() || !session.is_ready();
        let is_answered = is_sent_out && self.inbound.is_settled();
        match close.stage {
            CloseStage::Answering if is_answered => self.make_close_due(step),
            CloseStage::Flushing if is_sent_out => self.make_close_due(step),
            CloseStage::Sent
                if session.has_ended && session.cut.is_none() && !self.has_unsent_records() =>
            {
                let reason = close.reason.clone();
                self.end_session(step, reason, Socket::Held);
            }
            CloseStage::Answering | CloseStage::Flushing | CloseStage::Due | CloseStage::Sent => {}
        }
    }
}

/// The close code that tells the peer why it is failed.
pub(super) fn close_code_of(reason: &CloseReason) -> CloseCode {
    match reason {
        CloseReason::Protocol(error) => error.close_code(),
        CloseReason::InvalidMessages(invalid) => invalid.kind.close_code(),
        CloseReason::Local
        | CloseReason::Peer(_)
        | CloseReason::Transport(_)
        | CloseReason::Tls(_)
        | CloseReason::Resolve(_)
        | CloseReason::Upgrade(_)
        | CloseReason::SubprotocolMissing
        | CloseReason::Ready(_)
        | CloseReason::Provider(_)
        | CloseReason::Timeout(_) => CloseCode::NORMAL,
    }
}
