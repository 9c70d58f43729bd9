//! Short lives of one connection that are mostly about its outbound queue.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::settings::Reconnect;
use ropewalk_core::{
    Coalesce, Config, Hooks, Instant, Jitter, Message, Settings, Shutdown, Target,
};

use super::storm::{OVERFLOWS, acknowledge, before, time, with_attributes};
use super::{LinkProfile, Opening, Servers, Sim, Step, pick};
use crate::script::{self, DialPlan, Greeting};

/// What a short life is about to end with, at the latest.
const LIFE_MAX: Duration = Duration::from_secs(5);

/// Lives one short life: a dozen commands and faults, drawn from the seed. Returns which ends messages came to.
///
/// # Panics
/// If the core breaks a rule that the ledger knows, or does not come to an end.
pub fn short_life(seed: u64) -> std::collections::BTreeSet<String> {
    let mut rng = Jitter::from_state(seed.wrapping_mul(0x9e37_79b9) ^ 0x0b0e);
    let mut sim = Sim::new(format!("short life {seed}"), seed, Moody { seed });
    let id = sim.open(opening(&mut rng));
    for _ in 0..2 + rng.next_u64() % 14 {
        match rng.next_u64() % 16 {
            0 => sim.pause(id),
            1 => sim.resume(id),
            2 => sim.retry_now(id),
            3 => sim.run_for(Duration::from_micros(rng.next_u64() % 1_500_000)),
            4..=6 => sim.run_for(Duration::from_micros(rng.next_u64() % 30_000)),
            _ => {
                let message = draw_message(&mut rng);
                // What is refused is for the ledger to judge.
                drop(sim.send(id, message));
            }
        }
    }
    let patience = pick(&mut rng, &["0ms", "20ms", "500ms"].map(time));
    let deadline = sim.now() + patience;
    let how = pick(
        &mut rng,
        &[Shutdown::Abort, Shutdown::Graceful { deadline }],
    );
    sim.remove(id, how);
    let last = sim.now() + LIFE_MAX;
    let has_ended = sim.run_while(last, |sim| sim.report(id).is_none());
    assert!(has_ended, "short life {seed} does not end");
    while sim.now() < last && sim.step() == Step::Happened {}
    let marks = sim.marks().clone();
    drop(sim.finish());
    marks
}

/// Servers that take little, echo, and end.
#[derive(Debug)]
struct Moody {
    seed: u64,
}

impl Servers for Moody {
    fn plan(&mut self, _: &str, dial: u32, _: Instant) -> (DialPlan, LinkProfile) {
        let mut rng = Jitter::from_state(self.seed ^ (u64::from(dial) << 40) ^ 0x5eed);
        rng.next_u64();
        let profile = LinkProfile {
            write_bytes_max: pick(&mut rng, &[1, 3, 11, usize::MAX]),
            // A request fills a smaller one for good where the server reads nothing.
            window_bytes: pick(&mut rng, &[7, 40, 250, 4_096]),
            piece_bytes_max: pick(&mut rng, &[3, 1_500]),
            ..LinkProfile::LOOPBACK
        };
        let sleep = script::Step::Sleep(Duration::from_micros(rng.next_u64() % 40_000));
        let mut steps = vec![script::Step::Upgrade(Vec::new())];
        let end = [
            vec![script::Step::Stall, sleep.clone(), script::Step::Reset],
            vec![
                script::Step::SendText("3:unasked".into()),
                sleep.clone(),
                script::Step::Eof,
            ],
            vec![sleep.clone(), script::Step::Close(None)],
            vec![sleep, script::Step::Reset],
            vec![script::Step::Echo],
            vec![script::Step::Echo],
        ];
        let at = usize::try_from(rng.next_u64() % end.len() as u64).expect("there are six");
        steps.extend(end[at].clone());
        let greeting = Greeting::Accept;
        (DialPlan { greeting, steps }, profile)
    }
}

fn opening(rng: &mut Jitter) -> Opening {
    let mut settings = Settings::default();
    settings.outbound.items_max = pick(rng, &[1, 2, 5]);
    settings.outbound.bytes_max = pick(rng, &[4, 30, 1_000]);
    settings.outbound.when_full = pick(rng, &OVERFLOWS);
    settings.outbound.linger = pick(rng, &["0ms", "0ms", "2ms", "20ms"].map(time));
    settings.timeouts.acknowledge = pick(rng, &["1ms", "15ms", "1s"].map(time));
    settings.timeouts.close = time("10ms");
    settings.timeouts.flush_before_close = time("5ms");
    settings.backoff.floor = time("1ms");
    settings.backoff.first_max = time("10ms");
    settings.backoff.initial = time("1ms");
    settings.backoff.max = time("10ms");
    settings.backoff.flap_max = time("20ms");
    if rng.next_u64().is_multiple_of(8) {
        settings.reconnect = Reconnect::Never;
    }
    let mut hooks = Hooks {
        coalesce: Some(Coalesce::new(|message| before(b'=', message.as_bytes()))),
        ..Hooks::default()
    };
    if rng.next_u64().is_multiple_of(2) {
        hooks.acknowledge = Some(acknowledge());
    }
    let simple = Opening::simple("a", 0, Settings::default());
    Opening {
        target: Target::parse(&simple.urls[0]).expect("it was parsed before"),
        config: Arc::new(Config::new(settings, hooks).expect("the settings are sound")),
        ..simple
    }
}

fn draw_message(rng: &mut Jitter) -> Message {
    let small = rng.next_u64() % 3;
    let rest = "x".repeat(pick(rng, &[0, 1, 9, 40]));
    let message = match rng.next_u64() % 4 {
        0 => Message::text(format!("{small}={rest}")),
        1 | 2 => Message::text(format!("{small}:{rest}")),
        _ => Message::binary(rest.into_bytes()),
    };
    with_attributes(rng, message)
}
