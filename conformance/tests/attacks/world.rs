//! The core alone, in virtual time: a neighbour whose server echoes, victims whose server is the test, and what all
//! of it allocates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAllocTrait};
use ropewalk_conformance::wire::{FrameReader, Side, Unit, server_frame, switching_protocols};
use ropewalk_core::admission::{Admission, AdmissionLimits, Ticket};
use ropewalk_core::{
    AdmissionRequest, Batch, CloseReason, Config, ConnectionId, ConnectionSet, Consumer, Event,
    EventKind, Hooks, Input, Instant, Message, Output, Report, Seed, Settings, SocketId, State,
    Target,
};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// What a connection may cost beyond what its settings allow it to hold.
pub(crate) const ALLOWANCE: usize = 64 * KIB;

/// How often the neighbour says something.
const TICK: Duration = Duration::from_millis(10);

/// All tests count the same process's memory, so they take turns, what they prepare included.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is attacked, and for how long.
#[derive(Default)]
pub(crate) struct Attack {
    pub(crate) settings: Settings,
    /// Further lines of the response that opens the WebSocket; without a response the test gives its own.
    pub(crate) response: Option<&'static str>,
    pub(crate) ticks: u32,
}

/// What an attack did.
pub(crate) struct Damage {
    /// The most memory that it made the process hold beyond what it held before.
    pub(crate) peak: usize,
    /// Bytes that the attacker sent and that were read.
    pub(crate) wire: usize,
    /// Why the victim's first session or attempt ended, if it did.
    pub(crate) end: Option<CloseReason>,
    /// What the victim's consumer got.
    pub(crate) delivered: usize,
}

impl Damage {
    /// The victim held no more than its settings allow, and no more than twice what it was sent.
    #[track_caller]
    pub(crate) fn check(&self, cap: usize) {
        let allowed = cap.min(2 * self.wire) + ALLOWANCE;
        let Self { peak, wire, .. } = self;
        assert!(
            *peak <= allowed,
            "{peak} bytes held of {wire} sent: {allowed} allowed"
        );
    }

    /// The same where few bytes may stand for many.
    #[track_caller]
    pub(crate) fn check_cap(&self, cap: usize) {
        let (allowed, peak) = (cap + ALLOWANCE, self.peak);
        assert!(peak <= allowed, "{peak} bytes held, {allowed} allowed");
    }
}

/// Lets the attacker strike at each tick, while a neighbour's messages are echoed; the neighbour's trace must be the
/// same without the attack.
#[track_caller]
pub(crate) fn suffer(
    attack: &Attack,
    mut strike: impl FnMut(&mut World, ConnectionId, u32),
) -> Damage {
    let mut quiet = World::new(AdmissionLimits::default());
    for _ in 0..attack.ticks {
        quiet.tick();
    }
    let mut world = World::new(AdmissionLimits::default());
    let victim = world.insert(&attack.settings);
    if let Some(headers) = attack.response {
        world.upgrade(victim, headers);
    }
    world.wires_of(victim).wire = 0;
    INSTRUMENTED_SYSTEM.reset_peak_memory();
    for tick in 0..attack.ticks {
        world.tick();
        strike(&mut world, victim, tick);
    }
    let peak = INSTRUMENTED_SYSTEM.get_peak_memory();
    world.set.check_invariants();
    assert!(
        quiet.trace == world.trace,
        "the attack left a mark on the neighbour:\n{}\nwithout it:\n{}",
        world.trace,
        quiet.trace
    );
    let wire = world.wires_of(victim);
    Damage {
        peak,
        wire: wire.wire,
        end: wire.end.take(),
        delivered: wire.delivered,
    }
}

/// Counts what the process allocates in a world of its own.
pub(crate) fn measured<T>(limits: AdmissionLimits, play: impl FnOnce(&mut World) -> T) -> T {
    play(&mut World::new(limits))
}

/// Forgets what was counted so far.
pub(crate) fn start_counting() {
    INSTRUMENTED_SYSTEM.reset_peak_memory();
}

/// The most that was held since then, beyond what was held at that time.
pub(crate) fn peak() -> usize {
    INSTRUMENTED_SYSTEM.get_peak_memory()
}

/// Whether bytes reached the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All of them were read.
    All,
    /// The socket is not read now; nothing, or only a part, was read from it.
    Stalled,
    /// There is no socket any more.
    Gone,
}

pub(crate) struct World {
    pub(crate) set: ConnectionSet,
    pub(crate) now: Instant,
    admission: Admission,
    next_timeout: Option<Instant>,
    wires: BTreeMap<ConnectionId, Wire>,
    neighbour: Option<ConnectionId>,
    /// Everything that happened to the neighbour, but for masks.
    trace: String,
    said: u32,
    dialled: u8,
}

/// One connection's socket, and what is known of it.
struct Wire {
    socket: Option<SocketId>,
    /// What the driver would keep: it was read and not taken.
    leftover: Vec<u8>,
    kernel: Kernel,
    is_consumed: bool,
    /// What the client wrote that the test has not taken; nothing of a victim's frames is kept.
    written: Vec<u8>,
    keeps_written: bool,
    frames: FrameReader,
    wire: usize,
    delivered: usize,
    end: Option<CloseReason>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Takes,
    Full,
}

impl World {
    fn new(limits: AdmissionLimits) -> Self {
        let mut world = Self {
            set: ConnectionSet::new(Seed::for_tests(1)),
            now: Instant::ORIGIN + Duration::from_secs(1),
            admission: Admission::new(limits),
            next_timeout: None,
            wires: BTreeMap::new(),
            neighbour: None,
            trace: String::with_capacity(MIB),
            said: 0,
            dialled: 0,
        };
        let neighbour = world.insert(&Settings::default());
        world.neighbour = Some(neighbour);
        world.upgrade(neighbour, "");
        // What the set and the test keep for everybody, they keep from the first large message on.
        let warm = Message::binary(vec![0; 200 * KIB]);
        world.send(neighbour, warm).expect("the queue is empty");
        world.trace.clear();
        world
    }

    /// A connection to an address of its own, connected and not upgraded.
    pub(crate) fn insert(&mut self, settings: &Settings) -> ConnectionId {
        self.dialled += 1;
        let url = format!("ws://10.0.0.{}:9000/", self.dialled);
        let target = Target::parse(&url).expect("an address makes a URL");
        self.insert_to(target, settings)
    }

    pub(crate) fn insert_to(&mut self, target: Target, settings: &Settings) -> ConnectionId {
        let config = Config::new(settings.clone(), Hooks::default());
        let config = Arc::new(config.expect("the settings are sound"));
        let id = self.set.insert(self.now, target, config, Consumer::Pull);
        let wire = Wire {
            socket: None,
            leftover: Vec::new(),
            kernel: Kernel::Takes,
            is_consumed: true,
            written: Vec::with_capacity(4 * KIB),
            keeps_written: true,
            frames: FrameReader::new(Side::Client),
            wire: 0,
            delivered: 0,
            end: None,
        };
        self.wires.insert(id, wire);
        self.handle(Input::Ask { connection: id });
        let socket = self.socket(id).expect("an address is dialled at once");
        self.handle(Input::Connected { socket });
        id
    }

    /// Answers the upgrade request, with these lines more.
    pub(crate) fn upgrade(&mut self, id: ConnectionId, headers: &str) {
        let request = self.take_written(id);
        let response = switching_protocols(&request, headers);
        assert_eq!(self.feed(id, &response), Fed::All);
        assert_eq!(self.set.state(id), Some(State::Open));
        self.wires_of(id).keeps_written = false;
    }

    pub(crate) fn take_written(&mut self, id: ConnectionId) -> Vec<u8> {
        std::mem::take(&mut self.wires_of(id).written)
    }

    /// What the kernel does with the bytes of a connection.
    pub(crate) fn set_kernel(&mut self, id: ConnectionId, kernel: Kernel) {
        self.wires_of(id).kernel = kernel;
    }

    /// The consumer asks for no more batches.
    pub(crate) fn stop_consuming(&mut self, id: ConnectionId) {
        self.wires_of(id).is_consumed = false;
    }

    /// The consumer takes whatever comes, from now on.
    pub(crate) fn go_on_consuming(&mut self, id: ConnectionId) {
        self.wires_of(id).is_consumed = true;
        self.handle(Input::Ask { connection: id });
    }

    /// How many bytes of its socket were read.
    pub(crate) fn read_bytes(&mut self, id: ConnectionId) -> usize {
        self.wires_of(id).wire
    }

    pub(crate) fn delivered(&mut self, id: ConnectionId) -> usize {
        self.wires_of(id).delivered
    }

    pub(crate) fn end(&mut self, id: ConnectionId) -> Option<CloseReason> {
        self.wires_of(id).end.clone()
    }

    pub(crate) fn send(
        &mut self,
        id: ConnectionId,
        message: Message,
    ) -> Result<(), ropewalk_core::SendError> {
        let sent = self.set.send(self.now, id, message, Report::Quiet);
        self.drain();
        sent.map(|_| ())
    }

    /// Brings bytes of the server's, as far as the socket is read.
    pub(crate) fn feed(&mut self, id: ConnectionId, bytes: &[u8]) -> Fed {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.read_leftover(id) {
                Fed::All => {}
                fed @ (Fed::Stalled | Fed::Gone) => return fed,
            }
            let socket = match self.socket(id) {
                None => return Fed::Gone,
                Some(socket) if !self.set.wants_read(socket) => return Fed::Stalled,
                Some(socket) => socket,
            };
            let buffer = self.set.read_buffer(socket);
            let (piece, later) = rest.split_at(buffer.len().min(rest.len()));
            rest = later;
            buffer[..piece.len()].copy_from_slice(piece);
            let leftover = self.set.handle_read(self.now, piece.len());
            let wire = self.wires.get_mut(&id).expect("it was just there");
            wire.wire += piece.len();
            wire.leftover.extend_from_slice(leftover);
            self.drain();
        }
        match self.read_leftover(id) {
            Fed::Gone => Fed::Gone,
            Fed::All | Fed::Stalled => Fed::All,
        }
    }

    /// Gives the core what it did not take before.
    fn read_leftover(&mut self, id: ConnectionId) -> Fed {
        loop {
            let Some(socket) = self.socket(id) else {
                return Fed::Gone;
            };
            let wire = self.wires.get_mut(&id).expect("it has a socket");
            if wire.leftover.is_empty() {
                return Fed::All;
            }
            if !self.set.wants_read(socket) {
                return Fed::Stalled;
            }
            let taken = self.set.handle_input(self.now, socket, &mut wire.leftover);
            wire.leftover.drain(..taken);
            if wire.leftover.is_empty() {
                wire.leftover = Vec::new();
            }
            self.drain();
        }
    }

    /// Lets a little time pass, in which the neighbour sends a message and gets it back.
    pub(crate) fn tick(&mut self) {
        self.advance(TICK);
        self.said += 1;
        let message = Message::text(format!("message {}", self.said));
        let neighbour = self.neighbour.expect("every world has one");
        self.send(neighbour, message)
            .expect("the neighbour lives, and its queue is empty");
    }

    /// Lets time pass, with every deadline met on its nanosecond.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.next_timeout.filter(|at| at.is_due(end)) {
            assert!(at > self.now, "a deadline lies in the past");
            self.now = at;
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.set.handle(self.now, input);
        self.drain();
    }

    /// The server sees the close frame of a connection that has failed, and ends the stream.
    pub(crate) fn advance_close(&mut self, id: ConnectionId) {
        if self.set.state(id) == Some(State::Closing)
            && let Some(socket) = self.socket(id)
        {
            self.handle(Input::Eof { socket });
        }
    }

    fn socket(&self, id: ConnectionId) -> Option<SocketId> {
        self.wires.get(&id)?.socket
    }

    fn wires_of(&mut self, id: ConnectionId) -> &mut Wire {
        self.wires.get_mut(&id).expect("the test inserted it")
    }

    fn drain(&mut self) {
        loop {
            let output = self.set.poll_output(self.now);
            let Output::Idle { next_timeout } = output else {
                self.obey(output);
                continue;
            };
            let admission = self.admission.poll_timeout();
            self.next_timeout = [next_timeout, admission].into_iter().flatten().min();
            if !self.grant() {
                return;
            }
        }
    }

    fn grant(&mut self) -> bool {
        if let Some(grant) = self.admission.poll_grant(self.now) {
            let (connection, stage) = (grant.ticket.connection, grant.stage);
            self.set
                .handle(self.now, Input::Admitted { connection, stage });
            return true;
        }
        let refill = self.admission.poll_refill();
        if let Some((_, bytes)) = refill {
            self.set.handle(self.now, Input::BytesGranted(bytes));
        }
        refill.is_some()
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Admission(request) => self.admit(request),
            Output::Connect { socket, .. } => {
                // A redial hangs: what the test is about is over.
                let wire = self.wires_of(socket.connection);
                wire.socket = wire.end.is_none().then_some(socket);
            }
            Output::Transmit { socket } => self.write(socket),
            Output::Abort { socket } => {
                let wire = self.wires_of(socket.connection);
                if wire.socket == Some(socket) {
                    wire.socket = None;
                    wire.leftover = Vec::new();
                }
            }
            Output::Deliver(batch) => self.deliver(&batch),
            Output::Event(event) => self.see(&event),
            Output::Idle { .. }
            | Output::Call(_)
            | Output::Provide { .. }
            | Output::Resolve { .. }
            | Output::ShutdownWrite { .. }
            | Output::Read { .. }
            | Output::ReadAll { .. }
            | Output::Outcome { .. }
            | Output::Room { .. }
            | Output::DeadLetter(_)
            | Output::Redriven { .. }
            | Output::Removed(_) => {}
        }
    }

    fn deliver(&mut self, batch: &Batch) {
        let connection = batch.connection();
        let wire = self.wires_of(connection);
        wire.delivered += batch.len();
        let is_consumed = wire.is_consumed;
        if Some(connection) == self.neighbour {
            for message in batch {
                let at = self.now;
                writeln!(
                    self.trace,
                    "{at} {} {:?}",
                    message.seq(),
                    message.as_bytes()
                )
                .expect("a string takes it");
            }
        }
        if is_consumed {
            self.set.handle(self.now, Input::Ask { connection });
        }
    }

    fn see(&mut self, event: &Event) {
        if Some(event.connection) == self.neighbour {
            writeln!(self.trace, "{event:?}").expect("a string takes it");
        }
        let wire = self.wires_of(event.connection);
        if let EventKind::Closed { reason, .. } = &event.kind {
            wire.end.get_or_insert_with(|| reason.clone());
        }
    }

    fn write(&mut self, socket: SocketId) {
        let id = socket.connection;
        while let Some(transmit) = self.set.transmit(self.now, socket) {
            let wire = self.wires.get_mut(&id).expect("it has a socket");
            if wire.kernel == Kernel::Full {
                return;
            }
            if wire.keeps_written || Some(id) == self.neighbour {
                wire.written.extend_from_slice(&transmit.slices()[0]);
            }
            let len = transmit.len();
            transmit.advance(len);
        }
        if Some(id) == self.neighbour && !self.wires_of(id).keeps_written {
            self.echo(id);
        }
    }

    /// What the neighbour's server does.
    fn echo(&mut self, neighbour: ConnectionId) {
        let wire = self.wires_of(neighbour);
        let units = wire.frames.read(&wire.written).expect("good frames");
        wire.written.clear();
        for unit in units {
            let at = self.now;
            writeln!(self.trace, "{at} {unit:?}").expect("a string takes it");
            let reply = match unit {
                Unit::Text(text) => server_frame(0x81, &text),
                Unit::Ping(payload) => server_frame(0x8a, &payload),
                Unit::Binary(_) | Unit::Pong(_) | Unit::Close(_) => continue,
            };
            let socket = self.socket(neighbour).expect("it is open");
            let mut reply = reply;
            self.set.handle_input(self.now, socket, &mut reply);
        }
    }

    fn admit(&mut self, request: AdmissionRequest) {
        let ticket = |connection| Ticket {
            shard: 0,
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
            AdmissionRequest::TakeBytes(bytes) => {
                let granted = self.admission.take_bytes(0, bytes);
                if granted > 0 {
                    self.set.handle(now, Input::BytesGranted(granted));
                }
            }
            AdmissionRequest::GiveBytes(bytes) => self.admission.give_bytes(0, bytes),
        }
    }
}
