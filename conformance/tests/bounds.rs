//! Bounds in time, in the simulator's clock, for every seed of many.
#![forbid(unsafe_code)]

use std::time::Duration;

use ropewalk_conformance::script::{DialPlan, Greeting, Step};
use ropewalk_conformance::sim::{Always, LinkProfile, Opening, Servers, Sim};
use ropewalk_core::settings::Keepalive;
use ropewalk_core::{ConnectionId, Instant, Settings, State};

const SEEDS: u64 = 1_000;

fn plan(steps: &[Step]) -> DialPlan {
    DialPlan {
        greeting: Greeting::Accept,
        steps: steps.to_vec(),
    }
}

fn always(steps: &[Step]) -> Always {
    Always {
        plan: plan(steps),
        profile: LinkProfile::LOOPBACK,
    }
}

/// One connection with every default, for a while.
fn live(
    seed: u64,
    servers: impl Servers + 'static,
    settings: Settings,
    time: Duration,
) -> (Sim, ConnectionId) {
    let mut sim = Sim::new(format!("seed {seed}"), seed, servers);
    let id = sim.open(Opening::simple("a", 0, settings));
    sim.run_for(time);
    (sim, id)
}

/// How many dials were made within `time` of the first.
fn dials_within(sim: &Sim, id: ConnectionId, time: Duration) -> usize {
    let dials = sim.dials(id);
    dials.iter().filter(|at| **at < dials[0] + time).count()
}

#[track_caller]
fn check_flapping(steps: &[Step]) {
    let ten_minutes = Duration::from_secs(600);
    for seed in 0..SEEDS {
        let (sim, id) = live(seed, always(steps), Settings::default(), ten_minutes);
        let early = dials_within(&sim, id, Duration::from_secs(30));
        let all = dials_within(&sim, id, ten_minutes);
        assert!(early <= 8, "seed {seed}: {early} dials in 30 s");
        assert!(all <= 30, "seed {seed}: {all} dials in ten minutes");
        assert!(all >= 5, "seed {seed}: it has stopped trying after {all}");
    }
}

#[test]
fn a_server_that_accepts_and_hangs_up_is_dialled_8_times_in_30_s_and_30_times_in_ten_minutes() {
    check_flapping(&[Step::Eof]);
}

#[test]
fn a_server_that_opens_and_closes_is_dialled_8_times_in_30_s_and_30_times_in_ten_minutes() {
    check_flapping(&[
        Step::Upgrade(Vec::new()),
        Step::SendText("hello".into()),
        Step::Close(Some((1001, String::new()))),
    ]);
}

#[test]
fn a_server_that_opens_and_resets_is_dialled_8_times_in_30_s_and_30_times_in_ten_minutes() {
    check_flapping(&[
        Step::Upgrade(Vec::new()),
        Step::Sleep(Duration::from_millis(50)),
        Step::Reset,
    ]);
}

/// Falls silent on the first dial after a time that the seed decides.
#[derive(Debug)]
struct FallsSilent {
    after: Duration,
    profile: LinkProfile,
}

impl Servers for FallsSilent {
    fn plan(&mut self, _: &str, dial: u32, _: Instant) -> (DialPlan, LinkProfile) {
        let mut steps = vec![Step::Upgrade(Vec::new())];
        if dial == 1 {
            steps.push(Step::Sleep(self.after));
            steps.push(Step::SendText("the last".into()));
            steps.push(Step::Stall);
        }
        (plan(&steps), self.profile)
    }
}

#[test]
fn a_half_open_server_is_detected_and_redialled_in_time() {
    let keepalive = Keepalive::default();
    for seed in 0..SEEDS {
        let latency = Duration::from_micros(seed % 7 * 1_000);
        let servers = FallsSilent {
            after: Duration::from_millis(seed % 30 * 1_000 + seed),
            profile: LinkProfile {
                latency: (latency, latency + Duration::from_millis(2)),
                ..LinkProfile::LOOPBACK
            },
        };
        let silent_at = Instant::ORIGIN + Duration::from_secs(1) + servers.after;
        let settings = Settings::default();
        let (sim, id) = live(seed, servers, settings, Duration::from_secs(140));
        let history = sim.history(id);
        let opened = history.iter().filter(|(_, state)| *state == State::Open);
        assert!(
            opened.count() >= 2,
            "seed {seed}: never open again: {history:?}"
        );
        let (lost_at, delay) = sim.delays(id)[0];
        let silence_max = keepalive.interval + keepalive.timeout + Duration::from_millis(50);
        assert!(
            lost_at <= silent_at + silence_max,
            "seed {seed}: silent at {silent_at}, noticed at {lost_at}"
        );
        assert!(
            lost_at >= silent_at + keepalive.timeout,
            "seed {seed}: given up too early, at {lost_at}"
        );
        let redialled_at = sim.dials(id)[1];
        assert!(
            redialled_at >= lost_at + delay
                && redialled_at <= lost_at + delay + Duration::from_millis(1),
            "seed {seed}: lost at {lost_at}, to be redialled after {delay:?}, at {redialled_at}"
        );
        assert!(
            delay <= Duration::from_millis(500),
            "seed {seed}: {delay:?}"
        );
    }
}

/// The first delay that follows this end of the first dial.
fn first_delay(seed: u64, steps: &[Step]) -> Duration {
    let (sim, id) = live(
        seed,
        always(steps),
        Settings::default(),
        Duration::from_secs(4),
    );
    sim.delays(id)[0].1
}

#[test]
fn the_servers_hints_bound_the_first_delay() {
    let close = |code| {
        [
            Step::Upgrade(Vec::new()),
            Step::Close(Some((code, String::new()))),
        ]
    };
    let busy = |after: &str| [Step::Status(503, vec![format!("Retry-After: {after}")])];
    let seconds = |low: u64, high: u64| Duration::from_secs(low)..=Duration::from_secs(high);
    for seed in 0..100 {
        for (steps, range) in [
            (close(1012).to_vec(), seconds(5, 30)),
            (close(1013).to_vec(), seconds(30, 31)),
            (busy("7").to_vec(), seconds(7, 10)),
            (busy("99999999999").to_vec(), seconds(3_600, 4_321)),
            (busy("-4").to_vec(), seconds(0, 2)),
            (busy("soon").to_vec(), seconds(0, 1)),
        ] {
            let delay = first_delay(seed, &steps);
            assert!(
                range.contains(&delay),
                "seed {seed}: {steps:?} gives {delay:?}"
            );
        }
    }
}

#[test]
fn an_idle_open_connection_wakes_for_its_keepalive_only() {
    let steps = [Step::Upgrade(Vec::new())];
    let hour = Duration::from_secs(3_600);
    let mut sim = Sim::new("idle", 1, always(&steps));
    let id = sim.open(Opening::simple("a", 0, Settings::default()));
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.state(id), Some(State::Open));
    let before = sim.timeouts_fired();
    sim.run_for(hour);
    let fired = sim.timeouts_fired() - before;
    // Each ping is one wake-up, and one more finds that its deadline has moved.
    assert!(
        (170..=2 * 180 + 2).contains(&fired),
        "{fired} wake-ups in an hour"
    );
}
