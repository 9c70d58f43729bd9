//! A port: its listener, the sockets that it has accepted, and its outages.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::fault::{DialFault, Fault, PortFault};
use super::gate::{Phase, lock};
use super::session;
use super::shared::Shared;

/// How long a port is gone for a restart.
const RESTART: Duration = Duration::from_millis(200);
/// How long a port is gone for a refusal: more than a client's first backoff.
const REFUSAL: Duration = Duration::from_millis(350);
/// Dials do not wait to be accepted, however many come at once.
const BACKLOG: i32 = 1024;
/// Enough for the handshake's header table.
const SESSION_STACK_BYTES: usize = 256 * 1024;
/// How long a write waits for a client that does not read, before the session looks around.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);
/// Bounds the waits for another thread of the server. They end much sooner.
const PATIENCE: Duration = Duration::from_secs(1);
/// More pending faults than this would keep clients out for long.
const PENDING_MAX: usize = 4;

/// One port of the server.
pub(super) struct Port {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    outage: Option<Outage>,
    pending: VecDeque<DialFault>,
    sockets: BTreeMap<u64, Arc<TcpStream>>,
    admitted: u64,
    admission: Admission,
}

#[derive(Clone, Copy)]
struct Outage {
    fault: PortFault,
    stage: OutageStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutageStage {
    /// The dial that wakes the acceptor is on its way.
    Waking,
    /// The acceptor may go on.
    Woken,
    /// Nobody listens.
    Closed,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Admission {
    #[default]
    Open,
    Closed,
}

/// A socket that the port knows of for as long as this lives.
pub(super) struct Guest {
    pub(super) port: Arc<Port>,
    pub(super) stream: Arc<TcpStream>,
    id: u64,
}

impl Port {
    /// Takes a port of the loopback interface and starts to accept on it.
    pub(super) fn open() -> io::Result<(Arc<Self>, TcpListener)> {
        let held = hold(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let listener = listen(held)?;
        let port = Self {
            address: listener.local_addr()?,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Ok((Arc::new(port), listener))
    }

    /// Starts the thread that accepts. It returns once the server stops, after its sessions.
    pub(super) fn spawn(
        self: &Arc<Self>,
        listener: TcpListener,
        shared: &Arc<Shared>,
    ) -> io::Result<JoinHandle<()>> {
        let (port, shared) = (Arc::clone(self), Arc::clone(shared));
        thread::Builder::new()
            .name(format!("demo-port-{}", self.address.port()))
            .spawn(move || accept_all(&port, listener, &shared))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `faults` meet the next dials, in order.
    pub(super) fn meet_dials_with(&self, faults: Vec<DialFault>) {
        let mut state = lock(&self.state);
        state.pending.extend(faults);
        state.pending.truncate(PENDING_MAX);
    }

    /// Takes the port away for a while; returns once nobody listens, or an error if it is away already.
    pub(super) fn take_away(&self, fault: PortFault) -> Result<(), AlreadyAway> {
        {
            let mut state = lock(&self.state);
            if state.outage.is_some() || state.admission == Admission::Closed {
                return Err(AlreadyAway);
            }
            state.outage = Some(Outage {
                fault,
                stage: OutageStage::Waking,
            });
        }
        self.wake();
        let mut state = lock(&self.state);
        if let Some(outage) = &mut state.outage {
            outage.stage = OutageStage::Woken;
        }
        self.changed.notify_all();
        drop(
            self.changed
                .wait_timeout_while(state, PATIENCE, |state| {
                    state
                        .outage
                        .is_some_and(|outage| outage.stage != OutageStage::Closed)
                })
                .unwrap_or_else(PoisonError::into_inner),
        );
        Ok(())
    }

    /// Ends every socket and admits no more. The server's phase must say so too by then.
    pub(super) fn close_for_good(&self) {
        lock(&self.state).admission = Admission::Closed;
        self.evict_all();
        self.wake();
    }

    /// Makes a blocked `accept` return. That nobody listens is as good: then nobody is blocked.
    fn wake(&self) {
        drop(TcpStream::connect_timeout(&self.address, PATIENCE));
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) -> Option<Guest> {
        let stream = Arc::new(stream);
        let mut state = lock(&self.state);
        if state.admission == Admission::Closed {
            return None;
        }
        state.admitted += 1;
        let id = state.admitted;
        state.sockets.insert(id, Arc::clone(&stream));
        Some(Guest {
            port: Arc::clone(self),
            stream,
            id,
        })
    }

    fn evict_all(&self) {
        for (_, stream) in std::mem::take(&mut lock(&self.state).sockets) {
            // Fails if the client was quicker; then the socket has ended anyway.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn next_dial_fault(&self) -> Option<DialFault> {
        lock(&self.state).pending.pop_front()
    }

    /// The outage that was asked for, once its wake-up dial is over.
    ///
    /// That dial must not still be on its way when the port listens again: it would pass for a client.
    fn outage_due(&self) -> Option<PortFault> {
        let state = self
            .changed
            .wait_timeout_while(lock(&self.state), PATIENCE * 2, |state| {
                state
                    .outage
                    .is_some_and(|outage| outage.stage == OutageStage::Waking)
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.outage.map(|outage| outage.fault)
    }

    fn mark_closed(&self) {
        if let Some(outage) = &mut lock(&self.state).outage {
            outage.stage = OutageStage::Closed;
        }
        self.changed.notify_all();
    }

    fn mark_open(&self) {
        lock(&self.state).outage = None;
        self.changed.notify_all();
    }
}

/// The port is away already.
#[derive(Debug)]
pub(super) struct AlreadyAway;

impl Guest {
    /// Whether the port, not the client or the session, has ended the socket.
    pub(super) fn is_evicted(&self) -> bool {
        !lock(&self.port.state).sockets.contains_key(&self.id)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.port.state).sockets.remove(&self.id);
    }
}

fn accept_all(port: &Arc<Port>, listener: TcpListener, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    while let Some(open) = &listener {
        let accepted = open.accept();
        if shared.gate.phase() == Phase::Stopping {
            break;
        }
        if let Some(fault) = port.outage_due() {
            drop(accepted);
            drop(listener.take());
            listener = be_away(port, fault, shared);
            continue;
        }
        join_finished(&mut sessions);
        match accepted {
            Ok((stream, _)) => sessions.extend(start_session(port, stream, shared)),
            // The process is out of descriptors, or the client has gone: neither is worth a spin.
            Err(_) => _ = shared.gate.wait_for(Phase::Stopping, WRITE_PATIENCE),
        }
    }
    drop(listener);
    // Nobody must wait for an outage that will not come.
    port.mark_open();
    for session in sessions {
        join(session);
    }
}

fn start_session(
    port: &Arc<Port>,
    stream: TcpStream,
    shared: &Arc<Shared>,
) -> Option<JoinHandle<()>> {
    stream.set_nodelay(true).ok()?;
    stream.set_write_timeout(Some(WRITE_PATIENCE)).ok()?;
    let guest = port.admit(stream)?;
    shared.count_socket();
    let fault = match shared.gate.phase() {
        Phase::Hostile => port.next_dial_fault(),
        Phase::Healed | Phase::Stopping => None,
    };
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("demo-session".to_owned())
        .stack_size(SESSION_STACK_BYTES)
        .spawn(move || session::run(guest, fault, &shared))
        .ok()
}

/// Waits until the port is to listen again. None once the server stops.
fn be_away(port: &Port, fault: PortFault, shared: &Shared) -> Option<TcpListener> {
    // Bound and not listening: dials are refused, and nobody else gets the port.
    let held = hold(port.address);
    let away = match fault {
        PortFault::Refused => REFUSAL,
        PortFault::Restart => {
            port.evict_all();
            RESTART
        }
    };
    shared.faults.count(Fault::Port(fault));
    port.mark_closed();
    shared.gate.wait_for(Phase::Healed, away);

    let mut opened = held.and_then(listen);
    while opened.is_err() && shared.gate.phase() < Phase::Stopping {
        shared.gate.wait_for(Phase::Stopping, WRITE_PATIENCE);
        opened = hold(port.address).and_then(listen);
    }
    port.mark_open();
    // Looked at only now: the dial that wakes for a later stop finds the listener.
    opened
        .ok()
        .filter(|_| shared.gate.phase() < Phase::Stopping)
}

fn hold(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // The sockets of the listener before are still there.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn join_finished(sessions: &mut Vec<JoinHandle<()>>) {
    for session in sessions.extract_if(.., |session| session.is_finished()) {
        join(session);
    }
}

fn join(session: JoinHandle<()>) {
    // A panic of one session was reported on standard error and concerns no other.
    let _ = session.join();
}
