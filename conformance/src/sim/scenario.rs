//! A scenario in the simulator.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::{ConnectionId, Instant, SendErrorCause, Shutdown, Target, TargetError};

use super::{LinkProfile, Opening, Servers, Sim, Step};
use crate::scenario::{Action, ConnectionPlan, Consuming, Need, Scenario};
use crate::script::DialPlan;
use crate::trace::{Aspect, Trace};

/// A scenario that could not be played to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{scenario}{}: {problem}\nuntil then:\n{trace}", Line(*line))]
pub struct RunError {
    /// Its name.
    pub scenario: String,
    /// The line of the story, if it is one that failed.
    pub line: usize,
    /// What did not happen.
    pub problem: String,
    /// What happened until then.
    pub trace: Trace,
}

struct Line(usize);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

/// No step of a story takes longer than this, in simulated time.
const STEP_TIME_MAX: Duration = Duration::from_secs(3 * 3_600);

/// The deadline of the shutdown that ends every story.
pub(crate) const LAST_SHUTDOWN: Duration = Duration::from_secs(2);

/// Plays a scenario and returns its trace.
///
/// # Errors
/// [`RunError`] if a step of the story, or of a server's script, waits for what never comes.
///
/// # Panics
/// If the core breaks a rule that the ledger knows.
pub fn run(scenario: &Scenario, seed: u64, profile: LinkProfile) -> Result<Trace, RunError> {
    let servers = Scripted {
        scenario: scenario.clone(),
        profile,
    };
    let label = format!("{} (seed {seed}, {profile:?})", scenario.name);
    let mut player = Player {
        scenario,
        sim: Sim::new(label, seed, servers),
        ids: BTreeMap::new(),
        cursors: BTreeMap::new(),
    };
    for plan in &scenario.connections {
        let opening = opening(scenario, plan).map_err(|error| RunError {
            scenario: scenario.name.clone(),
            line: 0,
            problem: error.to_string(),
            trace: Trace::default(),
        })?;
        let id = player.sim.open(opening);
        player.ids.insert(plan.name.clone(), id);
    }
    match player.play() {
        Ok(()) => Ok(player.sim.finish()),
        Err((line, problem)) => Err(RunError {
            scenario: scenario.name.clone(),
            line,
            problem,
            trace: player.sim.finish(),
        }),
    }
}

#[derive(Debug)]
struct Scripted {
    scenario: Scenario,
    profile: LinkProfile,
}

impl Servers for Scripted {
    fn plan(&mut self, connection: &str, dial: u32, _: Instant) -> (DialPlan, LinkProfile) {
        let plan = self.scenario.connection(connection);
        (
            plan.map(|plan| plan.dial(dial)).unwrap_or_default(),
            self.profile,
        )
    }
}

fn opening(scenario: &Scenario, plan: &ConnectionPlan) -> Result<Opening, TargetError> {
    let owner = plan.shares.as_ref().unwrap_or(&plan.name);
    let index = scenario
        .connections
        .iter()
        .position(|other| other.name == *owner);
    let index = u32::try_from(index.unwrap_or(0)).unwrap_or(0);
    let address = |endpoint: usize| {
        let endpoint = u32::try_from(endpoint).unwrap_or(0);
        SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + index * 16 + endpoint), 9000))
    };
    let url = |endpoint: usize| match &plan.host {
        Some(host) => format!("ws://{host}:{}/{}", 9000 + endpoint, plan.name),
        None => format!("ws://{}/{}", address(endpoint), plan.name),
    };
    let urls: Vec<String> = (0..plan.endpoints).map(url).collect();
    Ok(Opening {
        name: plan.name.clone(),
        target: target(plan, &urls)?,
        urls,
        address: address(0),
        config: Arc::new(plan.config().expect("checked when the scenario was read")),
        consumer: plan.consumer,
        consuming: plan.consuming,
        busy: Duration::ZERO,
    })
}

/// The target of a connection whose endpoints have these URLs.
pub(crate) fn target(plan: &ConnectionPlan, urls: &[String]) -> Result<Target, TargetError> {
    let mut target = Target::parse(&urls[0])?;
    for url in &urls[1..] {
        target = target.or(url)?;
    }
    for (name, value) in &plan.headers {
        target = target.header(name, value)?;
    }
    for name in &plan.subprotocols {
        target = target.subprotocol(name)?;
    }
    if plan.subprotocol_need == Need::Required {
        target = target.require_subprotocol();
    }
    Ok(target)
}

struct Player<'a> {
    scenario: &'a Scenario,
    sim: Sim,
    ids: BTreeMap<String, ConnectionId>,
    /// How much of each connection's strand of states was looked at.
    cursors: BTreeMap<String, usize>,
}

impl Player<'_> {
    fn play(&mut self) -> Result<(), (usize, String)> {
        let mut is_shut_down = false;
        for step in &self.scenario.story {
            is_shut_down = matches!(step.action, Action::Shutdown(_));
            self.act(&step.action)
                .map_err(|problem| (step.line, problem))?;
        }
        if !is_shut_down {
            self.shut_down(LAST_SHUTDOWN)
                .map_err(|problem| (0, problem))?;
        }
        // The servers see the end a little later.
        self.sim.run_for(Duration::from_secs(5));
        match self.sim.problems() {
            [] => Ok(()),
            problems => Err((0, problems.join("; "))),
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Send(name, message) => {
                let id = self.ids[name];
                loop {
                    self.sim.client(id).has_room = false;
                    match self.sim.send(id, message.clone()) {
                        Ok(_) => break,
                        Err(error) if error.cause == SendErrorCause::Full => {
                            self.until("room in the queue", |sim| sim.clients[&id].has_room)?;
                        }
                        Err(error) => return Err(format!("cannot send: {error}")),
                    }
                }
            }
            Action::SendRefused(name, message) => {
                if self.sim.send(self.ids[name], message.clone()).is_ok() {
                    return Err("the message was accepted".into());
                }
            }
            Action::Pause(name) => self.sim.pause(self.ids[name]),
            Action::Resume(name) => self.sim.resume(self.ids[name]),
            Action::RetryNow(name) => self.sim.retry_now(self.ids[name]),
            Action::Consume(name) => self.sim.consume(self.ids[name], Consuming::Yes),
            Action::Hold(name) => self.sim.consume(self.ids[name], Consuming::Held),
            Action::Close(name, patience) => {
                let id = self.ids[name];
                let deadline = self.sim.now() + *patience;
                self.sim.remove(id, Shutdown::Graceful { deadline });
                self.until("the end", |sim| sim.report(id).is_some())?;
            }
            Action::Shutdown(patience) => self.shut_down(*patience)?,
            Action::Signal(name) => self.sim.signal(name),
            Action::Sleep(time) => self.sim.run_for(*time),
            Action::UntilState(name, token) => self.until_state(name, token)?,
            Action::UntilReceived(name, count) => {
                let id = self.ids[name];
                self.until("messages", |sim| sim.clients[&id].received >= *count)?;
            }
            Action::UntilOutcomes(name, count) => {
                let id = self.ids[name];
                self.until("outcomes", |sim| sim.clients[&id].outcomes() >= *count)?;
            }
            Action::UntilLetters(name, count) => {
                let id = self.ids[name];
                self.until("letters", |sim| sim.clients[&id].letters >= *count)?;
            }
            Action::UntilListening(..) => {}
            Action::UntilServed(name, dial) => {
                let id = self.ids[name];
                self.until("the script's end", |sim| sim.is_served(id, *dial))?;
            }
        }
        Ok(())
    }

    fn until_state(&mut self, name: &str, token: &str) -> Result<(), String> {
        let from = self.cursors.get(name).copied().unwrap_or(0);
        let found = |sim: &Sim| {
            sim.trace()
                .strand(name, Aspect::States)
                .iter()
                .skip(from)
                .position(|traced| matches_token(traced, token))
        };
        self.until(token, |sim| found(sim).is_some())?;
        let at = found(&self.sim).ok_or("it was just there")?;
        self.cursors.insert(name.into(), from + at + 1);
        Ok(())
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Sim) -> bool) -> Result<(), String> {
        let deadline = self.sim.now() + STEP_TIME_MAX;
        self.sim.wake_at(deadline);
        while !is_so(&self.sim) {
            let is_over = self.sim.now() >= deadline || self.sim.step() == Step::Quiet;
            if is_over && !is_so(&self.sim) {
                let problems = self.sim.problems().join("; ");
                return Err(format!("waits for {what} and it never comes; {problems}"));
            }
        }
        Ok(())
    }

    /// As a fleet does: all together, and then their reports.
    fn shut_down(&mut self, patience: Duration) -> Result<(), String> {
        let deadline = self.sim.now() + patience;
        let ids: Vec<ConnectionId> = self.ids.values().copied().collect();
        self.sim.shut_down(deadline);
        self.until("the shutdown", |sim| {
            ids.iter().all(|id| sim.report(*id).is_some())
        })?;
        if self.sim.now() > deadline + Duration::from_millis(1) {
            return Err(format!(
                "the shutdown ended at {}, after {deadline}",
                self.sim.now()
            ));
        }
        Ok(())
    }
}

/// Whether a traced token is what a story waits for: the word itself, or the word and its details.
pub(crate) fn matches_token(traced: &str, wanted: &str) -> bool {
    traced == wanted
        || traced
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.starts_with('('))
}

impl Sim {
    fn is_served(&self, id: ConnectionId, dial: u32) -> bool {
        self.served.contains(&(id, dial))
    }
}
