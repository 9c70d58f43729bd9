//! A deterministic simulator: the real core, a virtual clock, a simulated network and scripted servers, in one thread.
//!
//! One seed gives one run. After every step the ledger compares what the core did with the rules.

mod application;
mod chaos;
mod link;
mod network;
mod opening;
mod outputs;
mod scenario;
mod short;
mod short_inbound;
mod storm;
mod whims;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::admission::{Admission, AdmissionLimits, Calls};
use ropewalk_core::{
    ConnectionId, ConnectionReport, ConnectionSet, DeadLetter, Input, Instant, Jitter, Message,
    MessageId, Report, Seed, SendError, Shutdown, SocketId, State, TransportErrorKind,
};

use self::application::Client;
use self::link::{End, Link};
use crate::ledger::Ledger;
use crate::scenario::Consuming;
use crate::trace::{Aspect, Trace};

pub use self::application::{Call, Processor};
pub use self::chaos::{Chaos, Weather};
pub use self::link::LinkProfile;
pub use self::opening::{Always, Opening, Servers};
pub use self::scenario::{RunError, run};
pub use self::short::short_life;
pub use self::short_inbound::inbound_life;
pub use self::storm::{Aftermath, storm};

pub(crate) use self::application::judge;
pub(crate) use self::link::pick;
pub(crate) use self::scenario::{LAST_SHUTDOWN, matches_token, target};

/// Whether anything is left to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something happened.
    Happened,
    /// Nothing ever will, unless the application does something.
    Quiet,
}

/// What happens at some time.
#[derive(Debug)]
enum Happening {
    Connected(SocketId),
    ConnectFailed(SocketId, TransportErrorKind),
    ToServer(SocketId, Vec<u8>),
    ClientLeft(SocketId),
    ToClient(SocketId, Vec<u8>),
    ServerLeft(SocketId, End),
    ServerWoke(SocketId),
    Writable(SocketId),
    Resolved(ConnectionId, u32, Result<Vec<SocketAddr>, Box<str>>),
    /// A call of this number ends.
    ConsumerDone(ConnectionId, u64),
    Wake,
}

/// The simulated world.
#[derive(Debug)]
pub struct Sim {
    label: String,
    now: Instant,
    rng: Jitter,
    set: ConnectionSet,
    admission: Admission,
    /// The calls of all processors together, and how many there may be, if they share them.
    shared: Option<(Calls, NonZeroU32)>,
    servers: Box<dyn Servers>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    happened: u64,
    links: BTreeMap<SocketId, Link>,
    clients: BTreeMap<ConnectionId, Client>,
    /// Batches that were handed out.
    calls: u64,
    set_timeout: Option<Instant>,
    admission_timeout: Option<Instant>,
    timer_lag_max: Duration,
    timeouts_fired: u64,
    todo: outputs::Todo,
    signals: BTreeSet<String>,
    ledger: Ledger,
    trace: Trace,
    problems: Vec<String>,
    /// Dials whose script is done.
    served: BTreeSet<(ConnectionId, u32)>,
}

/// At one time, more steps than this are a livelock.
const STEPS_AT_ONE_TIME_MAX: u64 = 200_000;

impl Sim {
    /// An empty world. `label` names it when something is wrong.
    pub fn new(label: impl Into<String>, seed: u64, servers: impl Servers + 'static) -> Self {
        Self {
            label: label.into(),
            now: Instant::ORIGIN + Duration::from_secs(1),
            rng: Jitter::from_state(seed ^ 0x51ab_0f0f),
            set: ConnectionSet::new(Seed::for_tests(seed)),
            admission: Admission::new(AdmissionLimits::default()),
            shared: None,
            servers: Box::new(servers),
            happenings: BTreeMap::new(),
            happened: 0,
            links: BTreeMap::new(),
            clients: BTreeMap::new(),
            calls: 0,
            set_timeout: None,
            admission_timeout: None,
            timer_lag_max: Duration::ZERO,
            timeouts_fired: 0,
            todo: outputs::Todo::default(),
            signals: BTreeSet::new(),
            ledger: Ledger::default(),
            trace: Trace::default(),
            problems: Vec::new(),
            served: BTreeSet::new(),
        }
    }

    /// Lets timers fire up to this late, by chance, as they do on a busy machine.
    pub fn lag_timers(&mut self, lag_max: Duration) {
        self.timer_lag_max = lag_max;
    }

    /// Lets so many calls of processors run at once, over all connections. Before any is opened.
    pub fn share_calls(&mut self, max: NonZeroU32) {
        let seed = Seed::for_tests(self.rng.next_u64());
        self.set = ConnectionSet::new(seed).sharing_calls();
        self.shared = Some((Calls::new(max), max));
    }

    /// Opens a connection.
    pub fn open(&mut self, opening: Opening) -> ConnectionId {
        let (target, config) = (opening.target.clone(), Arc::clone(&opening.config));
        let (consumer, consuming) = (opening.consumer, opening.consuming);
        let id = self
            .set
            .insert(self.now, target, Arc::clone(&config), consumer);
        self.ledger.opened(id, &config, consumer);
        self.clients.insert(id, Client::new(opening));
        self.settle();
        if consuming == Consuming::Yes {
            self.ask(id);
        }
        id
    }

    /// Gives a connection's batches to this processor from now on.
    pub fn process(&mut self, id: ConnectionId, processor: impl Processor + 'static) {
        self.client(id).processor = Box::new(processor);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What the core says.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a message is the core's once it is accepted; only the ledger looks at it again"
    )]
    pub fn send(&mut self, id: ConnectionId, message: Message) -> Result<MessageId, SendError> {
        let sent = self
            .set
            .send(self.now, id, message.clone(), Report::Outcome);
        match &sent {
            Ok(number) => {
                self.ledger.accepted(self.now, id, *number, &message);
                self.client(id).sent.insert(number.as_u64(), None);
            }
            Err(refused) => self.ledger.refused(id, refused),
        }
        self.settle();
        sent
    }

    /// Pauses a connection.
    pub fn pause(&mut self, id: ConnectionId) {
        self.ledger.paused(id);
        self.set.pause(self.now, id);
        self.settle();
    }

    /// Resumes a connection.
    pub fn resume(&mut self, id: ConnectionId) {
        self.ledger.may_dial_early(id);
        self.set.resume(self.now, id);
        self.settle();
    }

    /// Ends a wait for the next attempt.
    pub fn retry_now(&mut self, id: ConnectionId) {
        self.ledger.may_dial_early(id);
        self.set.retry_now(self.now, id);
        self.settle();
    }

    /// Ends a connection.
    pub fn remove(&mut self, id: ConnectionId, how: Shutdown) {
        self.ledger.ending(self.now, id, how);
        self.set.remove(self.now, id, how);
        self.settle();
    }

    /// Ends all connections together.
    pub fn shut_down(&mut self, deadline: Instant) {
        let how = Shutdown::Graceful { deadline };
        let ids: Vec<ConnectionId> = self.set.ids().collect();
        for id in ids {
            self.ledger.ending(self.now, id, how);
            self.set.remove(self.now, id, how);
        }
        self.settle();
    }

    /// Lets a connection's consumer take messages, or no more.
    pub fn consume(&mut self, id: ConnectionId, consuming: Consuming) {
        self.client(id).consuming = consuming;
        if consuming == Consuming::Yes {
            self.ask(id);
        }
    }

    /// Gives a signal to every script, now and later.
    pub fn signal(&mut self, name: &str) {
        self.signals.insert(name.to_owned());
        let sockets: Vec<SocketId> = self.links.keys().copied().collect();
        for socket in sockets {
            if let Some(script) = self.links.get_mut(&socket).and_then(|l| l.script.as_mut()) {
                script.signal(name);
                self.pump(socket);
            }
        }
        self.settle();
    }

    /// Makes [`step`](Self::step) stop at this time even if nothing else happens then.
    pub fn wake_at(&mut self, at: Instant) {
        self.schedule(at, Happening::Wake);
    }

    /// Goes on to the next thing that happens.
    pub fn step(&mut self) -> Step {
        let happening = self.happenings.keys().next().copied();
        let timers = [self.set_timeout, self.admission_timeout];
        let timer = timers.into_iter().flatten().min();
        match (happening, timer) {
            (None, None) => return Step::Quiet,
            // As a driver does, which looks at the clock first: what is due comes before what arrived.
            (Some((at, _)), timer) if timer.is_none_or(|timer| at < timer) => {
                self.advance_to(at);
                let (_, happening) = self.happenings.pop_first().expect("it was just looked at");
                self.happen(happening);
            }
            (_, Some(timer)) => {
                let lag = self.rng.between(Duration::ZERO, self.timer_lag_max);
                let next = happening.map_or(Instant::FAR_FUTURE, |(at, _)| at);
                self.advance_to((timer + lag).min(next.max(timer)));
                self.fire();
            }
            (Some(_), None) => unreachable!("without a timer the first arm takes it"),
        }
        self.settle();
        Step::Happened
    }

    /// Goes on until `at`.
    pub fn run_until(&mut self, at: Instant) {
        self.wake_at(at);
        while self.now < at {
            self.step();
        }
    }

    /// Goes on for a while.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Goes on until `done` says so, at most until `deadline`; says whether it did.
    pub fn run_while(&mut self, deadline: Instant, mut going: impl FnMut(&Self) -> bool) -> bool {
        self.wake_at(deadline);
        while going(self) {
            if self.now >= deadline || self.step() == Step::Quiet {
                return !going(self);
            }
        }
        true
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A connection's state; `None` after its end.
    pub fn state(&self, id: ConnectionId) -> Option<State> {
        self.set.state(id)
    }

    /// The core itself, to look at.
    pub fn set(&self) -> &ConnectionSet {
        &self.set
    }

    /// A connection's counters; `None` after its end.
    pub fn counters(&self, id: ConnectionId) -> Option<ropewalk_core::Counters> {
        self.set.counters(id)
    }

    /// How often the core was woken because a deadline had come.
    pub fn timeouts_fired(&self) -> u64 {
        self.timeouts_fired
    }

    /// When the connection dialled.
    pub fn dials(&self, id: ConnectionId) -> &[Instant] {
        self.clients.get(&id).map_or(&[], |client| &client.dials)
    }

    /// When the connection was in which state.
    pub fn history(&self, id: ConnectionId) -> &[(Instant, State)] {
        self.clients.get(&id).map_or(&[], |client| &client.history)
    }

    /// The delays that were announced, with the time of the announcement.
    pub fn delays(&self, id: ConnectionId) -> &[(Instant, Duration)] {
        self.clients.get(&id).map_or(&[], |client| &client.delays)
    }

    /// A connection's received messages that are dead letters and were not redriven.
    pub fn letters(&self, id: ConnectionId) -> &[DeadLetter] {
        self.clients.get(&id).map_or(&[], |client| &client.kept)
    }

    /// The report of a connection that has ended.
    pub fn report(&self, id: ConnectionId) -> Option<&ConnectionReport> {
        self.clients
            .get(&id)
            .and_then(|client| client.report.as_ref())
    }

    /// What happened so far; outcomes and reports come with [`finish`](Self::finish).
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Which states, classes and ends occurred.
    pub fn marks(&self) -> &BTreeSet<String> {
        self.ledger.marks()
    }

    /// What the scripted servers complained about.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Ends the run and returns its trace.
    pub fn finish(mut self) -> Trace {
        for client in self.clients.values() {
            for (number, outcome) in &client.sent {
                let token = match outcome {
                    Some(outcome) => crate::trace::outcome_token(*number, outcome),
                    None => format!("{number}=unknown"),
                };
                self.trace.push(&client.name, Aspect::Outcomes, token);
            }
            if let Some(report) = &client.report {
                self.trace.push_report(&client.name, report);
            }
        }
        self.trace
    }

    fn client(&mut self, id: ConnectionId) -> &mut Client {
        self.clients
            .get_mut(&id)
            .expect("connections are opened by this simulator")
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.happened += 1;
        self.happenings.insert((at, self.happened), happening);
    }

    fn advance_to(&mut self, at: Instant) {
        self.ledger.advance(self.now, at, STEPS_AT_ONE_TIME_MAX);
        self.now = self.now.max(at);
    }

    /// A timer is due.
    fn fire(&mut self) {
        if self.set_timeout.is_some_and(|at| at.is_due(self.now)) {
            self.timeouts_fired += 1;
            self.set.handle(self.now, Input::Timeout);
        }
        self.todo.admission_changed = true;
    }
}
