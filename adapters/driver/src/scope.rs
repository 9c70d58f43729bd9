//! What a fleet's shards share, and the end of all of it.

use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use ropewalk_core::{AdmissionLimits, Config, Consumer, Seed, Target};

use crate::clock::Clock;
use crate::connect::Checked;
use crate::events::Ring;
use crate::gate::Gate;
use crate::handle::ConnectionHandle;
use crate::jobs::{Crew, Jobs};
use crate::letters::{LetterBounds, Tray};
use crate::link::{Home, Link};
use crate::mailbox::{Command, Mailbox, Opening};
use crate::report::{Ledger, Report};
use crate::runtime::Runtime;
use crate::shard::{Caller, Shard};
use crate::store::{Keeper, LetterStore, StoreQueue};

/// What is shared by a fleet and its shards. It goes when the last of them has gone.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) ring: Arc<Ring>,
    pub(crate) tray: Arc<Tray>,
    pub(crate) keeper: Option<Keeper>,
    ledger: Arc<Ledger>,
    berths: Vec<Berth>,
    opened: AtomicU64,
    latest: Mutex<Latest>,
}

/// What the latest connection was told, which the next one mostly is as well: then both keep it once. It goes with the last of
/// them.
#[derive(Debug, Default)]
struct Latest {
    target: Weak<Target>,
    config: Weak<Config>,
}

/// A place for a shard, which starts when its first connection comes.
#[derive(Debug)]
struct Berth {
    home: Arc<Home>,
    /// Taken by whoever starts the shard.
    seed: Mutex<Option<Seed>>,
}

/// What a scope is made of.
pub(crate) struct Plan {
    pub(crate) seeds: Vec<Seed>,
    pub(crate) limits: AdmissionLimits,
    pub(crate) events_max: usize,
    pub(crate) letters: LetterBounds,
    pub(crate) store: Option<(Box<dyn LetterStore>, StoreQueue)>,
    pub(crate) processor_calls_max: NonZeroU32,
    pub(crate) cores: usize,
}

/// Owns tasks and connections: dropping it ends them.
#[derive(Debug)]
pub(crate) struct Scope(Arc<Common>);

impl Scope {
    /// # Errors
    /// The system gives no thread for the store.
    pub(crate) fn new<R: Runtime>(plan: Plan) -> io::Result<Self> {
        let clock = Clock::start();
        let ledger = Arc::default();
        let berth = |seed| {
            let mailbox = Arc::<Mailbox>::default();
            Berth {
                home: Arc::new(Home {
                    clock,
                    jobs: Jobs::new(
                        Arc::clone(&mailbox),
                        Crew {
                            cores: plan.cores,
                            spawn: |runner| R::spawn(runner),
                        },
                    ),
                    mailbox,
                    ledger: Arc::clone(&ledger),
                }),
                seed: Mutex::new(Some(seed)),
            }
        };
        let berths: Vec<_> = plan.seeds.into_iter().map(berth).collect();
        let mailboxes = berths.iter().map(|berth| Arc::clone(&berth.home.mailbox));
        let ring = Arc::new(Ring::new(plan.events_max));
        let keeper = plan
            .store
            .map(|(store, queue)| Keeper::start(store, queue, clock, Arc::clone(&ring)));
        Ok(Self(Arc::new(Common {
            clock,
            gate: Gate::new(plan.limits, plan.processor_calls_max, mailboxes.collect()),
            ring,
            tray: Arc::new(Tray::new(plan.letters)),
            keeper: keeper.transpose()?,
            ledger,
            berths,
            opened: AtomicU64::new(0),
            latest: Mutex::default(),
        })))
    }

    pub(crate) fn common(&self) -> &Arc<Common> {
        &self.0
    }

    /// Gives a connection to the next shard in turn. It stays there.
    pub(crate) fn open<R: Runtime>(&self, mut connect: Checked) -> ConnectionHandle {
        let common = &self.0;
        common.share(&mut connect);
        let number = common.opened.fetch_add(1, Ordering::Relaxed);
        let shards = common.berths.len() as u64;
        let berth_number =
            u32::try_from(number % shards).expect("there are fewer than 2^32 shards");
        let berth = &common.berths[berth_number as usize];
        // Outside of a runtime this panics: before there is a connection, and with the seed in its place.
        let is_to_begin = berth.lock_seed().is_some();
        let caller = is_to_begin.then(Caller::on::<R>);
        let settings = connect.config.settings();
        let close_timeout = settings.timeouts.close;
        let consumer = match connect.process {
            Some(_) => Consumer::Process,
            None => Consumer::Pull,
        };
        let link = Arc::new(Link::new(
            connect
                .name
                .unwrap_or_else(|| (number + 1).to_string().into()),
            consumer,
            settings.outbound,
            Arc::clone(&berth.home),
        ));
        let handle = ConnectionHandle::new(Arc::clone(&link), close_timeout);
        if common.ledger.begin().is_err() {
            link.refuse();
            return handle;
        }
        if let Some(caller) = caller
            && let Some(seed) = berth.take_seed()
        {
            let common = Arc::clone(common);
            let shard = Shard::<R>::new(berth_number, caller, seed, common, &berth.home);
            R::spawn(shard);
        }
        let opening = Opening {
            link: Arc::clone(&link),
            target: connect.target,
            config: connect.config,
            provide: connect.provide,
            transport: connect.transport,
            process: connect.process,
        };
        if link.command(Command::Open(Box::new(opening))).is_err() {
            link.end(None);
        }
        if let Some(keeper) = &common.keeper {
            keeper.opened(&link);
        }
        handle
    }

    /// Ends all connections, each in its own good time but no later than `within`; then the shards.
    pub(crate) async fn end_connections(&mut self, within: Duration) -> Report {
        let common = &self.0;
        common.ledger.close();
        let deadline = common.clock.now() + within;
        for berth in &common.berths {
            // A shard that has ended has nothing left to remove.
            drop(berth.home.mailbox.push(Command::RemoveAll(deadline)));
        }
        let report = common.ledger.all_ended().await;
        self.end();
        report
    }

    /// Readers of events and letters have seen all there is to be.
    pub(crate) fn finish(&self) {
        self.0.ring.end();
        self.0.tray.end();
    }

    /// The mailboxes of the shards that have been started.
    pub(crate) fn started_mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        let started = |berth: &&Berth| berth.lock_seed().is_none();
        self.0
            .berths
            .iter()
            .filter(started)
            .map(|berth| &berth.home.mailbox)
    }

    fn end(&self) {
        for berth in &self.0.berths {
            berth.home.mailbox.close();
        }
    }
}

impl Common {
    /// Replaces what equals the latest connection's by that.
    fn share(&self, connect: &mut Checked) {
        let Checked { target, config, .. } = connect;
        let mut latest = self
            .latest
            .lock()
            .expect("nothing that can panic runs under this lock");
        if let Some(known) = latest.target.upgrade()
            && known == *target
        {
            *target = known;
        }
        if let Some(known) = latest.config.upgrade() {
            if config.is_known_to_equal(&known) {
                *config = known;
            } else if let Some(config) = Arc::get_mut(config) {
                config.share_settings(&known);
            }
        }
        *latest = Latest {
            target: Arc::downgrade(target),
            config: Arc::downgrade(config),
        };
    }
}

impl Berth {
    fn take_seed(&self) -> Option<Seed> {
        self.lock_seed().take()
    }

    fn lock_seed(&self) -> MutexGuard<'_, Option<Seed>> {
        self.seed
            .lock()
            .expect("nothing that can panic runs under this lock")
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abandon();
        }
        self.ring.end();
        self.tray.end();
    }
}
