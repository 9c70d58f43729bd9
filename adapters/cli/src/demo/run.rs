//! The run itself, on whichever runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk_core::settings::format_duration;
use ropewalk_driver::{ConnectionHandle, Fleet, Letters, Runtime};

use super::client;
use super::ledger::{Fate, Ledger};
use super::outcome::{Outcome, Row, Totals, miscounted};
use super::progress::Progress;
use super::server::{DemoOptions, DemoServer, ServerReport};
use crate::Failure;
use crate::deadline::{sleep, within};
use crate::process::Usage;
use crate::runtime::Job;
use crate::stop::Stop;

/// How often progress is shown, and whether all has come is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long connections may take to catch up with a server that is well again.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// How long the graceful end may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// What the demo is to do.
pub(super) struct Demo {
    pub(super) runtime: &'static str,
    pub(super) connections: usize,
    /// How long the server is hostile.
    pub(super) time: Duration,
    pub(super) seed: u64,
    pub(super) stop: Stop,
}

impl fmt::Display for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections on {} against a hostile server for {}, seed {}",
            self.connections,
            self.runtime,
            format_duration(self.time),
            self.seed,
        )
    }
}

/// A feed as the application sees it.
struct Feed {
    name: String,
    ledger: Arc<Ledger>,
    handle: ConnectionHandle,
}

impl Job for Demo {
    type Output = Result<Outcome, Failure>;

    async fn run<R: Runtime>(self) -> Self::Output {
        let options = DemoOptions::new(self.seed, self.connections, self.time);
        let server = DemoServer::start(&options)
            .map_err(|error| Failure::runtime(format_args!("the demo's server: {error}")))?;
        let begun = Instant::now();
        let builder = Fleet::<R>::builder().admission(client::admission());
        let mut fleet = builder.build().map_err(Failure::runtime)?;
        let feeds = open(&fleet, &server, self.connections)?;
        let ledgers = feeds
            .iter()
            .map(|feed| (feed.name.clone(), Arc::clone(&feed.ledger)))
            .collect();
        R::spawn(note_letters(fleet.letters(), ledgers));

        let progress = Progress::start(self.time);
        while begun.elapsed() < self.time && self.stop.asked().is_none() {
            let left = self.time.saturating_sub(begun.elapsed());
            within::<R, _>(left.min(LOOK_EVERY), self.stop.wait()).await;
            if progress.is_visible() {
                progress.show(begun.elapsed(), "hostile", &fleet.snapshot().await);
            }
        }
        server.stop_faults();
        let produced = server.report();
        let deadline = Instant::now() + CATCH_UP_MAX;
        while Instant::now() < deadline && is_behind(&feeds, &produced) {
            sleep::<R>(LOOK_EVERY).await;
            if progress.is_visible() {
                progress.show(begun.elapsed(), "catching up", &fleet.snapshot().await);
            }
        }
        progress.clear();
        let report = fleet.shutdown(SHUTDOWN_MAX).await;
        let seconds = begun.elapsed().as_secs_f64();
        drop(fleet);
        let server = server.stop();

        let mut outcome = Outcome {
            lost: 0,
            duplicates: 0,
            misjudged: 0,
            runtime: self.runtime,
            seed: self.seed,
            settings: client::describe(),
            seconds,
            connections: Vec::new(),
            totals: Totals::default(),
            faults_total: server.faults.values().sum(),
            faults: server.faults,
            sockets: 0,
            process: Usage::now(),
            miscounted: Vec::new(),
        };
        let reports: BTreeMap<&str, _> = report
            .connections
            .iter()
            .map(|named| (&*named.name, &named.report))
            .collect();
        for (feed, books) in feeds.iter().zip(&server.feeds) {
            let audit = feed.ledger.audit(books);
            let report = reports.get(feed.name.as_str());
            let counters = report.map(|report| report.counters).unwrap_or_default();
            outcome
                .miscounted
                .extend(miscounted(&feed.name, &audit, &counters));
            outcome.lost += audit.lost.len() as u64;
            outcome.duplicates += audit.duplicates;
            outcome.misjudged += audit.misjudged;
            outcome.sockets += counters.dials;
            outcome.connections.push(Row {
                name: feed.name.clone(),
                totals: Totals::new(&audit, &counters),
                state: report.map_or("dropped", |report| report.state.name()),
                lost: audit.lost,
            });
        }
        outcome.totals = outcome.connections.iter().map(|row| row.totals).sum();
        Ok(outcome)
    }
}

fn open<R: Runtime>(
    fleet: &Fleet<R>,
    server: &DemoServer,
    connections: usize,
) -> Result<Vec<Feed>, Failure> {
    let feeds = (0..connections).map(|number| {
        let name = format!("feed-{number}");
        let ledger = Arc::new(Ledger::default());
        let connect = client::connect(&name, &server.url(number), &ledger);
        let handle = fleet.open(connect.map_err(Failure::runtime)?);
        Ok(Feed {
            name,
            ledger,
            handle,
        })
    });
    feeds.collect()
}

/// Notes the dead ones as their letters arrive, until the fleet ends.
async fn note_letters(mut letters: Letters, ledgers: BTreeMap<String, Arc<Ledger>>) {
    while let Some(letter) = letters.next().await {
        if let Some(ledger) = ledgers.get(&*letter.name) {
            ledger.note(client::number_in(&letter.letter.payload), Fate::Dead);
        }
    }
}

/// Whether a connection that still lives has not seen everything.
fn is_behind(feeds: &[Feed], produced: &ServerReport) -> bool {
    feeds
        .iter()
        .zip(&produced.feeds)
        .any(|(feed, books)| feed.ledger.known() < books.last && !feed.handle.state().is_terminal())
}
