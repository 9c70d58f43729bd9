//! The application's part of a scenario, on any runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;

use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, Event, EventKind, Events, Fleet, Letters, Message, Runtime,
    Sender,
};

use super::board::{Board, Seen, Stage};
use super::gate::Gate;
use super::server::Servers;
use crate::scenario::{Action, ConnectionPlan, Consuming, Scenario};
use crate::sim::{LAST_SHUTDOWN, RunError, judge, matches_token, target};
use crate::trace::{Aspect, Trace, outcome_token};

/// Plays a scenario over loopback sockets and returns its trace. Call it where tasks can be spawned, on a thread that
/// may block.
///
/// # Errors
/// [`RunError`] if a step of the story, or of a server's script, waits for what never comes.
///
/// # Panics
/// If the fleet does.
pub fn run<R: Runtime>(scenario: &Scenario) -> Result<Trace, RunError> {
    let board = Arc::new(Board::default());
    let played = play::<R>(scenario, &board);
    board.tell(|seen| seen.stage = Stage::Over);
    let (servers, result) = match played {
        Ok(played) => played,
        Err(error) => (Vec::new(), Err((0, error.to_string()))),
    };
    for server in servers {
        server.join();
    }
    let trace = board.look(|seen| finished(&seen.trace, seen));
    let problems = board.look(|seen| seen.problems.join("; "));
    let result = match result {
        Ok(()) if !problems.is_empty() => Err((0, problems)),
        result => result,
    };
    match result {
        Ok(()) => Ok(trace),
        Err((line, problem)) => Err(RunError {
            scenario: scenario.name.clone(),
            line,
            problem,
            trace,
        }),
    }
}

/// How a story ended: its line and what is wrong.
type Played = Result<(), (usize, String)>;

fn play<R: Runtime>(scenario: &Scenario, board: &Arc<Board>) -> io::Result<(Vec<Servers>, Played)> {
    let mut servers = Vec::new();
    for plan in &scenario.connections {
        servers.push(Servers::start(plan, board)?);
    }
    let result =
        Player::<R>::new(scenario, board, &servers).and_then(|player| player.play(scenario));
    Ok((servers, result))
}

/// The trace with what is known only at the end.
fn finished(trace: &Trace, seen: &Seen) -> Trace {
    let mut trace = trace.clone();
    for (name, outcomes) in &seen.outcomes {
        for (number, outcome) in (1..).zip(outcomes) {
            let token = match outcome {
                Some(outcome) => outcome_token(number, outcome),
                None => format!("{number}=unknown"),
            };
            trace.push(name, Aspect::Outcomes, token);
        }
    }
    trace
}

struct Player<R: Runtime> {
    board: Arc<Board>,
    fleet: Option<Fleet<R>>,
    connections: BTreeMap<String, Opened>,
    /// How much of each connection's strand of states was looked at.
    cursors: BTreeMap<String, usize>,
}

/// A connection of the fleet.
struct Opened {
    handle: Arc<ConnectionHandle>,
    sender: Sender,
    gate: Arc<Gate>,
    /// Messages that the story wanted sent.
    sends: usize,
}

impl<R: Runtime> Player<R> {
    fn new(
        scenario: &Scenario,
        board: &Arc<Board>,
        servers: &[Servers],
    ) -> Result<Self, (usize, String)> {
        let fleet = Fleet::<R>::new();
        let mut urls = BTreeMap::new();
        let mut connects = Vec::new();
        for (plan, servers) in scenario.connections.iter().zip(servers) {
            let url = |address| format!("ws://{address}/{}", plan.name);
            let plan_urls: Vec<String> = servers.addresses.iter().map(url).collect();
            let target = target(plan, &plan_urls).map_err(|error| (0, error.to_string()))?;
            urls.insert(plan.name.clone(), plan_urls);
            connects.push((plan, Connect::to_target(target)));
        }
        let mut player = Self {
            board: Arc::clone(board),
            fleet: None,
            connections: BTreeMap::new(),
            cursors: BTreeMap::new(),
        };
        // Before the first connection, so that no event is missed.
        player.spawn(follow_events(Arc::clone(board), fleet.events(), urls));
        player.spawn(follow_letters(Arc::clone(board), fleet.letters()));
        for (plan, connect) in connects {
            let opened = player.open(&fleet, plan, connect);
            player.connections.insert(plan.name.clone(), opened);
        }
        player.fleet = Some(fleet);
        Ok(player)
    }

    fn open(&self, fleet: &Fleet<R>, plan: &ConnectionPlan, connect: Connect) -> Opened {
        let gate = Arc::new(Gate::new(plan.consuming));
        let connect = connect
            .named(plan.name.as_str())
            .settings(plan.settings.clone())
            .hooks(plan.hooks());
        let (board, name) = (Arc::clone(&self.board), plan.name.clone());
        let handle = match plan.consumer {
            ropewalk_core::Consumer::Pull => {
                let handle = Arc::new(fleet.open(connect));
                let (puller, gate) = (Arc::clone(&handle), Arc::clone(&gate));
                self.spawn(async move {
                    loop {
                        gate.passed().await;
                        let Some(batch) = puller.next_batch().await else {
                            break;
                        };
                        received(&board, &name, &batch);
                    }
                });
                handle
            }
            ropewalk_core::Consumer::Process => {
                let gate = Arc::clone(&gate);
                Arc::new(fleet.open(connect.process(move |batch: Batch| {
                    let (board, name) = (Arc::clone(&board), name.clone());
                    let gate = Arc::clone(&gate);
                    async move {
                        gate.passed().await;
                        if batch.attempt() == 1 {
                            received(&board, &name, &batch);
                        }
                        judge(batch)
                    }
                })))
            }
        };
        Opened {
            sender: handle.sender(),
            handle,
            gate,
            sends: 0,
        }
    }

    fn play(mut self, scenario: &Scenario) -> Played {
        for step in &scenario.story {
            self.act(&step.action)
                .map_err(|problem| (step.line, problem))?;
        }
        self.shut_down(LAST_SHUTDOWN)
            .map_err(|problem| (0, problem))?;
        self.connections.clear();
        self.board
            .wait("all tasks to end", |seen| seen.tasks == 0)
            .map_err(|problem| (0, problem))
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Send(name, message) => self.send(name, message.clone())?,
            Action::SendRefused(name, message) => {
                let refused = self.board.look(|seen| seen.refused);
                self.start_send(name, message.clone())?;
                self.board
                    .wait("a refusal", |seen| seen.refused > refused)?;
            }
            Action::Pause(name) => self.opened(name)?.handle.pause(),
            Action::Resume(name) => self.opened(name)?.handle.resume(),
            Action::RetryNow(name) => self.opened(name)?.handle.retry_now(),
            Action::Consume(name) => self.opened(name)?.gate.set(Consuming::Yes),
            Action::Hold(name) => self.opened(name)?.gate.set(Consuming::Held),
            Action::Close(name, patience) => {
                let handle = Arc::clone(&self.opened(name)?.handle);
                let (board, patience) = (Arc::clone(&self.board), *patience);
                let closed = name.clone();
                self.spawn(async move {
                    drop(handle.close(patience).await);
                    board.tell(|seen| seen.closed.insert(closed));
                });
                self.board
                    .wait("the end", |seen| seen.closed.contains(name))?;
            }
            Action::Shutdown(patience) => self.shut_down(*patience)?,
            Action::Signal(name) => {
                self.board.tell(|seen| seen.signals.insert(name.clone()));
            }
            Action::Sleep(time) => std::thread::sleep(*time),
            Action::UntilState(name, token) => self.until_state(name, token)?,
            Action::UntilReceived(name, count) => self.board.wait("messages", |seen| {
                seen.received.get(name).is_some_and(|known| known >= count)
            })?,
            Action::UntilOutcomes(name, count) => self.board.wait("outcomes", |seen| {
                let known = seen.outcomes.get(name);
                known.is_some_and(|known| known.iter().flatten().count() >= *count)
            })?,
            Action::UntilLetters(name, count) => self.board.wait("letters", |seen| {
                seen.letters.get(name).is_some_and(|known| known >= count)
            })?,
            Action::UntilListening(name, dial) => self.board.wait("the server", |seen| {
                seen.listening.get(name).is_some_and(|known| known >= dial)
            })?,
            Action::UntilServed(name, dial) => {
                let dial = (name.clone(), *dial);
                self.board
                    .wait("the script's end", |seen| seen.served.contains(&dial))?;
            }
        }
        Ok(())
    }

    /// Sends a message and waits until it was accepted.
    fn send(&mut self, name: &str, message: Message) -> Result<(), String> {
        self.start_send(name, message)?;
        let opened = self.connections.get_mut(name).ok_or("no such connection")?;
        opened.sends += 1;
        let sends = opened.sends;
        self.board.wait("the message to be accepted", |seen| {
            seen.outcomes
                .get(name)
                .is_some_and(|sent| sent.len() >= sends)
        })
    }

    fn start_send(&self, name: &str, message: Message) -> Result<(), String> {
        let sender = self.opened(name)?.sender.clone();
        let (board, name) = (Arc::clone(&self.board), name.to_owned());
        self.spawn(async move {
            let Ok(receipt) = sender.send(message).await else {
                board.tell(|seen| seen.refused += 1);
                return;
            };
            let index = board.tell(|seen| {
                let sent = seen.outcomes.entry(name.clone()).or_default();
                sent.push(None);
                sent.len() - 1
            });
            let outcome = receipt.outcome().await;
            board.tell(|seen| {
                if let Some(sent) = seen.outcomes.get_mut(&name) {
                    sent[index] = Some(outcome);
                }
            });
        });
        Ok(())
    }

    fn until_state(&mut self, name: &str, token: &str) -> Result<(), String> {
        let from = self.cursors.get(name).copied().unwrap_or(0);
        let found = |seen: &Seen| {
            seen.trace
                .strand(name, Aspect::States)
                .iter()
                .skip(from)
                .position(|traced| matches_token(traced, token))
        };
        self.board.wait(token, |seen| found(seen).is_some())?;
        let at = self.board.look(found).ok_or("it was just there")?;
        self.cursors.insert(name.into(), from + at + 1);
        Ok(())
    }

    /// Shuts the fleet down, once.
    fn shut_down(&mut self, patience: std::time::Duration) -> Result<(), String> {
        let Some(mut fleet) = self.fleet.take() else {
            return Ok(());
        };
        let board = Arc::clone(&self.board);
        self.spawn(async move {
            let report = fleet.shutdown(patience).await;
            board.tell(|seen| {
                for named in &report.connections {
                    seen.trace.push_report(&named.name, &named.report);
                }
                seen.stage = Stage::ShutDown;
            });
        });
        self.board
            .wait("the shutdown", |seen| seen.stage == Stage::ShutDown)
    }

    fn opened(&self, name: &str) -> Result<&Opened, String> {
        self.connections
            .get(name)
            .ok_or_else(|| format!("there is no connection {name}"))
    }

    /// Starts a task that the end of the play waits for.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let board = Arc::clone(&self.board);
        board.tell(|seen| seen.tasks += 1);
        R::spawn(async move {
            task.await;
            board.tell(|seen| seen.tasks -= 1);
        });
    }
}

fn received(board: &Board, name: &str, batch: &Batch) {
    board.tell(|seen| {
        seen.trace.push_batch(name, batch);
        *seen.received.entry(name.to_owned()).or_default() += batch.len();
    });
}

async fn follow_events(board: Arc<Board>, mut events: Events, urls: BTreeMap<String, Vec<String>>) {
    while let Some(fleet_event) = events.next().await {
        let name = fleet_event.name.to_string();
        board.tell(|seen| {
            if fleet_event.missed > 0 {
                seen.problems
                    .push(format!("{} events missed", fleet_event.missed));
            }
            let urls = urls.get(&name).map_or(&[][..], Vec::as_slice);
            seen.trace.push_event(&name, &fleet_event.event, urls);
            if let Some(dial) = ended_dial(&fleet_event.event) {
                seen.ended_dials.insert(name, dial);
            }
        });
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "events are non-exhaustive; one says that a dial ended"
)]
fn ended_dial(event: &Event) -> Option<u32> {
    match event.kind {
        EventKind::Closed { .. } => Some(event.generation),
        _ => None,
    }
}

async fn follow_letters(board: Arc<Board>, mut letters: Letters) {
    while let Some(letter) = letters.next().await {
        let name = letter.name.to_string();
        board.tell(|seen| {
            seen.trace.push_letter(&name, &letter.letter);
            *seen.letters.entry(name).or_default() += 1;
        });
    }
}
