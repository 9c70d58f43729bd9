//! The demo's application: what it asks of a connection and what it makes of messages.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::settings::{Keepalive, format_duration};
use ropewalk_core::{AdmissionLimits, MessageRef, Reply, Settings, Verdict};
use ropewalk_driver::{Batch, Connect, InvalidConnect};
use serde::Deserialize;

use super::ledger::{Fate, Ledger};

/// Redials a second: a person is watching, and the server is on this machine.
const REDIALS: u32 = 100;

/// What a busy message is told to wait.
const BUSY: Duration = Duration::from_millis(20);

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
pub(super) fn connect(
    name: &str,
    url: &str,
    ledger: &Arc<Ledger>,
) -> Result<Connect, InvalidConnect> {
    let (filtering, processing) = (Arc::clone(ledger), Arc::clone(ledger));
    let connect = Connect::to(url)?
        .named(name)
        .settings(settings())
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
                Err(error.to_string().into())
            }
        })
        .process(move |batch: Batch| {
            let ledger = Arc::clone(&processing);
            async move {
                let attempt = batch.attempt();
                batch.judge(|message| judge(message, attempt, &ledger))
            }
        });
    connect.check()
}

fn judge(message: MessageRef<'_>, attempt: u32, ledger: &Ledger) -> Verdict {
    match tick(message) {
        Ok(Tick {
            kind: Kind::Busy, ..
        }) if attempt == 1 => Verdict::retry_after(BUSY),
        Ok(Tick {
            kind: Kind::Tick | Kind::Busy,
            seq,
            ..
        }) => {
            ledger.note(Some(seq), Fate::Delivered);
            Verdict::Ack
        }
        // Its fate is noted when the letter arrives.
        Ok(Tick {
            kind: Kind::Poison, ..
        }) => Verdict::reject("poison"),
        Err(_) if is_reply(message) => {
            ledger.note_reply();
            Verdict::Ack
        }
        Err(error) => Verdict::reject(error),
    }
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
fn settings() -> Settings {
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
    let settings = settings();
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
