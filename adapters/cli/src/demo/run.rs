//! The run itself, on whichever runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk_core::Stage;
use ropewalk_core::settings::InvalidFate;
use ropewalk_core::settings::format_duration;
use ropewalk_driver::{ConnectionHandle, Fleet, Letters, Report, Runtime};

use super::client::{self, Application, Treatment};
use super::gauges::Processing;
use super::ledger::{Fate, Ledger};
use super::letters::{self, LettersOutcome, Listing};
use super::outcome::{Outcome, Row, Totals, miscounted};
use super::progress::{Progress, Standing};
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
    pub(super) audience: Audience,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// As it happens.
    People,
    /// At the end, once.
    Program,
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
    treatment: Treatment,
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
        let mut show = Show::<R>::open(&self, &server, begun)?;
        while begun.elapsed() < self.time && self.stop.asked().is_none() {
            let left = self.time.saturating_sub(begun.elapsed());
            within::<R, _>(left.min(LOOK_EVERY), self.stop.wait()).await;
            show.show("hostile").await;
        }
        server.stop_faults();
        let produced = server.report();
        let deadline = Instant::now() + CATCH_UP_MAX;
        while Instant::now() < deadline && is_behind(&show.feeds, &produced) {
            sleep::<R>(LOOK_EVERY).await;
            show.show("catching up").await;
        }
        let letters = show.redrive(&produced, self.audience).await?;

        show.progress.clear();
        let report = show.fleet.shutdown(SHUTDOWN_MAX).await;
        let seconds = begun.elapsed().as_secs_f64();
        let Show {
            fleet,
            feeds,
            application,
            ..
        } = show;
        drop(fleet);
        let processing = application.gauges.read();
        let come = Come {
            feeds,
            report,
            server: server.stop(),
            processing,
            letters,
        };
        Ok(self.outcome(come, seconds))
    }
}

/// What runs while people watch.
struct Show<R: Runtime> {
    fleet: Fleet<R>,
    feeds: Vec<Feed>,
    application: Arc<Application>,
    progress: Progress,
    begun: Instant,
}

impl<R: Runtime> Show<R> {
    fn open(demo: &Demo, server: &DemoServer, begun: Instant) -> Result<Self, Failure> {
        let builder = Fleet::<R>::builder()
            .admission(client::admission())
            .letter_store(letters::store());
        let fleet = builder.build().map_err(Failure::runtime)?;
        let application = Arc::new(Application::default());
        let (noting, events) = (Arc::clone(&application), fleet.events());
        R::spawn(async move { noting.gauges.note_events(events).await });
        let feeds = open(&fleet, server, demo.connections, &application)?;
        let ledgers = feeds
            .iter()
            .map(|feed| (feed.name.clone(), Arc::clone(&feed.ledger)))
            .collect();
        R::spawn(note_letters(fleet.letters(), ledgers));
        Ok(Self {
            fleet,
            feeds,
            application,
            progress: Progress::start(demo.time),
            begun,
        })
    }

    async fn show(&mut self, phase: &'static str) {
        if self.progress.is_visible() {
            self.progress.show(&Standing {
                elapsed: self.begun.elapsed(),
                phase,
                connections: &self.fleet.snapshot().await,
                processing: self.application.gauges.read(),
                letters: self.fleet.letters().counts().unwrap_or_default(),
            });
        }
    }

    /// Lists the dead letters, mends what made them, and sends them back.
    async fn redrive(
        &mut self,
        produced: &ServerReport,
        audience: Audience,
    ) -> Result<LettersOutcome, Failure> {
        let letters = self.fleet.letters();
        letters::stored::<R>(&letters, letters_of(&self.feeds, produced)).await;
        let listing = Listing::read(&letters).await.map_err(Failure::runtime)?;
        let rate = letters::rate(listing.len());
        match audience {
            Audience::People => self.progress.println(&format!(
                "{listing}\nThe processors are mended. Redriving all of these, {rate} a second.\n\n"
            )),
            Audience::Program => {}
        }
        self.application.mend();
        let redriven =
            letters::redrive::<R>(&letters, rate, async |_| self.show("redriving").await)
                .await
                .map_err(Failure::runtime)?;
        LettersOutcome::read(&letters, listing, redriven, rate)
            .await
            .map_err(Failure::runtime)
    }
}

/// What there is to judge at the end.
struct Come {
    feeds: Vec<Feed>,
    report: Report,
    server: ServerReport,
    processing: Processing,
    letters: LettersOutcome,
}

impl Demo {
    fn outcome(&self, come: Come, seconds: f64) -> Outcome {
        let Come {
            feeds,
            report,
            server,
            processing,
            letters,
        } = come;
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
            processing,
            letters,
            process: Usage::now(),
            miscounted: Vec::new(),
        };
        let reports: BTreeMap<&str, _> = report
            .connections
            .iter()
            .map(|named| (&*named.name, &named.report))
            .collect();
        for (feed, books) in feeds.iter().zip(&server.feeds) {
            let audit = feed.ledger.audit(books, feed.treatment.invalid);
            let report = reports.get(feed.name.as_str());
            let counters = report.map(|report| report.counters).unwrap_or_default();
            outcome
                .miscounted
                .extend(miscounted(&feed.name, &audit, &counters));
            outcome.lost += audit.lost.len() as u64;
            outcome.duplicates += audit.duplicates;
            outcome.misjudged += audit.misjudged;
            outcome.letters.missing += audit.letters_missing;
            outcome.letters.repeated += audit.letters_repeated;
            outcome.sockets += counters.dials;
            outcome.connections.push(Row {
                name: feed.name.clone(),
                totals: Totals::new(&audit, &counters),
                state: report.map_or("dropped", |report| report.state.name()),
                lost: audit.lost,
            });
        }
        outcome.totals = outcome.connections.iter().map(|row| row.totals).sum();
        outcome
    }
}

fn open<R: Runtime>(
    fleet: &Fleet<R>,
    server: &DemoServer,
    connections: usize,
    application: &Arc<Application>,
) -> Result<Vec<Feed>, Failure> {
    let feeds = (0..connections).map(|number| {
        let name = format!("feed-{number}");
        let ledger = Arc::new(Ledger::default());
        let (url, treatment) = (server.url(number), Treatment::of(number));
        let connect = client::connect::<R>(&name, &url, treatment, &ledger, application);
        let handle = fleet.open(connect.map_err(Failure::runtime)?);
        Ok(Feed {
            name,
            treatment,
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
            let number = client::number_in(&letter.letter.payload);
            match letter.letter.stage {
                Stage::Business => ledger.note(number, Fate::Dead),
                Stage::Protocol => ledger.note(number, Fate::Kept),
                // Nothing is sent but the ready script.
                Stage::Network => ledger.note(None, Fate::Dead),
            }
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

/// How many letters there are to be.
fn letters_of(feeds: &[Feed], produced: &ServerReport) -> u64 {
    let letters = feeds.iter().zip(&produced.feeds).map(|(feed, books)| {
        let kept = match feed.treatment.invalid {
            InvalidFate::Count => 0,
            InvalidFate::DeadLetter => books.malformed.len(),
        };
        (books.poison.len() + kept) as u64
    });
    letters.sum()
}
