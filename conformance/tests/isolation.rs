//! What is wrong with one connection does not show in another's trace.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_conformance::script::{DialPlan, Greeting, Step};
use ropewalk_conformance::sim::{
    Call, Chaos, LinkProfile, Opening, Processor, Servers, Sim, Weather,
};
use ropewalk_conformance::trace::Trace;
use ropewalk_core::{Batch, ConnectionId, Consumer, Instant, Message, Settings, Shutdown, Verdict};

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

/// What is wrong with the neighbour's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    /// All of its batches fail, as the driver has it after a panic.
    Panics,
    Hangs,
    FailsOneInAHundred,
    /// A call begins before the connection is told to end, and ends long after it had to.
    ReturnsAfterTheEnd,
}

impl Processor for Bad {
    fn call(&mut self, _: Instant, batch: &Batch) -> Call {
        let verdicts = batch.iter().map(|message| match self {
            Self::Panics => Verdict::reject("the processor panicked"),
            Self::FailsOneInAHundred if is_hundredth(message.as_bytes()) => {
                Verdict::reject("one in a hundred")
            }
            Self::FailsOneInAHundred | Self::Hangs | Self::ReturnsAfterTheEnd => Verdict::Ack,
        });
        Call {
            takes: match self {
                Self::Hangs => None,
                Self::ReturnsAfterTheEnd => Some(Duration::from_millis(700)),
                Self::Panics | Self::FailsOneInAHundred => Some(Duration::from_millis(1)),
            },
            verdicts: verdicts.collect(),
        }
    }
}

fn is_hundredth(payload: &[u8]) -> bool {
    payload.ends_with(b"07")
}

/// Keeps which message came to it when, and is busy for longer than the next message takes to come.
#[derive(Debug, Default)]
struct Diary(Arc<Mutex<Vec<Entry>>>);

/// When a message was handed over, when it was received, and what it is.
type Entry = (Instant, Instant, Vec<u8>);

impl Processor for Diary {
    fn call(&mut self, now: Instant, batch: &Batch) -> Call {
        let mut entries = self.0.lock().expect("nobody panics with it");
        let messages = batch.iter();
        entries.extend(messages.map(|it| (now, it.received_at(), it.as_bytes().to_vec())));
        Call {
            takes: Some(Duration::from_millis(3)),
            verdicts: Vec::new(),
        }
    }
}

/// Messages, and pings that are to be answered, of which the bad one's fit into its queue.
#[derive(Debug)]
struct Steady;

const OF_BAD: u32 = 900;
const OF_GOOD: u32 = 300;

impl Servers for Steady {
    fn plan(&mut self, connection: &str, _: u32, _: Instant) -> (DialPlan, LinkProfile) {
        let (messages, at_once) = match connection {
            "good" => (OF_GOOD, 1),
            _ => (OF_BAD, 30),
        };
        let mut steps = vec![Step::Upgrade(Vec::new())];
        for first in (0..messages).step_by(at_once) {
            steps.push(Step::Cork);
            let chunk = first..(first + u32::try_from(at_once).expect("it is small"));
            steps.extend(chunk.map(|number| Step::SendText(format!("{number:04}"))));
            steps.extend([
                Step::SendPing(first.to_be_bytes().to_vec()),
                Step::Uncork,
                Step::ExpectPong(first.to_be_bytes().to_vec()),
                Step::Sleep(Duration::from_millis(1)),
            ]);
        }
        steps.push(Step::Echo);
        let greeting = Greeting::Accept;
        // No chance in it: what one connection does must not show in another's times.
        let profile = LinkProfile {
            latency: (Duration::from_micros(80), Duration::from_micros(80)),
            ..LinkProfile::DRIBBLE
        };
        (DialPlan { greeting, steps }, profile)
    }
}

/// What the good connection went through, to the nanosecond, and the world in which it did.
fn beside(bad: Option<Bad>) -> (Vec<Entry>, Trace, Sim, ConnectionId) {
    let mut sim = Sim::new(format!("beside {bad:?}"), 7, Steady);
    let diary = Diary::default();
    let entries = Arc::clone(&diary.0);
    let opening = |name, index| Opening {
        consumer: Consumer::Process,
        ..Opening::simple(name, index, Settings::default())
    };
    let good = sim.open(opening("good", 0));
    sim.process(good, diary);
    let mut other = good;
    if let Some(bad) = bad {
        other = sim.open(opening("bad", 1));
        sim.process(other, bad);
    }
    sim.run_for(Duration::from_millis(300));
    if bad == Some(Bad::ReturnsAfterTheEnd) {
        let deadline = sim.now() + Duration::from_millis(100);
        sim.remove(other, Shutdown::Graceful { deadline });
    }
    sim.run_for(Duration::from_secs(2));
    assert_eq!(sim.problems(), [""; 0]);
    let entries = entries.lock().expect("nobody panics with it").clone();
    assert_eq!(entries.len(), OF_GOOD as usize);
    let trace = sim.trace().of_connection("good");
    (entries, trace, sim, other)
}

#[test]
fn a_failing_processor_leaves_no_mark_on_a_neighbour_and_keeps_its_socket() {
    let (alone, trace_alone, ..) = beside(None);
    let has_waited = alone.iter().any(|(at, received, _)| at > received);
    assert!(has_waited, "nothing ever waits");
    for bad in [
        Bad::Panics,
        Bad::Hangs,
        Bad::FailsOneInAHundred,
        Bad::ReturnsAfterTheEnd,
    ] {
        let (beside, trace, sim, id) = beside(Some(bad));
        assert_eq!(alone, beside, "{bad:?}");
        assert_eq!(trace_alone.difference(&trace), None, "{bad:?}");
        let numbers = (0..OF_BAD).map(|number| format!("{number:04}").into_bytes());
        let failed: Vec<_> = match bad {
            Bad::Panics => numbers.collect(),
            Bad::FailsOneInAHundred => numbers.filter(|it| is_hundredth(it)).collect(),
            Bad::Hangs | Bad::ReturnsAfterTheEnd => Vec::new(),
        };
        let letters = sim.letters(id).iter().map(|it| it.payload.to_vec());
        assert_eq!(letters.collect::<Vec<_>>(), failed, "{bad:?}");
        if bad == Bad::ReturnsAfterTheEnd {
            let report = sim.report(id).expect("it was removed");
            assert!(report.counters.dropped > 0);
            assert!(sim.marks().contains("verdict after the end"));
        } else {
            let counters = sim.counters(id).expect("it lives");
            assert_eq!((counters.sessions, counters.received), (1, OF_BAD.into()));
            assert_eq!(sim.state(id), Some(ropewalk_core::State::Open));
        }
    }
}
