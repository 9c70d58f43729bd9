//! What is wrong with one connection does not show in another's trace.
#![forbid(unsafe_code)]

use std::time::Duration;

use ropewalk_conformance::script::{DialPlan, Greeting, Step};
use ropewalk_conformance::sim::{Chaos, LinkProfile, Opening, Servers, Sim, Weather};
use ropewalk_conformance::trace::Trace;
use ropewalk_core::{Instant, Message, Settings};

/// `b`'s server does the same things in every run; all others do anything.
#[derive(Debug)]
struct OneIsSteady(Chaos);

impl Servers for OneIsSteady {
    fn plan(&mut self, connection: &str, dial: u32, now: Instant) -> (DialPlan, LinkProfile) {
        if connection != "b" {
            return self.0.plan(connection, dial, now);
        }
        let mut steps = vec![
            Step::Upgrade(Vec::new()),
            Step::SendText(format!("dial {dial}")),
            Step::ExpectText(format!("message {dial}")),
            Step::Sleep(Duration::from_millis(100)),
        ];
        match dial % 4 {
            0 => steps.push(Step::Eof),
            1 => steps.push(Step::Reset),
            2 => steps.push(Step::Close(Some((1011, String::new())))),
            _ => steps.extend([Step::SendRaw(vec![0x81, 0x02, b'c']), Step::Eof]),
        }
        let plan = DialPlan {
            greeting: if dial.is_multiple_of(5) {
                Greeting::Refuse
            } else {
                Greeting::Accept
            },
            steps: if dial.is_multiple_of(5) {
                Vec::new()
            } else {
                steps
            },
        };
        (plan, LinkProfile::LOOPBACK)
    }
}

/// The trace of `b`, beside so many faulty neighbours.
fn trace_of_b(seed: u64, neighbours: u32) -> Trace {
    let chaos = Chaos {
        seed,
        weather: Weather::Storm,
        calm_after: Instant::FAR_FUTURE,
        spared: Vec::new(),
    };
    let mut sim = Sim::new(format!("isolation {seed}"), seed, OneIsSteady(chaos));
    let mut settings = Settings::default();
    settings.backoff.max = Duration::from_secs(1);
    settings.backoff.flap_max = Duration::from_secs(1);
    settings.timeouts.close = Duration::from_millis(300);
    let b = sim.open(Opening::simple("b", 0, settings.clone()));
    for index in 1..=neighbours {
        sim.open(Opening::simple(
            &format!("a{index}"),
            index,
            settings.clone(),
        ));
    }
    // One message for each of the first dials that is not refused.
    for dial in (1..30).filter(|dial| dial % 5 != 0) {
        sim.send(b, Message::text(format!("message {dial}")))
            .expect("it is alive and its queue empty");
        let sent = |sim: &Sim| {
            sim.counters(b)
                .is_some_and(|counters| counters.waiting == 0)
        };
        let deadline = sim.now() + Duration::from_secs(600);
        assert!(
            sim.run_while(deadline, |sim| !sent(sim)),
            "seed {seed}: dial {dial}"
        );
        let next = sim.counters(b).expect("it is alive").sessions;
        assert!(sim.run_while(deadline, |sim| {
            sim.counters(b)
                .is_some_and(|counters| counters.sessions == next)
        }));
    }
    assert!(
        sim.problems()
            .iter()
            .all(|problem| !problem.starts_with("b#"))
    );
    sim.trace().of_connection("b")
}

#[test]
fn faulty_neighbours_leave_no_mark_on_a_connection() {
    for seed in 0..20 {
        let alone = trace_of_b(seed, 0);
        let beside = trace_of_b(seed, 4);
        assert_eq!(alone.difference(&beside), None, "seed {seed}");
    }
}
