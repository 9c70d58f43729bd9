//! The work as a program does it that has one task for each connection, on whichever runtime and with whichever client.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{Place, Problem};
use crate::measure::{cpu_time, resident_bytes, sleeps};
use crate::work::{Done, SMALL_BYTES, Seen, Service, Work, letters, quotes};

/// How many messages may wait between the task that reads and the one that looks.
const QUEUE: usize = 1_024;

/// A round trip is measured after this many.
const WARM_UP: u64 = 1_000;

/// A client of one connection, used as its documentation advises.
pub(super) trait Client: Sized + Send + 'static {
    /// A message that may leave the task that received it.
    type Message: AsRef<[u8]> + Send + 'static;

    fn connect(to: &Place) -> impl Future<Output = Result<Self, Problem>> + Send;
    /// Receives a message and looks at it where it is.
    fn look(&mut self, seen: &mut Seen) -> impl Future<Output = Result<(), Problem>> + Send;
    /// Receives a message to hand over.
    fn receive(&mut self) -> impl Future<Output = Result<Self::Message, Problem>> + Send;
    /// Queues a message, or sends it, whatever this client does.
    fn feed(&mut self, text: &str) -> impl Future<Output = Result<(), Problem>> + Send;
    /// All that was fed is on its way.
    fn flush(&mut self) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// What tasks of a runtime need.
pub(super) trait Tasks: Send + 'static {
    type Sender<T: Send + 'static>: Clone + Send + Sync + 'static;
    type Receiver<T: Send + 'static>: Send + 'static;

    fn spawn(task: impl Future<Output = ()> + Send + 'static);
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send;
    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>);
    fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) -> impl Future<Output = ()> + Send;
    fn receive<T: Send + 'static>(
        from: &mut Self::Receiver<T>,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// What the process has cost between two moments.
pub(super) struct Meter {
    cpu: Duration,
    begun: Instant,
    sleeps: u64,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self {
            cpu: cpu_time(),
            begun: Instant::now(),
            sleeps: sleeps(),
        }
    }

    pub(super) fn stop(self, seen: Seen) -> Done {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Done {
            seen,
            cpu_nanos: nanos(cpu_time().saturating_sub(self.cpu)),
            wall_nanos: nanos(self.begun.elapsed()),
            sleeps: sleeps().saturating_sub(self.sleeps),
            ..Done::default()
        }
    }
}

pub(super) struct Tokio;

impl Tasks for Tokio {
    type Sender<T: Send + 'static> = tokio::sync::mpsc::Sender<T>;
    type Receiver<T: Send + 'static> = tokio::sync::mpsc::Receiver<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        tokio::sync::mpsc::channel(bound)
    }

    async fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) {
        let _ = to.send(it).await;
    }

    async fn receive<T: Send + 'static>(from: &mut Self::Receiver<T>) -> Option<T> {
        from.recv().await
    }
}

pub(super) fn on_tokio<C: Client>(work: Work, to: &Place) -> Result<Done, Problem> {
    let to = to.clone();
    let runtime = tokio_runtime()?;
    runtime.block_on(runtime.spawn(async move { drive::<Tokio, C>(work, &to).await }))?
}

pub(super) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

pub(super) async fn drive<T: Tasks, C: Client>(work: Work, to: &Place) -> Result<Done, Problem> {
    match work {
        Work::Receive { messages, .. }
        | Work::Inflate { messages, .. }
        | Work::ReceiveTls { messages, .. } => {
            let meter = Meter::start();
            let mut client = C::connect(to).await?;
            let mut seen = Seen::default();
            while seen.messages < messages {
                client.look(&mut seen).await?;
            }
            Ok(meter.stop(seen))
        }
        Work::HandOver { messages, .. } => hand_over::<T, C>(to, messages).await,
        Work::Paced {
            connections,
            messages,
        } => paced::<T, C>(to, connections, messages).await,
        Work::Send { messages, .. } | Work::Deflate { messages, .. } => {
            let text = text(work);
            let meter = Meter::start();
            let mut client = C::connect(to).await?;
            for _ in 0..messages {
                client.feed(&text).await?;
            }
            client.flush().await?;
            let mut seen = Seen::default();
            client.look(&mut seen).await?;
            Ok(meter.stop(seen))
        }
        Work::Echo { messages, .. } => {
            let mut client = C::connect(to).await?;
            let text = text(work);
            let mut seen = Seen::default();
            let mut times = RoundTrips::new(messages);
            let mut meter = Meter::start();
            for number in 0..messages + WARM_UP {
                if number == WARM_UP {
                    seen = Seen::default();
                    meter = Meter::start();
                }
                let begun = Instant::now();
                client.feed(&text).await?;
                client.flush().await?;
                client.look(&mut seen).await?;
                times.note(number, begun.elapsed());
            }
            let done = meter.stop(seen);
            Ok(times.into_done(done))
        }
        Work::Connect { connections } => {
            let meter = Meter::start();
            let mut clients = Vec::with_capacity(connections);
            let mut seen = Seen::default();
            for _ in 0..connections {
                let mut client = C::connect(to).await?;
                client.look(&mut seen).await?;
                clients.push(client);
            }
            Ok(meter.stop(seen))
        }
        Work::Recover { connections } => recover::<T, C>(to, connections).await,
        Work::Idle { connections } => {
            let before = resident_bytes();
            let mut clients = Vec::with_capacity(connections);
            for _ in 0..connections {
                let mut client = C::connect(to).await?;
                // A connection that nobody reads is not one.
                let (sender, receiver) = T::channel::<()>(1);
                T::spawn(async move {
                    let _ = client.look(&mut Seen::default()).await;
                    drop(sender);
                });
                clients.push(receiver);
            }
            idle::<T>(before).await
        }
        Work::Pinged { .. } => Err("none of these clients pings by itself".into()),
    }
}

/// Waits until everything is quiet, and looks how it is.
pub(super) async fn idle<T: Tasks>(memory_before: u64) -> Result<Done, Problem> {
    T::sleep(Duration::from_secs(1)).await;
    let memory = resident_bytes();
    let meter = Meter::start();
    T::sleep(Duration::from_secs(2)).await;
    Ok(Done {
        memory_bytes: memory.saturating_sub(memory_before),
        ..meter.stop(Seen::default())
    })
}

/// Looks how often everything wakes up that has nothing to do but its own keepalive.
pub(super) async fn quiet<T: Tasks>(time: Duration) -> Done {
    T::sleep(Duration::from_secs(1)).await;
    let wall_micros = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
    };
    let begun = wall_micros();
    let meter = Meter::start();
    T::sleep(time).await;
    Done {
        window_micros: Some([begun, wall_micros()]),
        ..meter.stop(Seen::default())
    }
}

async fn hand_over<T: Tasks, C: Client>(to: &Place, messages: u64) -> Result<Done, Problem> {
    let meter = Meter::start();
    let mut client = C::connect(to).await?;
    let (sender, mut receiver) = T::channel(QUEUE);
    T::spawn(async move {
        for _ in 0..messages {
            match client.receive().await {
                Ok(message) => T::send(&sender, message).await,
                Err(_) => return,
            }
        }
    });
    let mut seen = Seen::default();
    while seen.messages < messages {
        let message = T::receive(&mut receiver)
            .await
            .ok_or("the connection ended")?;
        seen.look(message.as_ref());
    }
    Ok(meter.stop(seen))
}

async fn paced<T: Tasks, C: Client>(
    to: &Place,
    connections: usize,
    messages: u64,
) -> Result<Done, Problem> {
    let tally = Tally::new();
    for _ in 0..connections {
        let mut client = C::connect(to).await?;
        let tally = tally.clone();
        T::spawn(async move {
            let mut seen = Seen::default();
            while client.look(&mut seen).await.is_ok() {
                tally.add(std::mem::take(&mut seen));
            }
        });
    }
    Ok(pass::<T>(messages, || tally.seen()).await)
}

/// Measures while so many messages pass.
pub(super) async fn pass<T: Tasks>(messages: u64, seen: impl Fn() -> Seen) -> Done {
    let look_every = Duration::from_millis(20);
    // The first ones warm everything up.
    let first = seen().messages + messages / 10;
    while seen().messages < first {
        T::sleep(look_every).await;
    }
    let before = seen();
    let meter = Meter::start();
    while seen().messages - before.messages < messages {
        T::sleep(look_every).await;
    }
    meter.stop(since(before, seen()))
}

/// None of these clients dials again, so the program does: at once, and as long as it fails.
async fn recover<T: Tasks, C: Client>(to: &Place, connections: usize) -> Result<Done, Problem> {
    let tally = Tally::new();
    for _ in 0..connections {
        let tally = tally.clone();
        let to = to.clone();
        T::spawn(async move {
            loop {
                let Ok(mut client) = C::connect(&to).await else {
                    T::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let mut seen = Seen::default();
                while client.look(&mut seen).await.is_ok() {
                    tally.add(std::mem::take(&mut seen));
                }
            }
        });
    }
    dropped::<T>(to, connections, || tally.seen()).await
}

/// Has all connections dropped once they are there, and measures until each is back.
pub(super) async fn dropped<T: Tasks>(
    to: &Place,
    connections: usize,
    seen: impl Fn() -> Seen,
) -> Result<Done, Problem> {
    let connections = connections as u64;
    until::<T>(|| seen().messages >= connections).await;
    let before = seen();
    let meter = Meter::start();
    let _asked = super::bare::ask_for(to, Service::Drop)?;
    until::<T>(|| seen().messages >= 2 * connections).await;
    Ok(meter.stop(since(before, seen())))
}

/// Looks until it is so: every 5 ms, and later after each further hundredth of the time, so that looking costs little.
pub(super) async fn until<T: Tasks>(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        T::sleep(Duration::from_millis(5).max(begun.elapsed() / 100)).await;
    }
}

fn since(before: Seen, now: Seen) -> Seen {
    Seen {
        messages: now.messages - before.messages,
        bytes: now.bytes - before.bytes,
        sum: now.sum - before.sum,
    }
}

/// What many tasks saw together, of messages of [`SMALL_BYTES`]. Count and sum are added by one operation, so that looking
/// costs what counting does.
#[derive(Clone)]
pub(super) struct Tally(Arc<AtomicU64>);

impl Tally {
    /// The count stands above the sum; each message adds 16 bits at most to that, and 2^24 of them fit.
    const COUNT_SHIFT: u32 = 40;

    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(super) fn add(&self, seen: Seen) {
        let both = seen.messages << Self::COUNT_SHIFT | seen.sum;
        self.0.fetch_add(both, Ordering::Relaxed);
    }

    pub(super) fn seen(&self) -> Seen {
        let both = self.0.load(Ordering::Relaxed);
        let messages = both >> Self::COUNT_SHIFT;
        Seen {
            messages,
            bytes: messages * SMALL_BYTES as u64,
            sum: both & ((1 << Self::COUNT_SHIFT) - 1),
        }
    }
}

/// How long messages took there and back.
pub(super) struct RoundTrips {
    nanos: Vec<u64>,
}

impl RoundTrips {
    pub(super) fn new(messages: u64) -> Self {
        Self {
            nanos: Vec::with_capacity(usize::try_from(messages).unwrap_or(0)),
        }
    }

    pub(super) fn warm_up() -> u64 {
        WARM_UP
    }

    pub(super) fn note(&mut self, number: u64, time: Duration) {
        if number >= WARM_UP {
            self.nanos
                .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn into_done(mut self, mut done: Done) -> Done {
        self.nanos.sort_unstable();
        let last = self.nanos.len().saturating_sub(1);
        let at = |thousandths: usize| {
            self.nanos
                .get(last * thousandths / 1_000)
                .copied()
                .unwrap_or(0)
        };
        done.round_trip_nanos = Some([at(500), at(990), at(999)]);
        done
    }
}

/// The text that a contestant sends.
pub(super) fn text(work: Work) -> String {
    let text = match work {
        Work::Deflate { bytes, .. } => quotes(bytes),
        Work::Send { bytes, .. } | Work::Echo { bytes, .. } => letters(bytes),
        Work::Receive { .. }
        | Work::HandOver { .. }
        | Work::Inflate { .. }
        | Work::ReceiveTls { .. }
        | Work::Paced { .. }
        | Work::Connect { .. }
        | Work::Recover { .. }
        | Work::Idle { .. }
        | Work::Pinged { .. } => Vec::new(),
    };
    String::from_utf8(text).expect("it is ASCII")
}
