//! The lifecycle: every state a connection can be in, and every move between them.

use crate::event::State;

/// What the application wants of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Intent {
    /// Be connected.
    Run,
    /// Be disconnected, until it resumes.
    Pause,
    /// Be gone.
    End,
}

/// Where a connection is and what is wanted of it.
///
/// Small, and free of times, buffers and randomness, so that it can be enumerated. A move that the
/// table below does not have is a mistake in this crate and panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lifecycle {
    state: State,
    intent: Intent,
}

/// A move that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: State,
    pub(crate) to: State,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Idle,
            intent: Intent::Run,
        }
    }

    pub(crate) fn move_to_waiting_for_slot(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(
            &[State::Idle, State::Backoff, State::Paused],
            State::WaitingForSlot,
        )
    }

    pub(crate) fn move_to_resolving(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(&[State::WaitingForSlot], State::Resolving)
    }

    pub(crate) fn move_to_connecting(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(&[State::Resolving], State::Connecting)
    }

    pub(crate) fn move_to_tls_handshaking(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(&[State::Connecting], State::TlsHandshaking)
    }

    pub(crate) fn move_to_upgrading(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(
            &[State::Connecting, State::TlsHandshaking],
            State::Upgrading,
        )
    }

    pub(crate) fn move_to_readying(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(&[State::Upgrading], State::Readying)
    }

    pub(crate) fn move_to_open(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(&[State::Upgrading, State::Readying], State::Open)
    }

    pub(crate) fn move_to_closing(&mut self) -> Moved {
        self.step(&[State::Readying, State::Open], State::Closing)
    }

    pub(crate) fn move_to_backoff(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(
            &[
                State::Resolving,
                State::Connecting,
                State::TlsHandshaking,
                State::Upgrading,
                State::Readying,
                State::Open,
                State::Closing,
            ],
            State::Backoff,
        )
    }

    pub(crate) fn move_to_paused(&mut self) -> Moved {
        assert!(self.intent == Intent::Pause, "nobody asked for a pause");
        self.step(&ALIVE, State::Paused)
    }

    pub(crate) fn move_to_closed(&mut self) -> Moved {
        assert!(self.intent == Intent::End, "nobody asked for an end");
        let mut from = ALIVE.to_vec();
        from.push(State::Paused);
        self.step(&from, State::Closed)
    }

    pub(crate) fn move_to_gave_up(&mut self) -> Moved {
        self.expect_intent(Intent::Run);
        self.step(
            &[
                State::Resolving,
                State::Connecting,
                State::TlsHandshaking,
                State::Upgrading,
                State::Readying,
                State::Open,
                State::Closing,
            ],
            State::GaveUp,
        )
    }

    /// Changes what is wanted. An end is final; a pause and its end replace each other.
    pub(crate) fn want(&mut self, intent: Intent) {
        if self.intent != Intent::End {
            self.intent = intent;
        }
    }

    pub(crate) fn state(self) -> State {
        self.state
    }

    pub(crate) fn intent(self) -> Intent {
        self.intent
    }

    /// Whether a WebSocket is established.
    pub(crate) fn has_session(self) -> bool {
        matches!(self.state, State::Readying | State::Open | State::Closing)
    }

    fn step(&mut self, allowed: &[State], to: State) -> Moved {
        let from = self.state;
        assert!(allowed.contains(&from), "no way from {from} to {to}");
        self.state = to;
        Moved { from, to }
    }

    fn expect_intent(self, intent: Intent) {
        assert!(
            self.intent == intent,
            "the application wants {:?}, not {intent:?}",
            self.intent
        );
    }
}

/// Every state that is not final and not already at rest.
const ALIVE: [State; 10] = [
    State::Idle,
    State::WaitingForSlot,
    State::Resolving,
    State::Connecting,
    State::TlsHandshaking,
    State::Upgrading,
    State::Readying,
    State::Open,
    State::Closing,
    State::Backoff,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_runs_through_every_stage_in_order() {
        let mut life = Lifecycle::new();
        life.move_to_waiting_for_slot();
        life.move_to_resolving();
        life.move_to_connecting();
        life.move_to_tls_handshaking();
        life.move_to_upgrading();
        life.move_to_readying();
        life.move_to_open();
        life.move_to_closing();
        life.move_to_backoff();
        assert_eq!(
            life.move_to_waiting_for_slot(),
            Moved {
                from: State::Backoff,
                to: State::WaitingForSlot
            }
        );
    }

    #[test]
    fn an_end_is_final() {
        let mut life = Lifecycle::new();
        life.want(Intent::End);
        life.want(Intent::Run);
        assert_eq!(life.intent(), Intent::End);
        life.move_to_closed();
        assert!(life.state().is_terminal());
    }

    #[test]
    #[should_panic(expected = "no way from backoff to open")]
    fn a_move_without_its_stages_is_refused() {
        let mut life = Lifecycle {
            state: State::Backoff,
            intent: Intent::Run,
        };
        life.move_to_open();
    }
}
