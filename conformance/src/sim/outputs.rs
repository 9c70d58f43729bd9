//! What the core wants done, done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ropewalk_core::admission::{Answer, Calls, Ticket};
use ropewalk_core::{
    AdmissionRequest, CallRequest, Direction, EventKind, Input, Output, Reading, SocketId,
    TransportErrorKind,
};

use super::link::{Held, Link};
use super::{Happening, Sim};
use crate::ledger::Places;
use crate::script::{DialPlan, Greeting};

/// The simulator has one shard.
const SHARD: u32 = 0;

/// One call may make the core produce at most this many outputs.
const OUTPUTS_OF_A_STEP_MAX: usize = 20_000;

/// What the drain of outputs left to do.
#[derive(Debug, Default)]
pub(super) struct Todo {
    transmit: VecDeque<SocketId>,
    feed: BTreeSet<SocketId>,
    pub(super) admission_changed: bool,
    /// What the servers will do with the dials under way.
    pub(super) plans: BTreeMap<SocketId, DialPlan>,
}

impl Sim {
    /// Drains the outputs, and what follows from them, until nothing is left to do at this time.
    pub(super) fn settle(&mut self) {
        loop {
            self.drain();
            if let Some(socket) = self.todo.transmit.pop_front() {
                self.write(socket);
            } else if let Some(socket) = self.todo.feed.pop_first() {
                self.feed(socket);
            } else if std::mem::take(&mut self.todo.admission_changed) {
                self.admit();
            } else if !self.grant_call() {
                break;
            }
        }
        self.admission_timeout = self.admission.poll_timeout();
        self.admission.check_invariants();
        self.set.check_invariants();
        let places = match &self.shared {
            None => Places::Own,
            Some((calls, max)) => Places::Shared {
                running: calls.running(),
                max: max.get(),
                waiting: calls.waiting(),
            },
        };
        self.ledger.settled(self.now, &self.set, places);
        if let Some(violation) = self.ledger.violation() {
            panic!("{}: at {}: {violation}", self.label, self.now);
        }
    }

    pub(super) fn drain(&mut self) {
        for _ in 0..OUTPUTS_OF_A_STEP_MAX {
            let output = self.set.poll_output(self.now);
            self.ledger.output(self.now, &output);
            if let Output::Idle { next_timeout } = output {
                self.set_timeout = next_timeout;
                return;
            }
            self.obey(output);
        }
        self.ledger.complain(format!(
            "more than {OUTPUTS_OF_A_STEP_MAX} outputs in one step"
        ));
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Provide {
                connection,
                generation,
                ..
            } => self.ledger.complain(format!(
                "{connection}: asks for the request of attempt {generation}, and has no provider"
            )),
            Output::Admission(request) => self.pass_to_admission(request),
            Output::Call(request) => self.pass_to_calls(request),
            Output::Resolve {
                connection,
                generation,
                ..
            } => self.resolve(connection, generation),
            Output::Connect { socket, .. } => self.connect(socket),
            Output::Transmit { socket } => self.todo.transmit.push_back(socket),
            Output::ShutdownWrite { socket } => self.leave_server(socket),
            Output::Abort { socket } => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.client = Held::Dropped;
                    self.leave_server(socket);
                }
            }
            Output::Read { socket, reading } => {
                if reading == Reading::Resumed {
                    self.todo.feed.insert(socket);
                }
            }
            Output::ReadAll { reading, except } => match reading {
                Reading::Paused => self.todo.feed.extend(except),
                Reading::Resumed => self.todo.feed.extend(self.links.keys().copied()),
            },
            Output::Deliver(batch) => self.deliver(batch),
            Output::Outcome {
                connection,
                message,
                outcome,
            } => {
                self.client(connection)
                    .sent
                    .insert(message.as_u64(), Some(outcome));
            }
            Output::Room { connection, .. } => self.client(connection).has_room = true,
            Output::DeadLetter(letter) => {
                let client = self.client(letter.connection);
                client.letters += 1;
                let name = client.name.clone();
                self.trace.push_letter(&name, &letter);
                if letter.direction == Direction::Inbound {
                    self.client(letter.connection).kept.push(*letter);
                }
            }
            Output::Redriven {
                connection,
                letter,
                fate,
            } => self.redriven(connection, letter, &fate),
            Output::Event(event) => self.see(&event),
            Output::Removed(report) => {
                let id = report.connection;
                self.client(id).report = Some(*report);
            }
            Output::Idle { .. } => unreachable!("the drain ends with it"),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "events are non-exhaustive; these are the ones that tests ask about"
    )]
    fn see(&mut self, event: &ropewalk_core::Event) {
        let client = self
            .clients
            .get_mut(&event.connection)
            .expect("events are of known connections");
        self.trace.push_event(&client.name, event, &client.urls);
        match event.kind {
            EventKind::State { to, .. } => client.history.push((event.at, to)),
            EventKind::Retrying { delay, .. } => client.delays.push((event.at, delay)),
            _ => {}
        }
    }

    fn pass_to_admission(&mut self, request: AdmissionRequest) {
        let ticket = |connection| Ticket {
            shard: SHARD,
            connection,
        };
        let now = self.now;
        match request {
            AdmissionRequest::Join(host) => self.admission.join(&host),
            AdmissionRequest::Leave(host) => self.admission.leave(&host),
            AdmissionRequest::Request {
                connection,
                host,
                dial,
            } => {
                self.admission.request(now, ticket(connection), &host, dial);
            }
            AdmissionRequest::Narrow {
                connection,
                address,
            } => self.admission.narrow(now, ticket(connection), address),
            AdmissionRequest::Release { connection } => {
                self.admission.release(now, ticket(connection));
            }
            AdmissionRequest::TakeBytes(wanted) => {
                let granted = self.admission.take_bytes(SHARD, wanted);
                if granted > 0 {
                    self.set.handle(now, Input::BytesGranted(granted));
                }
            }
            AdmissionRequest::GiveBytes(bytes) => self.admission.give_bytes(SHARD, bytes),
        }
        self.todo.admission_changed = true;
    }

    fn pass_to_calls(&mut self, request: CallRequest) {
        let Some((calls, _)) = &mut self.shared else {
            self.ledger
                .complain(format!("{request:?}, and the set does not share its calls"));
            return;
        };
        let ticket = |connection| Ticket {
            shard: SHARD,
            connection,
        };
        match request {
            CallRequest::Ask {
                connection,
                waiting,
            } => match calls.ask(ticket(connection), waiting) {
                Answer::Granted => self.set.handle(self.now, Input::CallGranted { connection }),
                Answer::Wait => {}
            },
            CallRequest::End { .. } => calls.end(SHARD),
            CallRequest::Withdraw { connection } => calls.withdraw(ticket(connection)),
        }
    }

    /// Hands on a call that has become free. Whether there was one.
    fn grant_call(&mut self) -> bool {
        let calls = self.shared.as_mut().map(|(calls, _)| calls);
        let Some(ticket) = calls.and_then(Calls::poll_grant) else {
            return false;
        };
        let connection = ticket.connection;
        self.set.handle(self.now, Input::CallGranted { connection });
        true
    }

    /// Hands on what the admission grants.
    fn admit(&mut self) {
        while let Some(grant) = self.admission.poll_grant(self.now) {
            let input = Input::Admitted {
                connection: grant.ticket.connection,
                stage: grant.stage,
            };
            self.set.handle(self.now, input);
            self.drain();
        }
        while let Some((_, bytes)) = self.admission.poll_refill() {
            self.set.handle(self.now, Input::BytesGranted(bytes));
            self.drain();
        }
    }

    fn resolve(&mut self, connection: ropewalk_core::ConnectionId, generation: u32) {
        let now = self.now;
        let client = &self.clients[&connection];
        let number = generation.max(1);
        let (plan, profile) = self.servers.plan(&client.name, number, now);
        let result = match plan.greeting {
            Greeting::ResolverSilent => return,
            Greeting::Unresolvable => Err("no such host".into()),
            Greeting::NoAddress => Ok(Vec::new()),
            Greeting::Accept
            | Greeting::Refuse
            | Greeting::Blackhole
            | Greeting::Unreachable
            | Greeting::OutOfResources
            | Greeting::Denied
            | Greeting::SelfConnect => Ok(vec![client.address]),
        };
        let at = now + profile.latency.1;
        self.schedule(at, Happening::Resolved(connection, generation, result));
    }

    fn connect(&mut self, socket: SocketId) {
        let now = self.now;
        let client = self.client(socket.connection);
        client.dials.push(now);
        let name = client.name.clone();
        let (plan, profile) = self.servers.plan(&name, socket.generation, now);
        let greeting = plan.greeting;
        self.links.insert(socket, Link::new(profile, now));
        self.todo.plans.insert(socket, plan);
        let at = now + self.rng.between(profile.latency.0, profile.latency.1);
        let failure = match greeting {
            Greeting::Accept => return self.schedule(at, Happening::Connected(socket)),
            Greeting::Blackhole => return,
            Greeting::Refuse => TransportErrorKind::Refused,
            Greeting::OutOfResources => TransportErrorKind::Resource,
            Greeting::Denied => TransportErrorKind::Denied,
            Greeting::SelfConnect => TransportErrorKind::SelfConnect,
            // A name that does not resolve leads to no socket: the plan changed meanwhile.
            Greeting::Unreachable
            | Greeting::Unresolvable
            | Greeting::ResolverSilent
            | Greeting::NoAddress => TransportErrorKind::Unreachable,
        };
        self.schedule(at, Happening::ConnectFailed(socket, failure));
    }

    /// Writes what the core has for a socket, as far as the network takes it.
    pub(super) fn write(&mut self, socket: SocketId) {
        while let Some(link) = self.links.get_mut(&socket) {
            if link.client == Held::Dropped {
                return;
            }
            let Some(transmit) = self.set.transmit(self.now, socket) else {
                break;
            };
            if transmit.len() == 0 {
                self.ledger.complain(format!("{socket}: an empty transmit"));
                return;
            }
            let room = link.write_room().min(link.profile.write_bytes_max);
            if room == 0 {
                link.write_blocked = true;
                break;
            }
            let mut bytes = Vec::new();
            for slice in transmit.slices() {
                bytes.extend_from_slice(&slice);
            }
            bytes.truncate(room);
            transmit.advance(bytes.len());
            self.ledger.written(self.now, socket, &bytes);
            link.window_used += bytes.len();
            let at = link.up_arrival(self.now, &mut self.rng, bytes.len());
            self.schedule(at, Happening::ToServer(socket, bytes));
            // What was written may have made the session ready.
            self.drain();
        }
        self.drain();
    }
}
