//! The work as a program does it that has one task for each connection, on whichever runtime and with whichever client.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Problem;
use crate::measure::{cpu_time, resident_bytes, sleeps};
use crate::work::{Done, PACED_BYTES, Seen, Work};

/// How many messages may wait between the task that reads and the one that looks.
const QUEUE: usize = 1_024;

/// A round trip is measured after this many.
const WARM_UP: u64 = 1_000;

/// A client of one connection, used as its documentation advises.
pub(super) trait Client: Sized + Send + 'static {
    /// A message that may leave the task that received it.
    type Message: AsRef<[u8]> + Send + 'static;

    fn connect(url: &str) -> impl Future<Output = Result<Self, Problem>> + Send;
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
pub(super) trait Tasks: 'static {
    type Sender<T: Send + 'static>: Clone + Send + 'static;
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
            sleeps: sleeps() - self.sleeps,
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

pub(super) fn on_tokio<C: Client>(work: Work, url: &str) -> Result<Done, Problem> {
    tokio_runtime()?.block_on(drive::<Tokio, C>(work, url))
}

pub(super) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

pub(super) async fn drive<T: Tasks, C: Client>(work: Work, url: &str) -> Result<Done, Problem> {
    match work {
        Work::Receive { messages, .. } => {
            let meter = Meter::start();
            let mut client = C::connect(url).await?;
            let mut seen = Seen::default();
            while seen.messages < messages {
                client.look(&mut seen).await?;
            }
            Ok(meter.stop(seen))
        }
        Work::HandOver { messages, .. } => hand_over::<T, C>(url, messages).await,
        Work::Paced {
            connections,
            messages,
        } => paced::<T, C>(url, connections, messages).await,
        Work::Send { bytes, messages } => {
            let text = text(bytes);
            let meter = Meter::start();
            let mut client = C::connect(url).await?;
            for _ in 0..messages {
                client.feed(&text).await?;
            }
            client.flush().await?;
            let mut seen = Seen::default();
            client.look(&mut seen).await?;
            Ok(meter.stop(seen))
        }
        Work::Echo { bytes, messages } => {
            let mut client = C::connect(url).await?;
            let text = text(bytes);
            let mut seen = Seen::default();
            let mut times = RoundTrips::new(messages);
            let mut meter = Meter::start();
            for number in 0..messages + WARM_UP {
                if number == WARM_UP {
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
        Work::Idle { connections } => {
            let before = resident_bytes();
            let mut clients = Vec::with_capacity(connections);
            for _ in 0..connections {
                let mut client = C::connect(url).await?;
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

async fn hand_over<T: Tasks, C: Client>(url: &str, messages: u64) -> Result<Done, Problem> {
    let meter = Meter::start();
    let mut client = C::connect(url).await?;
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
    url: &str,
    connections: usize,
    messages: u64,
) -> Result<Done, Problem> {
    let received = Arc::new(AtomicU64::new(0));
    for _ in 0..connections {
        let mut client = C::connect(url).await?;
        let received = Arc::clone(&received);
        T::spawn(async move {
            let mut seen = Seen::default();
            while client.look(&mut seen).await.is_ok() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    Ok(pass::<T>(messages, || received.load(Ordering::Relaxed)).await)
}

/// Measures while so many messages pass.
pub(super) async fn pass<T: Tasks>(messages: u64, received: impl Fn() -> u64) -> Done {
    let look_every = Duration::from_millis(20);
    // The first ones warm everything up.
    let first = received() + messages / 10;
    while received() < first {
        T::sleep(look_every).await;
    }
    let before = received();
    let meter = Meter::start();
    while received() - before < messages {
        T::sleep(look_every).await;
    }
    let passed = received() - before;
    meter.stop(Seen {
        messages: passed,
        bytes: passed * PACED_BYTES as u64,
        sum: 0,
    })
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

    pub(super) fn into_done(mut self, done: Done) -> Done {
        self.nanos.sort_unstable();
        let last = self.nanos.len().saturating_sub(1);
        let at = |thousandths: usize| {
            self.nanos
                .get(last * thousandths / 1_000)
                .copied()
                .unwrap_or(0)
        };
        Done {
            round_trip_nanos: Some([at(500), at(990), at(999)]),
            ..done
        }
    }
}

pub(super) fn text(bytes: usize) -> String {
    String::from_utf8(crate::peer::text(bytes)).expect("it is ASCII")
}
