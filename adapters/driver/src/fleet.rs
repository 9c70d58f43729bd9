//! Many connections, as one scope.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use ropewalk_core::{AdmissionLimits, Instant, Seed};

use crate::connect::{Checked, Connect};
use crate::events::Events;
use crate::handle::ConnectionHandle;
use crate::letters::{LetterBounds, Letters};
use crate::mailbox::Command;
use crate::oneshot::oneshot;
use crate::report::Report;
use crate::runtime::{Runtime, Timer};
use crate::scope::{Plan, Scope};
use crate::snapshot::Snapshot;
use crate::store::{LetterStore, StoreQueue};

/// A scope of connections: it owns them and every task that serves them.
///
/// Dropping it ends them all at once, without a word to the servers: sockets close, waiting receivers get
/// `None`, senders get their messages back, processors are dropped where they wait. The tasks end when the
/// runtime next runs them. [`shutdown`](Self::shutdown) ends them with courtesy.
pub struct Fleet<R: Runtime> {
    scope: Scope,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Fleet<R> {
    /// A fleet with every default. It starts no task before its first connection.
    ///
    /// # Panics
    /// If the operating system has no entropy to give, which every connection needs for its masks.
    /// [`FleetBuilder::build`] returns that as an error.
    #[allow(
        clippy::new_without_default,
        reason = "a default that draws entropy and may panic would surprise"
    )]
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(fleet) => fleet,
            Err(error) => panic!("{error}"),
        }
    }

    /// A fleet with something that differs from its default.
    pub fn builder() -> FleetBuilder<R> {
        FleetBuilder {
            shards: None,
            admission: AdmissionLimits::default(),
            events_max: EVENTS_MAX,
            letters: LetterBounds::default(),
            store: None,
            processor_calls_max: PROCESSOR_CALLS_MAX,
            seed: None,
            runtime: PhantomData,
        }
    }

    /// Opens a connection, which begins to dial at once and keeps itself alive from then on. Call it in
    /// the runtime's context: it may start tasks. After [`shutdown`](Self::shutdown) the connection that
    /// it returns has ended already.
    ///
    /// # Panics
    /// If [`Connect::check`] would be an error, or outside of the runtime.
    pub fn open(&self, connect: Connect) -> ConnectionHandle {
        match Checked::try_from(connect) {
            Ok(checked) => self.scope.open::<R>(checked),
            Err(error) => panic!("the connection cannot be opened: {error}"),
        }
    }

    /// The fleet's events from now on.
    pub fn events(&self) -> Events {
        Events::new(&self.scope.common().ring)
    }

    /// The fleet's dead letters, from its beginning.
    pub fn letters(&self) -> Letters {
        let common = self.scope.common();
        Letters::new(&common.tray, common.keeper.clone())
    }

    /// How every connection that has not ended stands. Each shard's connections are seen at one moment.
    /// Cancel safe.
    pub async fn snapshot(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        let mut answers = Vec::new();
        for mailbox in self.scope.started_mailboxes() {
            let (promise, answer) = oneshot();
            drop(mailbox.push(Command::SnapshotAll(promise)));
            answers.push(answer);
        }
        for answer in answers {
            snapshots.extend(answer.await.into_iter().flatten());
        }
        snapshots
    }

    /// Ends every connection: dials no more, sends what is queued, closes all WebSockets together, lets
    /// consumers finish; what is left after `within` is dropped, and everything is accounted for in the
    /// report.
    ///
    /// Cancel safe: the end goes on by itself, and calling again waits for it, or for an earlier deadline.
    /// Calling it after the end returns the same report.
    pub async fn shutdown(&mut self, within: Duration) -> Report {
        let begun = std::time::Instant::now();
        let report = self.scope.end_connections(within).await;
        if let Some(keeper) = &self.scope.common().keeper {
            let left = within.saturating_sub(begun.elapsed());
            let mut stored = keeper.finish(left);
            let mut timer = R::timer();
            // A little more than the store has itself: a thread that hangs in the operating system is left behind.
            timer.reset(std::time::Instant::now() + left + STORE_GRACE);
            poll_fn(|cx| match Pin::new(&mut stored).poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => timer.poll(cx),
            })
            .await;
        }
        self.scope.finish();
        report
    }

    /// The wall-clock time of an instant in an event, a letter or a message: the system's clock as it stood
    /// when the fleet began, and monotonic from there.
    pub fn wall_time(&self, at: Instant) -> SystemTime {
        self.scope.common().clock.wall_time(at)
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn into_scope(self) -> Scope {
        self.scope
    }
}

impl<R: Runtime> fmt::Debug for Fleet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

/// How much longer than it may take a store is waited for.
const STORE_GRACE: Duration = Duration::from_millis(250);

/// How many events a reader may lag behind by default.
const EVENTS_MAX: usize = 4_096;

/// How many calls of processors may run at once by default.
const PROCESSOR_CALLS_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(1_023);

/// A fleet to be.
#[must_use]
pub struct FleetBuilder<R: Runtime> {
    shards: Option<NonZeroUsize>,
    admission: AdmissionLimits,
    events_max: usize,
    letters: LetterBounds,
    store: Option<(Box<dyn LetterStore>, StoreQueue)>,
    processor_calls_max: NonZeroU32,
    seed: Option<u64>,
    runtime: PhantomData<fn() -> R>,
}

/// A fleet could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The operating system gave no entropy, without which no frame can be masked (RFC 6455 §10.3).
    #[error("the operating system gave no entropy: {0}")]
    Entropy(getrandom::Error),
    /// The operating system gave no thread for the store of dead letters.
    #[error("no thread for the store of dead letters: {0}")]
    Thread(io::Error),
}

impl<R: Runtime> FleetBuilder<R> {
    /// Over how many tasks to spread the connections, each of which stays where it began. Default: the
    /// number of processors. A task is started when its first connection comes; each costs a read buffer
    /// of 64 KiB.
    pub fn shards(mut self, shards: NonZeroUsize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Limits on all the fleet's connections together: dials at once, redials a second, bytes held.
    /// Default: [`AdmissionLimits::default`].
    pub fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// How many events a reader may lag behind before it misses some. Default: 4,096; each costs some 200
    /// bytes while it is kept, and none is kept while nobody reads.
    pub fn events_max(mut self, events: NonZeroUsize) -> Self {
        self.events_max = events.get();
        self
    }

    /// How many dead letters to keep for [`Fleet::letters`]. Default: 10,000 and 64 MiB.
    pub fn letters(mut self, bounds: LetterBounds) -> Self {
        self.letters = bounds;
        self
    }

    /// Keeps dead letters in a store, on a thread of its own, with the default queue in front of it. No socket waits
    /// for the store: while it is slow or fails, letters wait in the queue, and what happens is told by
    /// [events](Fleet::events) and [counted](Letters::counts). Default: none.
    ///
    /// [`Fleet::shutdown`] waits for it, within its time; a fleet that is dropped does not.
    pub fn letter_store(self, store: impl LetterStore) -> Self {
        self.letter_store_behind(StoreQueue::default(), store)
    }

    /// As [`letter_store`](Self::letter_store), behind a queue with other bounds.
    pub fn letter_store_behind(mut self, queue: StoreQueue, store: impl LetterStore) -> Self {
        self.store = Some((Box::new(store), queue));
        self
    }

    /// How many calls of processors may run at once, over all connections. Default: 1,024. When they all run, a connection's
    /// messages wait, and its batch grows; a call that ends makes room for the connection with the most messages
    /// waiting, and every eighth for the one that has waited longest. A call that never returns keeps its place
    /// until its connection ends.
    pub fn processor_calls_max(mut self, calls: NonZeroU32) -> Self {
        self.processor_calls_max = calls;
        self
    }

    /// Draws nothing from the operating system, so that runs resemble each other. For tests against a
    /// server on the same machine and for nothing else: masks become predictable, and whoever can predict
    /// them chooses the bytes that a proxy sees (RFC 6455 §10.3).
    pub fn seed_for_tests(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the fleet.
    ///
    /// # Errors
    /// [`FleetError::Entropy`] if the operating system has none; [`FleetError::Thread`] if there is a store and no
    /// thread for it.
    pub fn build(self) -> Result<Fleet<R>, FleetError> {
        let shards = self.shards.map_or_else(processors, NonZeroUsize::get);
        let seed = |shard: usize| match self.seed {
            Some(seed) => Ok(Seed::for_tests(seed.wrapping_add(shard as u64))),
            None => entropy(),
        };
        let seeds = (0..shards).map(seed).collect::<Result<_, _>>()?;
        Ok(Fleet {
            scope: Scope::new::<R>(Plan {
                seeds,
                limits: self.admission,
                events_max: self.events_max,
                letters: self.letters,
                store: self.store,
                processor_calls_max: self.processor_calls_max,
                cores: processors(),
            })
            .map_err(FleetError::Thread)?,
            runtime: PhantomData,
        })
    }
}

impl<R: Runtime> fmt::Debug for FleetBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetBuilder")
            .field("shards", &self.shards)
            .field("admission", &self.admission)
            .field("events_max", &self.events_max)
            .field("letters", &self.letters)
            .field("processor_calls_max", &self.processor_calls_max)
            .finish_non_exhaustive()
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn entropy() -> Result<Seed, FleetError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(FleetError::Entropy)?;
    Ok(Seed::from_bytes(bytes))
}
