//! When a processor's next call may begin, if all connections share a number of calls.

use crate::ids::ConnectionId;
use crate::inbound::Place;
use crate::io::{CallRequest, Consumer, Output};

use super::{Connection, Sharing, Step};

/// Calls that have ended and are kept for the next ones, so that these need not be asked for.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    max: usize,
    /// Whose they were.
    calls: Vec<ConnectionId>,
}

impl Kept {
    /// Keeps so many from now on; returns one after the other that is too many.
    pub(crate) fn limit(&mut self, max: u32) -> impl Iterator<Item = ConnectionId> {
        self.max = usize::try_from(max).unwrap_or(usize::MAX);
        self.calls.drain(self.max.min(self.calls.len())..)
    }
}

impl Connection {
    /// Whether a call may begin now; if not, it is asked for.
    pub(super) fn has_call(&mut self, step: &mut Step<'_>) -> bool {
        match (self.consumer, step.calls) {
            (Consumer::Pull, _) | (Consumer::Process, Sharing::Alone) => return true,
            (Consumer::Process, Sharing::Shared) => {}
        }
        let waiting = self.inbound.waiting();
        let magnitude = magnitude(waiting);
        match self.inbound.place() {
            Place::Granted => {
                self.inbound.set_place(Place::Unasked);
                return true;
            }
            // Said again when there is twice as much: at most 32 times, however many messages come.
            Place::Asked(before) if before >= magnitude => return false,
            Place::Unasked if step.kept.calls.pop().is_some() => return true,
            Place::Asked(_) | Place::Unasked => {}
        }
        self.inbound.set_place(Place::Asked(magnitude));
        let connection = self.id;
        step.out.push_back(Output::Call(CallRequest::Ask {
            connection,
            waiting,
        }));
        false
    }

    /// A call that was asked for may begin. One that nobody wants any more is given back.
    pub(crate) fn call_granted(&mut self, step: &mut Step<'_>) {
        match self.inbound.place() {
            Place::Asked(_) => self.inbound.set_place(Place::Granted),
            Place::Unasked | Place::Granted => self.end_calls(step, 1),
        }
    }

    pub(super) fn end_calls(&self, step: &mut Step<'_>, calls: u16) {
        match step.calls {
            Sharing::Alone => {}
            Sharing::Shared => {
                let connection = self.id;
                for _ in 0..calls {
                    if step.kept.calls.len() < step.kept.max {
                        step.kept.calls.push(connection);
                        continue;
                    }
                    let end = CallRequest::End { connection };
                    step.out.push_back(Output::Call(end));
                }
            }
        }
    }
}

/// The number of binary digits.
fn magnitude(number: u32) -> u8 {
    u8::try_from(u32::BITS - number.leading_zeros()).expect("there are 32 at most")
}
