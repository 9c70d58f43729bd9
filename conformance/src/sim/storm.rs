//! A whole life in bad weather: random servers, random networks, an application that does as it likes, then peace.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_core::settings::{Deflate, Keepalive, Overflow, QueueBounds, parse_duration};
use ropewalk_core::{
    Acknowledge, Coalesce, Config, ConnectionId, Consumer, Expect, Hooks, Instant, Jitter, Lane,
    Message, Offline, PerKey, ReadyStep, Settings, Shutdown, State, Target, Template,
};

use super::whims::{Patience, Whims, draw_processing};
use super::{Chaos, Opening, Sim, Step, Weather, pick};
use crate::scenario::Consuming;
use crate::trace::Trace;

/// What a storm left behind.
#[derive(Debug)]
pub struct Aftermath {
    /// What happened.
    pub trace: Trace,
    /// Which states, classes and ends occurred.
    pub marks: BTreeSet<String>,
    /// Connections that were open again, with nothing left to send, soon after the storm.
    pub survivors: usize,
}

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(20);

/// How long a connection may take, once all servers are well, to be open with an empty queue.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// Lives through one storm.
///
/// # Panics
/// If the core breaks a rule that the ledger knows, or if a living connection does not recover in time once the storm
/// is over, or if the shutdown at the end takes longer than it may.
pub fn storm(seed: u64, weather: Weather) -> Aftermath {
    let mut rng = Jitter::from_state(seed.wrapping_mul(0x9e37_79b9));
    let calm_after = Instant::ORIGIN + STORM;
    let servers = Chaos {
        seed,
        weather,
        calm_after,
        spared: Vec::new(),
    };
    let mut sim = Sim::new(format!("storm {seed} {weather:?}"), seed, servers);
    if rng.next_u64().is_multiple_of(2) {
        sim.lag_timers(Duration::from_millis(3));
    }
    let count = 1 + rng.next_u64() % 3;
    // Apart from the rest, so that what is drawn there stays what it was.
    let mut whims = Jitter::from_state(seed.wrapping_mul(0x9e37_79b9) ^ 0x0b57);
    if whims.next_u64().is_multiple_of(3) {
        sim.share_calls(NonZeroU32::MIN);
    }
    let mut living: Vec<ConnectionId> = (0..count)
        .map(|index| {
            let opening = draw_opening(&mut rng, &mut whims, index);
            let id = sim.open(opening);
            if whims.next_u64().is_multiple_of(2) {
                sim.process(id, Whims::draw(&mut whims, Patience::Ends));
            }
            id
        })
        .collect();
    while sim.now() < calm_after {
        let pause = Duration::from_micros(rng.next_u64() % 800_000);
        sim.run_for(pause);
        redrive(&mut sim, &mut whims, &living);
        meddle(&mut sim, &mut rng, &mut living);
    }
    for id in &living {
        sim.resume(*id);
        sim.consume(*id, Consuming::Yes);
    }
    let deadline = sim.now() + RECOVERY_MAX;
    let recovered = sim.run_while(deadline, |sim| living.iter().any(|id| !is_well(sim, *id)));
    let states: Vec<_> = living
        .iter()
        .map(|id| (sim.state(*id), sim.counters(*id)))
        .collect();
    assert!(
        recovered,
        "storm {seed} {weather:?}: not all recovered: {states:?}\n{}",
        sim.trace()
    );
    let is_open = |id: &&ConnectionId| sim.state(**id) == Some(State::Open);
    let survivors = living.iter().filter(is_open).count();
    let deadline = sim.now() + Duration::from_secs(2);
    sim.shut_down(deadline);
    let ended = sim.run_while(deadline + Duration::from_millis(10), |sim| {
        !sim.set().is_empty()
    });
    assert!(ended, "storm {seed} {weather:?}: the shutdown did not end");
    while sim.now() < deadline + Duration::from_secs(10) && sim.step() == Step::Happened {}
    let marks = sim.marks().clone();
    Aftermath {
        trace: sim.finish(),
        marks,
        survivors,
    }
}

/// Whether a connection is open with nothing left to send, or has ended for good.
fn is_well(sim: &Sim, id: ConnectionId) -> bool {
    match sim.state(id) {
        // Replies stand behind what a slow consumer has not taken yet.
        Some(State::Open) => sim.counters(id).is_some_and(|counters| {
            counters.waiting == 0 && (counters.in_flight_out == 0 || counters.in_flight_in > 0)
        }),
        Some(State::GaveUp | State::Closed) | None => true,
        Some(_) => false,
    }
}

/// Somebody who looks after the dead letters.
fn redrive(sim: &mut Sim, rng: &mut Jitter, living: &[ConnectionId]) {
    for id in living {
        for _ in 0..pick(rng, &[0, 0, 1, 5]) {
            sim.redrive(*id);
        }
    }
}

/// Something that an application does.
fn meddle(sim: &mut Sim, rng: &mut Jitter, living: &mut Vec<ConnectionId>) {
    let Some(&id) = living.get(usize::try_from(rng.next_u64() % 3).expect("less than three"))
    else {
        return;
    };
    match rng.next_u64() % 20 {
        0 => sim.pause(id),
        1..=3 => sim.resume(id),
        4 => sim.retry_now(id),
        5 => sim.consume(id, Consuming::Held),
        6..=8 => sim.consume(id, Consuming::Yes),
        9 if living.len() > 1 => {
            let patience = Duration::from_millis(rng.next_u64() % 2_000);
            let deadline = sim.now() + patience;
            let how = pick(rng, &[Shutdown::Abort, Shutdown::Graceful { deadline }]);
            sim.remove(id, how);
            living.retain(|other| *other != id);
        }
        _ => {
            for _ in 0..1 + rng.next_u64() % 6 {
                // A full queue and an ended connection refuse; both are what the ledger expects then.
                drop(sim.send(id, draw_message(rng)));
            }
        }
    }
}

fn draw_message(rng: &mut Jitter) -> Message {
    let number = rng.next_u64() % 1_000_000;
    let small = number % 7;
    let message = match rng.next_u64() % 8 {
        0 => Message::binary(number.to_be_bytes().repeat(pick(rng, &[0, 1, 20, 200]))),
        1 => Message::text("long ".repeat(pick(rng, &[30, 300]))),
        2 | 3 => Message::text(format!("{small}={number}")),
        4 | 5 => Message::text(format!("{small}:{number}")),
        _ => Message::text(format!("{number}")),
    };
    with_attributes(rng, message)
}

/// The message with a time to live, a lane and so on, by chance.
pub(super) fn with_attributes(rng: &mut Jitter, mut message: Message) -> Message {
    if rng.next_u64().is_multiple_of(4) {
        message = message.idempotent();
    }
    if rng.next_u64().is_multiple_of(4) {
        let ttl = pick(rng, &["0ms", "1ms", "30ms", "800ms", "4s"].map(time));
        message = message.ttl(ttl);
    }
    if rng.next_u64().is_multiple_of(4) {
        message = message.lane(Lane::Priority);
    }
    if rng.next_u64().is_multiple_of(6) {
        message = message.offline(Offline::Refuse);
    }
    message
}

fn draw_opening(rng: &mut Jitter, whims: &mut Jitter, index: u64) -> Opening {
    let host = u32::try_from(index).expect("there are three at most");
    let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + host * 16), 9000));
    let by_name = rng.next_u64().is_multiple_of(2);
    let url = if by_name {
        format!("ws://host{index}.test:9000/feed")
    } else {
        format!("ws://{address}/feed")
    };
    let mut settings = draw_settings(rng);
    settings.processor = draw_processing(whims);
    // Not by chance, so that what is drawn stays what it was.
    if index == 1 {
        settings.deflate = Some(Deflate {
            threshold: 5,
            ..Deflate::default()
        });
    }
    let mut hooks = Hooks {
        coalesce: Some(Coalesce::new(|message| before(b'=', message.as_bytes()))),
        per_key: Some(PerKey::new(|message| message.as_bytes().last().copied())),
        ..Hooks::default()
    };
    if rng.next_u64().is_multiple_of(2) {
        hooks.acknowledge = Some(acknowledge());
    }
    if rng.next_u64().is_multiple_of(3) {
        let login = Template::parse("login").expect("it has no placeholder");
        hooks.ready = vec![
            ReadyStep::Send(login),
            ReadyStep::Expect(Expect::contains("login")),
        ];
    }
    Opening {
        name: format!("c{index}"),
        target: Target::parse(&url).expect("the address makes a URL"),
        urls: vec![url],
        address,
        config: Arc::new(Config::new(settings, hooks).expect("the settings are sound")),
        consumer: pick(rng, &[Consumer::Pull, Consumer::Process]),
        consuming: Consuming::Yes,
        busy: pick(rng, &["0ms", "1ms", "40ms", "900ms"].map(time)),
    }
}

fn draw_settings(rng: &mut Jitter) -> Settings {
    let mut settings = Settings {
        keepalive: pick(
            rng,
            &[
                None,
                Some(Keepalive {
                    interval: time("1s"),
                    timeout: time("1s"),
                }),
            ],
        ),
        stale_after: pick(rng, &[None, Some(time("4s"))]),
        ..Settings::default()
    };
    if settings.keepalive.is_none() {
        // Without it only this notices a server that fell silent.
        settings.stale_after = Some(time("5s"));
    }
    let timeouts = &mut settings.timeouts;
    timeouts.resolve = time("500ms");
    timeouts.connect = time("500ms");
    timeouts.tls = time("500ms");
    timeouts.upgrade = time("800ms");
    timeouts.attempt = time("1s");
    timeouts.ready = time("700ms");
    timeouts.close = time("300ms");
    timeouts.flush_before_close = time("200ms");
    timeouts.write_progress = time("2s");
    timeouts.acknowledge = pick(rng, &["20ms", "200ms", "2s"].map(time));
    settings.backoff.max = time("2s");
    settings.backoff.flap_max = time("4s");
    settings.backoff.stable_after = time("1s");
    settings.batch.count_max = pick(rng, &[1, 3, 8]);
    settings.batch.linger = pick(rng, &["0ms", "5ms", "100ms"].map(time));
    let bounds = [
        QueueBounds {
            items_max: 8,
            bytes_max: 300 << 10,
        },
        QueueBounds::default(),
    ];
    let tight = QueueBounds {
        items_max: 4,
        bytes_max: 200,
    };
    settings.inbound = pick(rng, &bounds);
    let QueueBounds {
        items_max,
        bytes_max,
    } = pick(rng, &[bounds[0], bounds[1], tight]);
    settings.outbound.items_max = items_max;
    settings.outbound.bytes_max = bytes_max;
    settings.outbound.when_full = pick(rng, &OVERFLOWS);
    settings.outbound.linger = pick(rng, &["0ms", "5ms"].map(time));
    settings.retry.initial = time("10ms");
    settings
}

/// Everything that a full queue can do.
pub(super) const OVERFLOWS: [Overflow; 5] = [
    Overflow::Wait,
    Overflow::Reject,
    Overflow::DropOldest,
    Overflow::DropNewest,
    Overflow::Coalesce,
];

/// Requests and replies begin with an identifier and a colon, so that an echo is a reply.
pub(super) fn acknowledge() -> Acknowledge {
    Acknowledge::new(
        |request| before(b':', request.as_bytes()),
        |reply| before(b':', reply.as_bytes()),
    )
}

/// What stands before the first such byte.
pub(super) fn before(separator: u8, payload: &[u8]) -> Option<Bytes> {
    let at = payload.iter().position(|byte| *byte == separator)?;
    Some(Bytes::copy_from_slice(&payload[..at]))
}

pub(super) fn time(text: &str) -> Duration {
    parse_duration(text).expect("it is written as a duration")
}
