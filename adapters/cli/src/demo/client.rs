//! The demo's application: what it asks of a connection and what it makes of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ropewalk_core::settings::{InvalidFate, Keepalive, format_duration};
use ropewalk_core::{AdmissionLimits, MessageRef, Reply, Settings, Verdict};
use ropewalk_driver::{Batch, Connect, InvalidConnect, Runtime, WorkerBounds};
use serde::Deserialize;

use super::gauges::{Calls, Gauges, WORKERS_MAX, WORKERS_MIN};
use super::ledger::{Fate, Ledger};
use crate::deadline::sleep;

/// Redials a second: a person is watching, and the server is on this machine.
const REDIALS: u32 = 100;

/// What a busy message is told to wait.
const BUSY: Duration = Duration::from_millis(20);

/// What a call takes where several may run at once: as if a database were asked.
const WORK: Duration = Duration::from_millis(20);

/// Between how many messages those in order by key are spread.
const KEYS: u64 = 16;

/// What the application knows, whichever connection a message came over.
#[derive(Debug, Default)]
pub(super) struct Application {
    pub(super) gauges: Gauges,
    /// Whether its processors take what they refused before.
    mended: AtomicBool,
}

impl Application {
    /// From now on the processors take poison, and prices in any form.
    pub(super) fn mend(&self) {
        self.mended.store(true, Relaxed);
    }
}

/// How the application treats a feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    order: Order,
    /// What becomes of messages that the schema refuses.
    pub(super) invalid: InvalidFate,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// One call at a time.
    Strict,
    /// Several calls at once, each with messages of other keys.
    PerKey,
}

impl Treatment {
    /// A third of the feeds is processed by several workers; every fifth keeps invalid messages as dead letters.
    pub(super) fn of(feed: usize) -> Self {
        Self {
            order: match feed % 3 {
                1 => Order::PerKey,
                _ => Order::Strict,
            },
            invalid: match feed % 5 {
                0 => InvalidFate::DeadLetter,
                _ => InvalidFate::Count,
            },
        }
    }
}

/// A message of the schema.
#[derive(Deserialize)]
struct Tick {
    seq: u64,
    kind: Kind,
    #[serde(rename = "price")]
    _price: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Tick,
    Busy,
    Poison,
}

/// What can be found in any message.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// A connection to a feed that notes in its ledger what becomes of each message.
pub(super) fn connect<R: Runtime>(
    name: &str,
    url: &str,
    treatment: Treatment,
    ledger: &Arc<Ledger>,
    application: &Arc<Application>,
) -> Result<Connect, InvalidConnect> {
    let (filtering, processing) = (Arc::clone(ledger), Arc::clone(ledger));
    let application = Arc::clone(application);
    let calls = Arc::new(Calls::at_most(match treatment.order {
        Order::Strict => 1,
        Order::PerKey => WORKERS_MAX,
    }));
    let connect = Connect::to(url)?
        .named(name)
        .settings(settings(treatment))
        .ready(r#"{"op":"resume","from":${next}}"#)
        .expect(|message| {
            if is_reply(message) {
                Reply::Accepted
            } else {
                Reply::Other
            }
        })
        .resume(1, number)
        .decode(move |message| match tick(message) {
            Ok(_) => Ok(()),
            Err(_) if is_reply(message) => Ok(()),
            Err(error) => {
                filtering.note(number(message), Fate::Filtered);
                Err(reason(&error).into())
            }
        })
        .process(move |batch: Batch| {
            let (ledger, application) = (Arc::clone(&processing), Arc::clone(&application));
            let calls = Arc::clone(&calls);
            async move {
                let _call = application.gauges.begin(&calls, batch.len());
                match treatment.order {
                    Order::Strict => {}
                    Order::PerKey => sleep::<R>(WORK).await,
                }
                let (attempt, origin) = (batch.attempt(), Origin::of(&batch));
                batch.judge(|message| judge(message, attempt, origin, &ledger, &application))
            }
        });
    let connect = match treatment.order {
        Order::Strict => connect,
        Order::PerKey => connect
            .per_key(|message| number(message).map(|number| number % KEYS))
            .workers(WorkerBounds {
                min: WORKERS_MIN,
                max: WORKERS_MAX,
            }),
    };
    connect.check()
}

/// Where a message comes from.
#[derive(Clone, Copy)]
enum Origin {
    Socket,
    /// It was a dead letter.
    Letter,
}

impl Origin {
    fn of(batch: &Batch) -> Self {
        batch.letter().map_or(Self::Socket, |_| Self::Letter)
    }
}

fn judge(
    message: MessageRef<'_>,
    attempt: u32,
    origin: Origin,
    ledger: &Ledger,
    application: &Application,
) -> Verdict {
    match (origin, tick(message)) {
        // Letters go past the decoder, which has seen them before.
        (Origin::Letter, _) if application.mended.load(Relaxed) => {
            ledger.note(number(message), Fate::Redriven);
            Verdict::Ack
        }
        (Origin::Letter, _) => Verdict::reject("nothing has changed"),
        (
            Origin::Socket,
            Ok(Tick {
                kind: Kind::Busy, ..
            }),
        ) if attempt == 1 => {
            application.gauges.note_retry();
            Verdict::retry_after(BUSY)
        }
        (
            Origin::Socket,
            Ok(Tick {
                kind: Kind::Tick | Kind::Busy,
                seq,
                ..
            }),
        ) => {
            ledger.note(Some(seq), Fate::Delivered);
            Verdict::Ack
        }
        // Its fate is noted when the letter arrives.
        (
            Origin::Socket,
            Ok(Tick {
                kind: Kind::Poison, ..
            }),
        ) => Verdict::reject("poison"),
        (Origin::Socket, Err(_)) if is_reply(message) => {
            ledger.note_reply();
            Verdict::Ack
        }
        (Origin::Socket, Err(error)) => Verdict::reject(error),
    }
}

/// What is wrong, without where: the same for all messages that have it.
fn reason(error: &serde_json::Error) -> Box<str> {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].into()
}

/// Whether it is the server's word that it resumes, the reply that the ready script waits for.
fn is_reply(message: MessageRef<'_>) -> bool {
    message.as_bytes().starts_with(br#"{"op":"resumed","#)
}

fn tick(message: MessageRef<'_>) -> Result<Tick, serde_json::Error> {
    serde_json::from_slice(message.as_bytes())
}

fn number(message: MessageRef<'_>) -> Option<u64> {
    number_in(message.as_bytes())
}

/// The number of a message, whatever else is wrong with it.
pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    serde_json::from_slice(payload)
        .ok()
        .map(|Numbered { seq }| seq)
}

/// Everything quicker than the defaults.
fn settings(treatment: Treatment) -> Settings {
    let mut settings = Settings::default();
    let ms = Duration::from_millis;
    settings.backoff.initial = ms(50);
    settings.backoff.floor = ms(50);
    settings.backoff.first_max = ms(50);
    settings.backoff.max = ms(1_000);
    settings.backoff.flap_max = ms(1_000);
    settings.backoff.stable_after = ms(1_000);
    settings.timeouts.upgrade = ms(500);
    settings.keepalive = Some(Keepalive {
        interval: ms(300),
        timeout: ms(300),
    });
    // One in two hundred is malformed, and a busy feed that catches up brings many a minute.
    settings.invalid.invalid_max = 10_000;
    settings.invalid.dead_letter = treatment.invalid;
    settings
}

/// What the connections share.
pub(super) fn admission() -> AdmissionLimits {
    let redials = std::num::NonZeroU32::MIN.saturating_add(REDIALS - 1);
    AdmissionLimits {
        redial_burst: redials,
        redial_rate_min: redials,
        ..AdmissionLimits::default()
    }
}

/// The settings that differ from the library's defaults, for people.
pub(super) fn describe() -> String {
    let settings = settings(Treatment::of(0));
    let (backoff, timeouts) = (&settings.backoff, &settings.timeouts);
    let keepalive = settings.keepalive.map_or_else(String::new, |keepalive| {
        format!(
            "; pings after {}, {} for the answer",
            format_duration(keepalive.interval),
            format_duration(keepalive.timeout)
        )
    });
    format!(
        "backoff {} to {}, stable after {}, {REDIALS} redials a second; {} for an upgrade{keepalive}",
        format_duration(backoff.initial),
        format_duration(backoff.max),
        format_duration(backoff.stable_after),
        format_duration(timeouts.upgrade),
    )
}
