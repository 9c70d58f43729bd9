use proptest::prelude::*;

use super::*;

fn bounds(min: u16, max: u16) -> WorkerBounds {
    WorkerBounds { min, max }
}

fn at(seconds: f64) -> Instant {
    Instant::ORIGIN + Duration::from_secs_f64(seconds)
}

/// Calls with a piece of work each on a processor that does `rate(calls)` of each of them in a second. There is always more
/// to do. Returns how many calls ended in a second.
fn throughput(workers: &mut Controlled, rate: impl Fn(f64) -> f64) -> f64 {
    const SECONDS: f64 = 60.0;
    let mut noise = 1_u64;
    // A tenth more or less.
    let mut work = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        0.01 * (0.9 + 0.2 * f64::from((noise >> 40) as u32) / f64::from(1 << 24))
    };
    let (mut now, mut ended) = (0.0, 0);
    let mut running: Vec<(f64, f64)> = Vec::new();
    while now < SECONDS {
        while running.len() < usize::from(workers.limit(at(now))) {
            workers.begin(at(now));
            running.push((now, work()));
        }
        workers.was_reached();
        #[allow(clippy::cast_precision_loss, reason = "there are few")]
        let rate = rate(running.len() as f64);
        let next = running
            .iter()
            .map(|(_, work)| *work)
            .fold(f64::INFINITY, f64::min);
        now += next / rate;
        for call in &mut running {
            call.1 -= next;
        }
        while let Some(index) = running.iter().position(|(_, work)| *work <= 1e-12) {
            let (began, _) = running.swap_remove(index);
            ended += 1;
            let latency = Duration::from_secs_f64(now - began);
            workers.end(at(now), latency, u16::try_from(running.len()).unwrap());
        }
    }
    f64::from(ended) / now
}

/// Workers that adapt, or do not.
struct Controlled(Workers, Option<u16>);

impl Controlled {
    fn limit(&self, now: Instant) -> u16 {
        self.1.unwrap_or_else(|| self.0.limit(now))
    }

    fn begin(&mut self, now: Instant) {
        self.0.begin(now);
    }

    fn was_reached(&mut self) {
        self.0.was_reached();
    }

    fn end(&mut self, now: Instant, latency: Duration, running: u16) {
        self.0.end(now, latency, running);
        let WorkerBounds { min, max } = self.0.bounds;
        assert!((min..=max).contains(&self.0.limit(now)));
    }
}

#[test]
fn adapted_throughput_is_nearly_that_of_the_best_fixed_number() {
    // How much of each of `n` calls is done in a second.
    type Rate = fn(f64) -> f64;
    let profiles: [(&str, Rate); 4] = [
        ("work for two cores", |n| (2.0 / n).min(1.0)),
        ("waits, up to three at once", |n| (3.0 / n).min(1.0)),
        ("latency in proportion to the calls", |n| 1.0 / n),
        ("waits, without a limit", |_| 1.0),
    ];
    for (name, rate) in profiles {
        let workers = |fixed| Controlled(Workers::new(bounds(1, 4)), fixed);
        let best = (1..=4)
            .map(|fixed| throughput(&mut workers(Some(fixed)), rate))
            .fold(0.0, f64::max);
        let adapted = throughput(&mut workers(None), rate);
        println!("{name}: {adapted:.1} a second, {best:.1} at best");
        assert!(adapted >= 0.9 * best, "{name}: {adapted:.1} of {best:.1}");
    }
}

#[test]
fn latency_that_rises_takes_workers_away() {
    let mut workers = Workers::new(bounds(1, 4));
    let mut now = 0.0;
    let mut call = |workers: &mut Workers, latency: f64| {
        workers.begin(at(now));
        workers.was_reached();
        now += latency;
        workers.end(at(now), Duration::from_secs_f64(latency), 1);
        workers.limit(at(now))
    };
    for _ in 0..10 {
        call(&mut workers, 0.1);
    }
    assert_eq!(call(&mut workers, 0.1), 4);
    assert_eq!(call(&mut workers, 0.2), 3);
}

#[test]
fn workers_that_are_never_all_busy_become_no_more() {
    let mut workers = Workers::new(bounds(1, 4));
    for call in 0..100 {
        let now = f64::from(call);
        workers.begin(at(now));
        workers.end(at(now + 0.1), Duration::from_millis(100), 0);
        assert_eq!(workers.limit(at(now + 0.1)), 1);
    }
}

#[test]
fn a_processor_that_was_idle_begins_anew() {
    let mut workers = Workers::new(bounds(1, 4));
    for call in 0..10 {
        workers.begin(at(f64::from(call)));
        workers.was_reached();
        workers.end(at(f64::from(call) + 0.5), Duration::from_millis(500), 0);
    }
    assert_eq!(workers.limit(at(9.5)), 4);
    assert_eq!(workers.limit(at(14.4)), 4);
    assert_eq!(workers.limit(at(14.5)), 1);
    workers.begin(at(20.0));
    assert_eq!(workers.limit(at(20.0)), 1);
    // While a call hangs nothing is idle, however long it takes.
    assert_eq!(workers.limit(at(1_000.0)), 1);
}

#[test]
fn changes_are_told_once_a_second_and_leave_no_gap() {
    let mut workers = Workers::new(bounds(1, 4));
    workers.begin(at(0.0));
    let mut told = Vec::new();
    for call in 1..=20 {
        let now = at(f64::from(call) * 0.1);
        workers.was_reached();
        workers.end(now, Duration::from_millis(100), 1);
        told.extend(workers.poll_scaled(now));
    }
    assert_eq!(told, [Scaled { from: 1, to: 2 }, Scaled { from: 2, to: 4 }]);
}

proptest! {
    #[test]
    fn the_limit_stays_between_its_bounds(
        min in 1_u16..5,
        more in 0_u16..5,
        calls in prop::collection::vec((0_u64..20_000_000, 0_u64..20_000_000, 0_u16..3, any::<bool>()), 0..200),
    ) {
        let mut workers = Workers::new(bounds(min, min + more));
        let mut now = Instant::ORIGIN;
        for (wait, latency, running, was_reached) in calls {
            now += Duration::from_micros(wait);
            workers.begin(now);
            if was_reached {
                workers.was_reached();
            }
            let latency = Duration::from_micros(latency);
            now += latency;
            workers.end(now, latency, running);
            prop_assert!((min..=min + more).contains(&workers.limit(now)));
            prop_assert!((min..=min + more).contains(&workers.limit_while_busy()));
            if running == 0 {
                prop_assert_eq!(workers.limit(now + IDLE), min);
            }
        }
    }
}
