//! Short lives of one connection that are mostly about what it receives.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::settings::{IdleFlush, InvalidFate};
use ropewalk_core::{
    Config, Consumer, Decode, Hooks, Instant, Invalid, Jitter, MessageRef, PerKey, Resume,
    Settings, Shutdown, Target, Urgency, Urgent,
};

use super::storm::time;
use super::whims::{Patience, Whims, draw_processing};
use super::{LinkProfile, Opening, Servers, Sim, Step, pick};
use crate::scenario::Consuming;
use crate::script::{self, DialPlan, Greeting};
use crate::wire::server_frame;

/// What a short life is about to end with, at the latest.
const LIFE_MAX: Duration = Duration::from_secs(5);

/// Longer than a processor has to rest to begin anew.
const REST: Duration = Duration::from_millis(5_100);

/// Lives one short life: some messages, commands and faults, drawn from the seed. Returns what happened in it.
///
/// # Panics
/// If the core breaks a rule that the ledger knows, or does not come to an end.
pub fn inbound_life(seed: u64) -> BTreeSet<String> {
    let mut rng = Jitter::from_state(seed.wrapping_mul(0x9e37_79b9) ^ 0x001b);
    let label = format!("inbound life {seed}");
    let mut sim = Sim::new(label, seed, Talkative { seed });
    if rng.next_u64().is_multiple_of(4) {
        sim.share_calls(pick(
            &mut rng,
            &[1, 2].map(|max| NonZeroU32::MIN.saturating_add(max - 1)),
        ));
    }
    let id = sim.open(opening(&mut rng));
    sim.process(id, Whims::draw(&mut rng, Patience::MayHang));
    for _ in 0..2 + rng.next_u64() % 14 {
        match rng.next_u64() % 24 {
            0 => sim.pause(id),
            1 | 2 => sim.resume(id),
            3 => sim.consume(id, Consuming::Held),
            4 | 5 => sim.consume(id, Consuming::Yes),
            6..=9 => drop(sim.redrive(id)),
            10 => sim.run_for(REST),
            11 | 12 => sim.run_for(Duration::from_micros(rng.next_u64() % 1_500_000)),
            _ => sim.run_for(Duration::from_micros(rng.next_u64() % 30_000)),
        }
    }
    let patience = pick(&mut rng, &["0ms", "20ms", "500ms"].map(time));
    let deadline = sim.now() + patience;
    let ends = [
        Shutdown::Abort,
        Shutdown::Graceful { deadline },
        Shutdown::Graceful { deadline },
        Shutdown::Unread { deadline },
    ];
    sim.remove(id, pick(&mut rng, &ends));
    if rng.next_u64().is_multiple_of(2) {
        sim.redrive(id);
    }
    let last = sim.now() + LIFE_MAX;
    let has_ended = sim.run_while(last, |sim| sim.report(id).is_none());
    assert!(has_ended, "inbound life {seed} does not end");
    while sim.now() < last && sim.step() == Step::Happened {}
    let marks = sim.marks().clone();
    drop(sim.finish());
    marks
}

/// Servers that send numbered messages about a few things, and end.
#[derive(Debug)]
struct Talkative {
    seed: u64,
}

impl Servers for Talkative {
    fn plan(&mut self, _: &str, dial: u32, _: Instant) -> (DialPlan, LinkProfile) {
        let mut rng = Jitter::from_state(self.seed ^ (u64::from(dial) << 40) ^ 0x5a1d);
        rng.next_u64();
        let profile = LinkProfile {
            piece_bytes_max: pick(&mut rng, &[3, 40, 1_500]),
            ..LinkProfile::LOOPBACK
        };
        let mut number = u64::from(dial) * 10;
        let mut steps = vec![script::Step::Upgrade(Vec::new())];
        for _ in 0..rng.next_u64() % 7 {
            let step = match rng.next_u64() % 8 {
                0..=2 => script::Step::Sleep(Duration::from_micros(rng.next_u64() % 30_000)),
                3 => script::Step::SendPing(b"well?".to_vec()),
                kind => {
                    let count = if kind < 6 { 1 } else { 2 + rng.next_u64() % 12 };
                    let frames =
                        (0..count).map(|_| server_frame(0x81, &say(&mut rng, &mut number)));
                    script::Step::SendRaw(frames.collect::<Vec<_>>().concat())
                }
            };
            steps.push(step);
        }
        match rng.next_u64() % 8 {
            0 => steps.push(script::Step::Reset),
            1 => steps.push(script::Step::Eof),
            2 => steps.push(script::Step::Close(Some((1011, String::new())))),
            3 => steps.extend([script::Step::SendRaw(vec![0x83, 0x00]), script::Step::Eof]),
            4 => steps.extend([
                script::Step::SendRaw(vec![0x81, 0x05, b'a']),
                script::Step::Reset,
            ]),
            _ => steps.push(script::Step::Echo),
        }
        let greeting = Greeting::Accept;
        (DialPlan { greeting, steps }, profile)
    }
}

/// A message: what it is about, a number, perhaps a mark, and something to fill it.
fn say(rng: &mut Jitter, number: &mut u64) -> Vec<u8> {
    *number += pick(rng, &[1, 1, 1, 1, 1, 1, 4]);
    let about = pick(rng, &["a", "b", "c", "d"]);
    let mark = pick(rng, &["", "", "", "", "", "?", "!"]);
    let rest = "x".repeat(pick(rng, &[0, 1, 9, 60]));
    format!("{about}{number}{mark}{rest}").into_bytes()
}

fn opening(rng: &mut Jitter) -> Opening {
    let mut settings = Settings {
        processor: draw_processing(rng),
        keepalive: None,
        ..Settings::default()
    };
    settings.inbound.items_max = pick(rng, &[1, 3, 20]);
    settings.inbound.bytes_max = pick(rng, &[10, 100, 10_000]);
    settings.batch.count_max = pick(rng, &[1, 2, 5, 20]).min(settings.inbound.items_max);
    settings.batch.bytes_max = pick(rng, &[8, 70, 10_000]).min(settings.inbound.bytes_max);
    settings.batch.linger = pick(rng, &["0ms", "1ms", "20ms"].map(time));
    settings.batch.idle = pick(rng, &[IdleFlush::AtOnce, IdleFlush::Linger]);
    settings.retry.initial = pick(rng, &["1ms", "15ms"].map(time));
    settings.retry.max = pick(rng, &["15ms", "40ms"].map(time));
    settings.retry.factor = pick(rng, &[1.0, 2.0]);
    settings.retry.attempts_max = pick(rng, &[1, 2, 3]);
    settings.invalid.dead_letter = pick(rng, &[InvalidFate::Count, InvalidFate::DeadLetter]);
    settings.invalid.invalid_max = pick(rng, &[1, 4, 100]);
    settings.timeouts.close = time("10ms");
    settings.timeouts.flush_before_close = time("5ms");
    settings.backoff.floor = time("1ms");
    settings.backoff.first_max = time("10ms");
    settings.backoff.initial = time("1ms");
    settings.backoff.max = time("50ms");
    settings.backoff.flap_max = time("80ms");
    let simple = Opening::simple("a", 0, Settings::default());
    Opening {
        target: Target::parse(&simple.urls[0]).expect("it was parsed before"),
        config: Arc::new(Config::new(settings, hooks(rng)).expect("the settings are sound")),
        consumer: pick(rng, &[Consumer::Pull, Consumer::Process, Consumer::Process]),
        busy: pick(rng, &["0ms", "2ms", "30ms"].map(time)),
        ..simple
    }
}

fn hooks(rng: &mut Jitter) -> Hooks {
    let is_sometimes = |rng: &mut Jitter| rng.next_u64().is_multiple_of(2);
    Hooks {
        per_key: Some(PerKey::new(|message| message.as_bytes().first().copied())),
        decode: is_sometimes(rng).then(|| Decode::new(refuse_marked)),
        urgent: is_sometimes(rng).then(|| Urgent::new(urgency)),
        resume: is_sometimes(rng).then(|| Resume::new(11, number_of)),
        ..Hooks::default()
    }
}

fn refuse_marked(message: MessageRef<'_>) -> Result<(), Invalid> {
    if message.as_bytes().contains(&b'!') {
        return Err("it says so".into());
    }
    Ok(())
}

fn urgency(message: MessageRef<'_>) -> Urgency {
    if message.as_bytes().contains(&b'?') {
        Urgency::AtOnce
    } else {
        Urgency::CanWait
    }
}

fn number_of(message: MessageRef<'_>) -> Option<u64> {
    let digits = message.text().ok()?.get(1..)?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}
