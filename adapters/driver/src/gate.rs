//! The admission that a fleet's shards share, and the way of its answers to the right shard.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use ropewalk_core::admission::{
    Admission, AdmissionLimits, Answer, Calls, Grant, RequestId, Ticket,
};
use ropewalk_core::{AdmissionRequest, CallRequest, ConnectionId, Instant};

use crate::mailbox::{Command, Mailbox};

/// One [`Admission`] behind a lock, asked on dials and on shares of the byte budget, and [`Calls`] behind another, asked
/// on batches for processors whose shard keeps no call for them; neither is asked per message.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    calls: Mutex<Calls>,
    calls_kept: u32,
    mailboxes: Vec<Arc<Mailbox>>,
}

/// All shards together keep at most one in so many of the calls that there may be, so that few are ever recalled.
const KEPT_PART: u32 = 8;
/// And a shard at most so many.
const KEPT_MAX: u32 = 64;

#[derive(Debug)]
struct State {
    admission: Admission,
    /// The time at which some shard has promised to come back.
    promised: Option<Instant>,
}

/// What a shard's visit brought.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// The request that was made.
    pub(crate) request: Option<RequestId>,
    /// This shard must come back then.
    pub(crate) return_at: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(
        limits: AdmissionLimits,
        processor_calls_max: NonZeroU32,
        mailboxes: Vec<Arc<Mailbox>>,
    ) -> Self {
        let shards = u32::try_from(mailboxes.len()).unwrap_or(u32::MAX);
        Self {
            calls: Mutex::new(Calls::new(processor_calls_max)),
            calls_kept: (processor_calls_max.get() / KEPT_PART / shards.max(1)).min(KEPT_MAX),
            state: Mutex::new(State {
                admission: Admission::new(limits),
                promised: None,
            }),
            mailboxes,
        }
    }

    /// Passes a request on. What it grants, to whomever, is left in that shard's mailbox.
    pub(crate) fn ask(&self, now: Instant, shard: u32, request: AdmissionRequest) -> Visit {
        let mut visit = Visit::default();
        self.visit(now, &mut visit, |admission, visit, commands| {
            let ticket = |connection| Ticket { shard, connection };
            match request {
                AdmissionRequest::Join(host) => admission.join(&host),
                AdmissionRequest::Leave(host) => admission.leave(&host),
                AdmissionRequest::Request {
                    connection,
                    host,
                    dial,
                } => {
                    visit.request = Some(admission.request(now, ticket(connection), &host, dial));
                }
                AdmissionRequest::Narrow {
                    connection,
                    address,
                } => admission.narrow(now, ticket(connection), address),
                AdmissionRequest::Release { connection } => {
                    admission.release(now, ticket(connection));
                }
                AdmissionRequest::TakeBytes(bytes) => {
                    let granted = admission.take_bytes(shard, bytes);
                    if granted > 0 {
                        commands.push((shard, Command::BytesGranted(granted)));
                    }
                }
                AdmissionRequest::GiveBytes(bytes) => admission.give_bytes(shard, bytes),
            }
        });
        visit
    }

    /// Comes back at the time that an earlier visit named.
    pub(crate) fn come_back(&self, now: Instant) -> Visit {
        let mut visit = Visit::default();
        self.visit(now, &mut visit, |_, _, _| {});
        visit
    }

    /// How many calls that have ended a shard may keep for its next ones. When others wait for them,
    /// [`Command::CallsRecalled`] is left in its mailbox.
    pub(crate) fn keep_calls(&self, shard: u32) -> u32 {
        if self.calls_kept == 0 {
            return 0;
        }
        let mut answer = Answer::Wait;
        self.visit_calls(|calls| answer = calls.keep(shard));
        match answer {
            Answer::Granted => self.calls_kept,
            Answer::Wait => 0,
        }
    }

    /// Passes on what a connection of this shard wants of the processor calls. Names it if its call may begin at once;
    /// what others may begin is left in their shards' mailboxes.
    pub(crate) fn call(&self, shard: u32, request: CallRequest) -> Option<ConnectionId> {
        let ticket = |connection| Ticket { shard, connection };
        let mut granted = None;
        self.visit_calls(|calls| match request {
            CallRequest::Ask {
                connection,
                waiting,
            } => match calls.ask(ticket(connection), waiting) {
                Answer::Granted => granted = Some(connection),
                Answer::Wait => {}
            },
            CallRequest::End { connection: _ } => calls.end(shard),
            CallRequest::Withdraw { connection } => calls.withdraw(ticket(connection)),
        });
        granted
    }

    fn visit_calls(&self, act: impl FnOnce(&mut Calls)) {
        let mut calls = self
            .calls
            .lock()
            .expect("sharing calls does not panic on any input");
        act(&mut calls);
        // Mailed under the lock, so that whoever keeps calls again is told after that to give them back.
        while let Some(shard) = calls.poll_recall() {
            if let Some(mailbox) = self.mailboxes.get(shard as usize) {
                drop(mailbox.push(Command::CallsRecalled));
            }
        }
        while let Some(ticket) = calls.poll_grant() {
            if let Some(mailbox) = self.mailboxes.get(ticket.shard as usize) {
                // A shard that has ended gives all its calls back when it comes here.
                drop(mailbox.push(Command::CallGranted(ticket.connection)));
            }
        }
    }

    /// The shard has ended: its bytes and its calls go to the others.
    pub(crate) fn shard_ended(&self, shard: u32, now: Instant) {
        let mut visit = Visit::default();
        self.visit(now, &mut visit, |admission, _, _| {
            admission.give_all_bytes(shard);
        });
        self.visit_calls(|calls| calls.shard_ended(shard));
    }

    fn visit(
        &self,
        now: Instant,
        visit: &mut Visit,
        act: impl FnOnce(&mut Admission, &mut Visit, &mut Vec<(u32, Command)>),
    ) {
        let mut commands = Vec::new();
        let mut state = self
            .state
            .lock()
            .expect("admission does not panic on any input");
        let State {
            admission,
            promised,
        } = &mut *state;
        act(admission, visit, &mut commands);
        while let Some(Grant {
            ticket,
            request,
            stage,
        }) = admission.poll_grant(now)
        {
            let command = Command::Admitted {
                connection: ticket.connection,
                request,
                stage,
            };
            commands.push((ticket.shard, command));
        }
        while let Some((shard, bytes)) = admission.poll_refill() {
            commands.push((shard, Command::BytesGranted(bytes)));
        }
        // Somebody must come back when time alone lets a dial go on. Who was last to change anything
        // promises it, unless a promise that is early enough stands: then nobody needs to poll.
        promised.take_if(|at| at.is_due(now));
        if let Some(at) = admission.poll_timeout()
            && promised.is_none_or(|promised| at < promised)
        {
            *promised = Some(at);
            visit.return_at = Some(at);
        }
        // Mailed under the lock, so that grants reach a shard in the order in which they were given.
        for (shard, command) in commands {
            if let Some(mailbox) = self.mailboxes.get(shard as usize) {
                // A shard that has ended has given up its connections, and the fleet with it.
                drop(mailbox.push(command));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use ropewalk_core::admission::{Dial, Stage};

    use super::*;
    use crate::mailbox::Closed;
    use crate::tests::any_id;

    fn gate(limits: AdmissionLimits) -> (Gate, [Arc<Mailbox>; 2]) {
        let mailboxes: [Arc<Mailbox>; 2] = Default::default();
        let gate = Gate::new(limits, NonZeroU32::MIN, mailboxes.to_vec());
        (gate, mailboxes)
    }

    fn request(dial: Dial) -> AdmissionRequest {
        AdmissionRequest::Request {
            connection: any_id(),
            host: "test:80".into(),
            dial,
        }
    }

    fn admitted(mailbox: &Mailbox) -> Vec<Stage> {
        let mail = mail_of(mailbox);
        let stage = |command| {
            let Command::Admitted { stage, .. } = command else {
                return None;
            };
            Some(stage)
        };
        mail.into_iter().filter_map(stage).collect()
    }

    fn mail_of(mailbox: &Mailbox) -> VecDeque<Command> {
        let mut mail = VecDeque::new();
        assert_eq!(mailbox.take(&mut mail), Closed::No);
        mail
    }

    #[test]
    fn a_grant_reaches_the_shard_that_waits_and_not_the_one_that_let_go() {
        let (gate, [first, second]) = gate(AdmissionLimits::default());
        let now = Instant::ORIGIN;
        gate.ask(now, 0, request(Dial::First));
        gate.ask(now, 1, request(Dial::First));
        assert_eq!(admitted(&first), [Stage::Resolve]);
        assert_eq!(admitted(&second), []);
        gate.ask(
            now,
            0,
            AdmissionRequest::Release {
                connection: any_id(),
            },
        );
        assert_eq!(admitted(&first), []);
        assert_eq!(admitted(&second), [Stage::Resolve]);
    }

    #[test]
    fn one_shard_promises_to_come_back_for_all() {
        let limits = AdmissionLimits {
            redial_burst: NonZeroU32::MIN,
            ..AdmissionLimits::default()
        };
        let (gate, [_, second]) = gate(limits);
        let now = Instant::ORIGIN;
        assert_eq!(gate.ask(now, 0, request(Dial::Redial)).return_at, None);
        gate.ask(now, 1, request(Dial::Redial));
        // It waits for its turn; with the turn it waits for a token, and who gave it the turn comes back.
        let release = AdmissionRequest::Release {
            connection: any_id(),
        };
        let at = gate.ask(now, 0, release.clone()).return_at.unwrap();
        assert_eq!(gate.ask(now, 0, release).return_at, None);
        assert_eq!(admitted(&second), []);
        assert!(at > now && at <= now + Duration::from_secs(1));
        assert_eq!(gate.come_back(at).return_at, None);
        assert_eq!(admitted(&second), [Stage::Resolve]);
    }

    #[test]
    fn a_call_that_ends_lets_one_of_another_shard_begin() {
        let (gate, [first, second]) = gate(AdmissionLimits::default());
        let connection = any_id();
        let ask = CallRequest::Ask {
            connection,
            waiting: 1,
        };
        assert_eq!(gate.call(0, ask), Some(connection));
        assert_eq!(gate.call(1, ask), None);
        assert!(mail_of(&second).is_empty());
        gate.call(0, CallRequest::End { connection });
        let mail = mail_of(&second);
        assert!(matches!(mail.front(), Some(Command::CallGranted(id)) if *id == connection));
        assert_eq!(gate.call(0, ask), None);
        gate.shard_ended(1, Instant::ORIGIN);
        let mail = mail_of(&first);
        assert!(matches!(mail.front(), Some(Command::CallGranted(_))));
    }

    #[test]
    fn calls_that_a_shard_keeps_are_recalled_when_another_waits() {
        let mailboxes: [Arc<Mailbox>; 2] = Default::default();
        let max = NonZeroU32::new(16).unwrap();
        let gate = Gate::new(AdmissionLimits::default(), max, mailboxes.to_vec());
        let [first, second] = mailboxes;
        let connection = any_id();
        let ask = CallRequest::Ask {
            connection,
            waiting: 1,
        };
        assert_eq!(gate.keep_calls(0), 1);
        for _ in 0..max.get() {
            assert_eq!(gate.call(1, ask), Some(connection));
        }
        assert!(mail_of(&first).is_empty());
        assert_eq!(gate.call(1, ask), None);
        let mail = mail_of(&first);
        assert!(matches!(mail.front(), Some(Command::CallsRecalled)));
        assert_eq!(gate.keep_calls(0), 0);
        gate.call(
            0,
            CallRequest::Ask {
                connection,
                waiting: 2,
            },
        );
        assert!(mail_of(&first).is_empty(), "it keeps nothing any more");
        gate.call(1, CallRequest::End { connection });
        assert!(mail_of(&second).len() + mail_of(&first).len() == 1);
    }

    #[test]
    fn a_shard_that_ends_leaves_its_bytes_to_the_others() {
        let (gate, [first, second]) = gate(AdmissionLimits::default());
        let now = Instant::ORIGIN;
        gate.ask(now, 0, AdmissionRequest::TakeBytes(u64::MAX));
        gate.ask(now, 1, AdmissionRequest::TakeBytes(5));
        assert_eq!(mail_of(&first).len(), 1);
        assert!(mail_of(&second).is_empty());
        gate.shard_ended(0, now);
        let mail = mail_of(&second);
        assert!(matches!(mail.front(), Some(Command::BytesGranted(5))));
    }
}
