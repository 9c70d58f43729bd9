//! A deterministic simulator: the real core, a virtual clock, a simulated network and scripted servers, in one thread.
//!
//! One seed gives one run. After every step the [ledger](crate::ledger) compares what the core did with the rules.

mod application;
mod chaos;
mod link;
mod outputs;
mod scenario;
mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::admission::{Admission, AdmissionLimits};
use ropewalk_core::{
    Config, ConnectionId, ConnectionReport, ConnectionSet, Consumer, Hooks, Input, Instant, Jitter,
    Message, MessageId, Report, Seed, SendError, Settings, Shutdown, SocketId, State, Target,
    TransportErrorKind,
};

use self::application::Client;
use self::link::{End, Held, Link};
use crate::ledger::Ledger;
use crate::scenario::Consuming;
use crate::script::{Act, DialPlan, Script};
use crate::trace::{Aspect, Trace};

pub use self::chaos::{Chaos, Weather};
pub use self::link::LinkProfile;
pub use self::scenario::{RunError, run};
pub use self::storm::{Aftermath, storm};

pub(crate) use self::application::judge;
pub(crate) use self::link::pick;
pub(crate) use self::scenario::{LAST_SHUTDOWN, matches_token, target};

/// Decides what becomes of each dial.
pub trait Servers: fmt::Debug {
    /// What the server does with this connection's dial of this number, and over which network.
    fn plan(&mut self, connection: &str, dial: u32, now: Instant) -> (DialPlan, LinkProfile);
}

/// What to open.
#[derive(Debug)]
pub struct Opening {
    /// The name in traces.
    pub name: String,
    /// Where to.
    pub target: Target,
    /// Its URLs, in order, for traces that tell them apart.
    pub urls: Vec<String>,
    /// The address that its host name has.
    pub address: SocketAddr,
    /// The configuration.
    pub config: Arc<Config>,
    /// Who takes the messages.
    pub consumer: Consumer,
    /// Whether they are taken from the start.
    pub consuming: Consuming,
    /// How long the consumer is busy with a batch.
    pub busy: Duration,
}

impl Opening {
    /// A connection that pulls its messages, to an address of its own.
    ///
    /// # Panics
    /// If the settings are not sound, or there are more than 4,096 connections.
    pub fn simple(name: &str, index: u32, settings: Settings) -> Self {
        assert!(index < 4_096, "the addresses of 10.0.0.0/16 are used up");
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + index * 16), 9000));
        let url = format!("ws://{address}/{name}");
        let config = Config::new(settings, Hooks::default()).expect("the settings are sound");
        Self {
            name: name.into(),
            target: Target::parse(&url).expect("an address makes a URL"),
            urls: vec![url],
            address,
            config: Arc::new(config),
            consumer: Consumer::Pull,
            consuming: Consuming::Yes,
            busy: Duration::ZERO,
        }
    }
}

/// The same servers, whatever the connection and the dial.
#[derive(Clone, Debug)]
pub struct Always {
    /// What they do.
    pub plan: DialPlan,
    /// Over this network.
    pub profile: LinkProfile,
}

impl Servers for Always {
    fn plan(&mut self, _: &str, _: u32, _: Instant) -> (DialPlan, LinkProfile) {
        (self.plan.clone(), self.profile)
    }
}

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
    ConsumerDone(ConnectionId),
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
    servers: Box<dyn Servers>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    happened: u64,
    links: BTreeMap<SocketId, Link>,
    clients: BTreeMap<ConnectionId, Client>,
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
            servers: Box::new(servers),
            happenings: BTreeMap::new(),
            happened: 0,
            links: BTreeMap::new(),
            clients: BTreeMap::new(),
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

    /// Opens a connection.
    pub fn open(&mut self, opening: Opening) -> ConnectionId {
        let Opening {
            name,
            target,
            urls,
            address,
            config,
            consumer,
            consuming,
            busy,
        } = opening;
        let id = self
            .set
            .insert(self.now, target, Arc::clone(&config), consumer);
        self.ledger.opened(id, &config, consumer);
        self.clients.insert(
            id,
            Client::new(name, urls, address, consumer, consuming, busy),
        );
        self.settle();
        if consuming == Consuming::Yes {
            self.ask(id);
        }
        id
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
        if let Ok(number) = &sent {
            self.ledger.accepted(id, *number, &message);
            self.client(id).sent.insert(number.as_u64(), None);
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
        self.ledger.ending(id);
        self.set.remove(self.now, id, how);
        self.settle();
    }

    /// Ends all connections together.
    pub fn shut_down(&mut self, deadline: Instant) {
        let how = Shutdown::Graceful { deadline };
        let ids: Vec<ConnectionId> = self.set.ids().collect();
        for id in ids {
            self.ledger.ending(id);
            self.set.remove(self.now, id, how);
        }
        self.settle();
    }

    /// Lets a connection's consumer take messages, or no more.
    pub fn consume(&mut self, id: ConnectionId, consuming: Consuming) {
        let client = self.client(id);
        client.consuming = consuming;
        if consuming == Consuming::Yes && client.is_idle() {
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(socket) => self.connected(socket),
            Happening::ConnectFailed(socket, kind) => self.transport_failed(socket, kind),
            Happening::ToServer(socket, bytes) => self.reach_server(socket, &bytes),
            Happening::ClientLeft(socket) => {
                if let Some(script) = self.links.get_mut(&socket).and_then(|l| l.script.as_mut()) {
                    script.client_gone();
                    self.pump(socket);
                }
                self.forget(socket);
            }
            Happening::ToClient(socket, bytes) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.inbox.extend_from_slice(&bytes);
                    self.feed(socket);
                }
            }
            Happening::ServerLeft(socket, end) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.inbox_end = Some(end);
                    self.feed(socket);
                }
            }
            Happening::ServerWoke(socket) => {
                if let Some(link) = self.links.get_mut(&socket) {
                    link.server_sleeps = false;
                    if let Some(script) = &mut link.script {
                        script.woke();
                    }
                    self.pump(socket);
                }
            }
            Happening::Writable(socket) => self.write(socket),
            Happening::Resolved(connection, generation, result) => self.set.handle(
                self.now,
                Input::Resolved {
                    connection,
                    generation,
                    result,
                },
            ),
            Happening::ConsumerDone(id) => self.consumer_done(id),
            Happening::Wake => {}
        }
    }

    fn connected(&mut self, socket: SocketId) {
        let signals = self.signals.clone();
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        let plan = self.todo.plans.remove(&socket).unwrap_or_default();
        link.script = Some(Script::new(&plan.steps, signals));
        if link.client == Held::Yes {
            self.ledger.connected(socket);
            self.set.handle(self.now, Input::Connected { socket });
        }
        self.pump(socket);
    }

    fn transport_failed(&mut self, socket: SocketId, kind: TransportErrorKind) {
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        if link.client == Held::Yes {
            link.client = Held::Dropped;
            self.ledger.lost(socket);
            let error = ropewalk_core::TransportError::new(kind);
            self.set
                .handle(self.now, Input::TransportFailed { socket, error });
        }
        self.leave_server(socket);
    }

    /// The server will see that the client is gone.
    fn leave_server(&mut self, socket: SocketId) {
        if let Some(link) = self.links.get_mut(&socket) {
            let at = link.up_arrival(self.now, &mut self.rng, 0);
            self.schedule(at, Happening::ClientLeft(socket));
        }
    }

    fn reach_server(&mut self, socket: SocketId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        if link.server_reads {
            link.window_used -= bytes.len();
            if let Some(script) = &mut link.script {
                script.receive(bytes);
            }
            if link.write_blocked {
                link.write_blocked = false;
                let at = self.now;
                self.schedule(at, Happening::Writable(socket));
            }
            self.pump(socket);
        } else {
            link.unread_by_server.extend_from_slice(bytes);
        }
    }

    /// Does what the server's script wants.
    fn pump(&mut self, socket: SocketId) {
        loop {
            let Some(link) = self.links.get_mut(&socket) else {
                return;
            };
            let Some(script) = &mut link.script else {
                return;
            };
            let name = &self.clients[&socket.connection].name;
            for note in script.take_notes() {
                self.trace
                    .push(name, Aspect::Server(socket.generation), note);
            }
            if let Some(problem) = script.problem() {
                let problem = format!("{name}#{}: {problem}", socket.generation);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            }
            if script.is_done() {
                self.served.insert((socket.connection, socket.generation));
            }
            if link.server_sleeps {
                return;
            }
            let Some(act) = script.poll() else {
                return;
            };
            self.act(socket, act);
        }
    }

    fn act(&mut self, socket: SocketId, act: Act) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        match act {
            Act::Write(bytes) => {
                let piece_max = link.profile.piece_bytes_max as u64;
                let mut pieces = Vec::new();
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let size = 1 + self.rng.next_u64() % piece_max;
                    // Half of the pieces are as large as they can be.
                    let size = if self.rng.next_u64().is_multiple_of(2) {
                        piece_max
                    } else {
                        size
                    };
                    let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
                    let at = link.down_arrival(now, &mut self.rng, size);
                    pieces.push((at, rest[..size].to_vec()));
                    rest = &rest[size..];
                }
                for (at, piece) in pieces {
                    self.schedule(at, Happening::ToClient(socket, piece));
                }
            }
            Act::ShutdownWrite => {
                let at = link.down_arrival(now, &mut self.rng, 0);
                self.schedule(at, Happening::ServerLeft(socket, End::Eof));
            }
            Act::Reset => {
                let at = link.down_arrival(now, &mut self.rng, 0);
                self.schedule(at, Happening::ServerLeft(socket, End::Reset));
            }
            Act::StopReading => link.server_reads = false,
            Act::StartReading => {
                link.server_reads = true;
                let bytes = std::mem::take(&mut link.unread_by_server);
                self.reach_server(socket, &bytes);
            }
            Act::Sleep(time) => {
                link.server_sleeps = true;
                self.schedule(now + time, Happening::ServerWoke(socket));
            }
        }
    }

    /// Gives the core what has arrived, as long as it wants to read.
    fn feed(&mut self, socket: SocketId) {
        /// What one read of a socket takes at most.
        const READ_BYTES_MAX: usize = 64 << 10;
        while let Some(link) = self.links.get_mut(&socket) {
            if link.client == Held::Dropped || !self.set.wants_read(socket) {
                return;
            }
            if link.inbox.is_empty() {
                match link.inbox_end.take() {
                    Some(End::Eof) => self.set.handle(self.now, Input::Eof { socket }),
                    Some(End::Reset) => {
                        self.transport_failed(socket, TransportErrorKind::Reset);
                    }
                    None => return,
                }
                self.drain();
                return;
            }
            let count = link.inbox.len().min(READ_BYTES_MAX);
            let original = link.inbox[..count].to_vec();
            let mut bytes = original.clone();
            let taken = self.set.handle_input(self.now, socket, &mut bytes);
            self.ledger.read(socket, &original[..taken]);
            if let Some(link) = self.links.get_mut(&socket) {
                link.inbox.drain(..taken);
            }
            self.drain();
            if taken == 0 && self.set.wants_read(socket) {
                self.ledger.complain(format!(
                    "{socket}: wants to read and takes none of {count} bytes"
                ));
                return;
            }
        }
    }

    /// Forgets a link that neither side has any more.
    fn forget(&mut self, socket: SocketId) {
        let is_over = self
            .links
            .get(&socket)
            .is_some_and(|link| link.client == Held::Dropped);
        if is_over {
            self.links.remove(&socket);
        }
    }
}
