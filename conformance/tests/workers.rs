//! The number of workers finds what a processor can do, through the whole core: batches, queues and back-pressure included.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use ropewalk_conformance::script::{DialPlan, Greeting, Step};
use ropewalk_conformance::sim::{Always, Call, LinkProfile, Opening, Processor, Sim};
use ropewalk_core::settings::{Order, ProcessorSettings, WorkerBounds};
use ropewalk_core::{Batch, Config, Consumer, Hooks, Instant, Jitter, Settings};

/// How much slower a call is when so many run.
type Slowness = fn(f64) -> f64;

/// What one message costs a call that runs alone.
const WORK: Duration = Duration::from_millis(10);

/// How long a processor is watched.
const WATCHED: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Machine {
    slowness: Slowness,
    running_until: Vec<Instant>,
    rng: Jitter,
}

impl Processor for Machine {
    fn call(&mut self, now: Instant, batch: &Batch) -> Call {
        self.running_until.retain(|until| *until > now);
        let running = u32::try_from(self.running_until.len() + 1).expect("there are few");
        let messages = u32::try_from(batch.len()).expect("batches are small");
        // A tenth more or less.
        let noise = self
            .rng
            .between(Duration::from_millis(900), Duration::from_millis(1_100));
        let factor = (self.slowness)(f64::from(running)) * noise.as_secs_f64();
        let takes = (WORK * messages).mul_f64(factor);
        self.running_until.push(now + takes);
        Call {
            takes: Some(takes),
            verdicts: Vec::new(),
        }
    }
}

/// How many messages the processor is done with, of a server that always has more.
fn throughput(slowness: Slowness, workers: WorkerBounds, order: Order) -> u64 {
    let text = |number: u32| Step::SendText(format!("{}{number}", number % 97));
    let mut steps = vec![Step::Upgrade(Vec::new()), Step::Cork];
    steps.extend((0..7_000).map(text));
    steps.extend([Step::Uncork, Step::Echo]);
    let greeting = Greeting::Accept;
    let servers = Always {
        plan: DialPlan { greeting, steps },
        profile: LinkProfile::LOOPBACK,
    };
    let mut settings = Settings {
        processor: ProcessorSettings { workers, order },
        ..Settings::default()
    };
    settings.inbound.items_max = 64;
    settings.batch.count_max = 4;
    let per_key = ropewalk_core::PerKey::new(|message| message.as_bytes().first().copied());
    let hooks = Hooks {
        per_key: Some(per_key),
        ..Hooks::default()
    };
    let mut sim = Sim::new(format!("workers {workers:?}"), 1, servers);
    let id = sim.open(Opening {
        config: Arc::new(Config::new(settings, hooks).expect("the settings are sound")),
        consumer: Consumer::Process,
        ..Opening::simple("a", 0, Settings::default())
    });
    sim.process(
        id,
        Machine {
            slowness,
            running_until: Vec::new(),
            rng: Jitter::from_state(5),
        },
    );
    sim.run_for(WATCHED);
    let counters = sim.counters(id).expect("it lives");
    assert!(counters.in_flight_in > 0, "there was not always more");
    counters.delivered
}

#[test]
fn adapted_throughput_is_nearly_that_of_the_best_fixed_number() {
    let profiles: [(&str, Slowness); 4] = [
        ("work for two cores", |calls| (calls / 2.0).max(1.0)),
        ("waits, up to three at once", |calls| (calls / 3.0).max(1.0)),
        ("latency in proportion to the calls", |calls| calls),
        ("waits, without a limit", |_| 1.0),
    ];
    for order in [Order::None, Order::PerKey] {
        for (name, slowness) in profiles {
            let count = |min, max| throughput(slowness, WorkerBounds { min, max }, order);
            let best = (1..=4).map(|fixed| count(fixed, fixed)).max();
            let best = best.expect("there are four");
            let adapted = count(1, 4);
            println!("{order:?}, {name}: {adapted}, and {best} at best");
            assert!(adapted * 10 >= best * 9, "{name}: {adapted} of {best}");
        }
    }
}
