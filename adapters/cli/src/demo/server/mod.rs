//! The hostile server of the demo.
//!
//! It serves numbered feeds on loopback and hurts its clients in many ways, all counted. A client dials the
//! address of its feed and sends `{"op":"resume","from":K}`; the server answers `{"op":"resumed","from":K}`
//! and sends every message from number K on, in order. So a client that resumes after each fault misses
//! nothing, and one that does miss something is at fault itself.
//!
//! Blocking sockets, and a thread for each: the server shares no code with the library that it tries.

mod ending;
mod fault;
mod feed;
mod gate;
mod noise;
mod port;
mod session;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use self::fault::Fault;
pub(crate) use self::feed::FeedReport;

use self::fault::Faults;
use self::feed::Feed;
use self::gate::Phase;
use self::port::Port;
use self::shared::Shared;

/// Feeds that share a port, and so an outage of it.
const FEEDS_PER_PORT: usize = 6;
const PORTS_MAX: usize = 16;
/// However many faults are wanted, sessions live as long as this on average, or nothing would be sent.
const LIFE_MEAN_MIN: Duration = Duration::from_millis(300);
/// Sessions come back only some time after a fault; lives are this much shorter to make up for it.
const LIFE_FACTOR: f64 = 0.8;

/// What the server is to do.
#[derive(Clone, Debug)]
pub(crate) struct DemoOptions {
    /// Decides messages, their times, and the faults.
    pub(crate) seed: u64,
    /// How many feeds there are; each is for one client.
    pub(crate) connections: usize,
    /// How long faults are to happen. The server does not stop by itself.
    pub(crate) run: Duration,
    /// How many faults are to happen in that time, about. Few connections bear fewer.
    pub(crate) faults_wanted: u32,
    /// The faults that may happen.
    pub(crate) faults: Vec<Fault>,
}

impl DemoOptions {
    /// Ten faults a second, of all kinds.
    pub(crate) fn new(seed: u64, connections: usize, run: Duration) -> Self {
        let tenths = run.as_millis() / 100;
        Self {
            seed,
            connections,
            run,
            faults_wanted: u32::try_from(tenths).unwrap_or(u32::MAX).max(1),
            faults: Fault::ALL.to_vec(),
        }
    }

    fn life_mean(&self) -> Duration {
        let connection_seconds = self.run.as_secs_f64() * self.connections as f64;
        let fair = connection_seconds / f64::from(self.faults_wanted.max(1)) * LIFE_FACTOR;
        // A day is as good as never.
        Duration::from_secs_f64(fair.min(86_400.0)).max(LIFE_MEAN_MIN)
    }
}

/// What the server has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerReport {
    /// What each feed has produced, by its number from 0.
    pub(crate) feeds: Vec<FeedReport>,
    /// How often each fault was really done, by name; 0 for those that were not.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How many sockets were accepted.
    pub(crate) sockets_accepted: u64,
}

/// A running server. It stops when it is dropped.
pub(crate) struct DemoServer {
    shared: Arc<Shared>,
    ports: Vec<Arc<Port>>,
    acceptors: Vec<JoinHandle<()>>,
}

impl DemoServer {
    /// Starts to listen and to produce messages.
    ///
    /// Fails if no port can be had, or no thread.
    pub(crate) fn start(options: &DemoOptions) -> io::Result<Self> {
        let now = Instant::now();
        let feeds = (0..options.connections)
            .map(|number| Feed::new(options.seed, number as u64, now))
            .collect();
        let faults = Faults::new(options.seed, &options.faults);
        let mut server = Self {
            shared: Arc::new(Shared::new(
                options.seed,
                feeds,
                faults,
                options.life_mean(),
            )),
            ports: Vec::new(),
            acceptors: Vec::new(),
        };
        let ports = options.connections.div_ceil(FEEDS_PER_PORT);
        for _ in 0..ports.clamp(1, PORTS_MAX) {
            let (port, listener) = Port::open()?;
            server.acceptors.push(port.spawn(listener, &server.shared)?);
            server.ports.push(port);
        }
        Ok(server)
    }

    /// Where to dial for a feed, whose numbers start from 0.
    pub(crate) fn url(&self, feed: usize) -> String {
        let port = &self.ports[feed % self.ports.len()];
        format!("ws://{}/feed/{feed}", port.address())
    }

    /// Heals: feeds produce no more, no fault begins, and those that last are cut short.
    pub(crate) fn stop_faults(&self) {
        self.shared.gate.advance_to(Phase::Healed);
        let now = Instant::now();
        for feed in &self.shared.feeds {
            feed.rest(now);
        }
    }

    /// What has happened until now.
    pub(crate) fn report(&self) -> ServerReport {
        let now = Instant::now();
        ServerReport {
            feeds: self
                .shared
                .feeds
                .iter()
                .map(|feed| feed.report(now))
                .collect(),
            faults: self.shared.faults.counts(),
            sockets_accepted: self.shared.sockets_accepted(),
        }
    }

    /// Ends every socket and waits for every thread. The report is the last one.
    pub(crate) fn stop(mut self) -> ServerReport {
        self.stop_faults();
        self.end();
        self.report()
    }

    fn end(&mut self) {
        if self.acceptors.is_empty() {
            // Already ended, and somebody else may have the ports by now.
            return;
        }
        self.shared.gate.advance_to(Phase::Stopping);
        for port in &self.ports {
            port.close_for_good();
        }
        for acceptor in self.acceptors.drain(..) {
            // A panic was reported on standard error; there is nothing more to do about it here.
            let _ = acceptor.join();
        }
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        self.end();
    }
}
