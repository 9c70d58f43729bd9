//! Scripted servers on threads.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use socket2::{Domain, SockRef, Socket, Type};

use super::board::{Board, Stage};
use crate::scenario::ConnectionPlan;
use crate::script::{Act, Greeting, Script};
use crate::trace::Aspect;

/// The servers of one connection, one an endpoint.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) addresses: Vec<SocketAddr>,
    acceptors: Vec<JoinHandle<()>>,
}

/// What the servers of one connection share.
struct Shared {
    plan: ConnectionPlan,
    board: Arc<Board>,
    /// The dials that were accepted or refused, and the threads that serve them.
    dials: Mutex<(u32, Vec<JoinHandle<()>>)>,
}

impl Servers {
    pub(super) fn start(plan: &ConnectionPlan, board: &Arc<Board>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            plan: plan.clone(),
            board: Arc::clone(board),
            dials: Mutex::new((0, Vec::new())),
        });
        let mut servers = Self {
            addresses: Vec::new(),
            acceptors: Vec::new(),
        };
        for _ in 0..plan.endpoints {
            let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let address = socket.local_addr()?.as_socket();
            let address = address.ok_or_else(|| io::Error::other("not an IP socket"))?;
            if !shared.next_is_refused() {
                // Before the first dial can come.
                socket.listen(16)?;
            }
            let shared = Arc::clone(&shared);
            servers.addresses.push(address);
            servers.acceptors.push(std::thread::spawn(move || {
                if let Err(error) = shared.accept(address, socket) {
                    let problem = format!("the server of {}: {error}", shared.plan.name);
                    shared.board.tell(|seen| seen.problems.push(problem));
                }
            }));
        }
        Ok(servers)
    }

    /// Ends the servers, after the play is over.
    pub(super) fn join(self) {
        for address in &self.addresses {
            // Wakes an acceptor; one that does not listen is awake already.
            drop(TcpStream::connect(address));
        }
        for acceptor in self.acceptors {
            acceptor.join().expect("an acceptor reports its errors");
        }
    }
}

/// A socket that holds its port and does not listen: a dial to it is refused.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Shared {
    fn accept(self: &Arc<Self>, address: SocketAddr, mut socket: Socket) -> io::Result<()> {
        loop {
            while self.next_is_refused() {
                let dial = self.dials.lock().expect("nothing panics under it").0 + 1;
                let name = &self.plan.name;
                let has_ended = self
                    .board
                    .wait_or_over(|seen| seen.ended_dials.get(name).is_some_and(|at| *at >= dial));
                if !has_ended {
                    return self.end();
                }
                self.dials.lock().expect("nothing panics under it").0 = dial;
            }
            socket.listen(16)?;
            let dial = self.dials.lock().expect("nothing panics under it").0 + 1;
            let name = self.plan.name.clone();
            // Whoever ends the play wakes those that listen by then; the others see it here.
            let stage = self.board.tell(|seen| {
                seen.listening.insert(name, dial);
                seen.stage
            });
            if stage == Stage::Over {
                return self.end();
            }
            let listener = TcpListener::from(socket);
            loop {
                let (stream, _) = listener.accept()?;
                if self.board.look(|seen| seen.stage == Stage::Over) {
                    return self.end();
                }
                self.serve(stream);
                if self.next_is_refused() {
                    break;
                }
            }
            drop(listener);
            socket = bound(address)?;
        }
    }

    fn next_is_refused(&self) -> bool {
        let dial = self.dials.lock().expect("nothing panics under it").0 + 1;
        self.plan.dial(dial).greeting == Greeting::Refuse
    }

    fn serve(self: &Arc<Self>, stream: TcpStream) {
        let mut dials = self.dials.lock().expect("nothing panics under it");
        dials.0 += 1;
        let dial = dials.0;
        let shared = Arc::clone(self);
        dials.1.push(std::thread::spawn(move || {
            if let Err(error) = Session::new(&shared, dial, stream).and_then(Session::play) {
                let problem = format!("dial {}#{dial}: {error}", shared.plan.name);
                shared.board.tell(|seen| seen.problems.push(problem));
            }
        }));
    }

    fn end(&self) -> io::Result<()> {
        let sessions = std::mem::take(&mut self.dials.lock().expect("nothing panics under it").1);
        for session in sessions {
            session
                .join()
                .map_err(|_| io::Error::other("a session panicked"))?;
        }
        Ok(())
    }
}

/// What a session waits for.
enum Signal {
    Bytes(Vec<u8>),
    Gone,
    Story(String),
    Over,
}

/// One accepted dial.
struct Session<'a> {
    shared: &'a Shared,
    dial: u32,
    stream: Arc<TcpStream>,
    script: Script,
    signals: Receiver<Signal>,
    pause: Arc<Pause>,
    sleeps_until: Option<Instant>,
    helpers: Vec<JoinHandle<()>>,
}

/// Holds the reader back.
#[derive(Default)]
struct Pause {
    is_on: Mutex<bool>,
    bell: Condvar,
}

impl Pause {
    fn set(&self, is_on: PauseState) {
        *self.is_on.lock().expect("nothing panics under it") = is_on == PauseState::On;
        self.bell.notify_all();
    }

    fn passed(&self) {
        let is_on = self.is_on.lock().expect("nothing panics under it");
        drop(self.bell.wait_while(is_on, |is_on| *is_on));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PauseState {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, dial: u32, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        let (sender, signals) = channel();
        let pause = Arc::new(Pause::default());
        let known = shared.board.look(|seen| seen.signals.clone());
        let mut session = Self {
            shared,
            dial,
            stream: Arc::clone(&stream),
            script: Script::new(&shared.plan.dial(dial).steps, known.clone()),
            signals,
            pause: Arc::clone(&pause),
            sleeps_until: None,
            helpers: Vec::new(),
        };
        let board = Arc::clone(&shared.board);
        let story = sender.clone();
        session.helpers.push(std::thread::spawn(move || {
            hear_story(&board, known, &story);
        }));
        session
            .helpers
            .push(std::thread::spawn(move || read(&stream, &pause, &sender)));
        Ok(session)
    }

    fn play(mut self) -> io::Result<()> {
        loop {
            if self.pump()? == Next::End {
                break;
            }
            let signal = match self.sleeps_until {
                None => self
                    .signals
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    self.signals.recv_timeout(left)
                }
            };
            match signal {
                Ok(Signal::Bytes(bytes)) => self.script.receive(&bytes),
                Ok(Signal::Gone) => {
                    self.script.client_gone();
                    self.pump()?;
                    break;
                }
                Ok(Signal::Story(name)) => self.script.signal(&name),
                Ok(Signal::Over) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.sleeps_until = None;
                    self.script.woke();
                }
            }
        }
        self.note();
        self.end_reader();
        Ok(())
    }

    /// Does what the script wants.
    fn pump(&mut self) -> io::Result<Next> {
        loop {
            self.note();
            if self.sleeps_until.is_some() {
                return Ok(Next::GoOn);
            }
            let Some(act) = self.script.poll() else {
                return Ok(Next::GoOn);
            };
            match act {
                // A client that has gone meanwhile is what many scenarios are about.
                Act::Write(bytes) => drop((&*self.stream).write_all(&bytes)),
                Act::ShutdownWrite => drop(self.stream.shutdown(Shutdown::Write)),
                Act::Reset => {
                    SockRef::from(&*self.stream).set_linger(Some(std::time::Duration::ZERO))?;
                    self.note();
                    return Ok(Next::End);
                }
                Act::StopReading => self.pause.set(PauseState::On),
                Act::StartReading => self.pause.set(PauseState::Off),
                Act::Sleep(time) => self.sleeps_until = Some(Instant::now() + time),
            }
        }
    }

    fn note(&mut self) {
        let notes = self.script.take_notes();
        let problem = self.script.problem().map(str::to_owned);
        let is_done = self.script.is_done();
        let (name, dial) = (&self.shared.plan.name, self.dial);
        self.shared.board.tell(|seen| {
            for note in notes {
                seen.trace.push(name, Aspect::Server(dial), note);
            }
            if is_done {
                seen.served.insert((name.clone(), dial));
            }
            if let Some(problem) = problem {
                seen.problems.push(format!("{name}#{dial}: {problem}"));
            }
        });
    }

    /// Ends the reader without a word to the client; what the client sees is the socket's close, or its reset.
    fn end_reader(&mut self) {
        self.pause.set(PauseState::Off);
        drop(self.stream.shutdown(Shutdown::Read));
        // The other helper ends with the play.
        if let Some(reader) = self.helpers.pop() {
            drop(reader.join());
        }
    }
}

fn read(stream: &TcpStream, pause: &Pause, sender: &Sender<Signal>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        pause.passed();
        let signal = match (&*stream).read(&mut buffer) {
            Ok(0) | Err(_) => Signal::Gone,
            Ok(count) => Signal::Bytes(buffer[..count].to_vec()),
        };
        let is_last = matches!(signal, Signal::Gone);
        if sender.send(signal).is_err() || is_last {
            return;
        }
    }
}

/// Passes on the story's signals until the play is over.
fn hear_story(board: &Board, mut told: BTreeSet<String>, sender: &Sender<Signal>) {
    loop {
        let is_new = board.wait_or_over(|seen| !seen.signals.is_subset(&told));
        if !is_new {
            drop(sender.send(Signal::Over));
            return;
        }
        for name in board.look(|seen| seen.signals.clone()) {
            if told.insert(name.clone()) && sender.send(Signal::Story(name)).is_err() {
                return;
            }
        }
    }
}
