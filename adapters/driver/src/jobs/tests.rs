//! Runners, polled by hand.

use std::cell::RefCell;
use std::future::pending;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Mutex;

use ropewalk_core::{
    Config, ConnectionSet, Consumer, Input, Instant, Kind, Output, Redrive, Seed, Target,
};

use super::*;
use crate::process::Call;
use crate::woken::Woken;

/// Batches of one message each, of as many connections.
fn batches(count: u64) -> Vec<Batch> {
    let mut set = ConnectionSet::new(Seed::for_tests(1));
    let now = Instant::ORIGIN;
    let batch = |letter| {
        let target = Target::parse("ws://test/").unwrap();
        let connection = set.insert(now, target, Arc::new(Config::default()), Consumer::Process);
        set.handle(now, Input::Ask { connection });
        set.handle(
            now,
            Input::Redrive(Box::new(Redrive {
                connection,
                letter,
                generation: 1,
                seq: letter,
                kind: Kind::Text,
                payload: b"x".to_vec().into(),
            })),
        );
        loop {
            let output = set.poll_output(now);
            assert!(!matches!(output, Output::Idle { .. }));
            if let Output::Deliver(batch) = output {
                return batch;
            }
        }
    };
    (1..=count).map(batch).collect()
}

fn jobs_of(process: &Process, count: u64) -> Vec<Job> {
    let job = |batch| Job {
        process: process.clone(),
        batch,
        known: 0,
    };
    batches(count).into_iter().map(job).collect()
}

fn acknowledges() -> Process {
    Process::new(async |batch: Batch| batch.ack())
}

thread_local! {
    static SPAWNED: RefCell<VecDeque<Runner>> = RefCell::default();
}

/// The calls of a shard without one: its runners are polled by hand.
struct Bench {
    jobs: Arc<Jobs>,
    task: Arc<Woken>,
}

impl Bench {
    fn of(cores: usize) -> Self {
        let crew = Crew {
            cores,
            spawn: |runner| SPAWNED.with_borrow_mut(|it| it.push_back(runner)),
        };
        Self {
            jobs: Jobs::new(Arc::default(), crew),
            task: Arc::default(),
        }
    }

    fn push(&self, jobs: Vec<Job>) {
        let mut jobs = jobs.into();
        self.jobs.push(&mut jobs);
        assert!(jobs.is_empty());
    }

    fn spawned(&self) -> usize {
        SPAWNED.with_borrow(VecDeque::len)
    }

    /// The one that was spawned first.
    fn runner(&self) -> Runner {
        SPAWNED.with_borrow_mut(VecDeque::pop_front).unwrap()
    }

    fn poll(&self, runner: &mut Runner) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.task));
        Pin::new(runner).poll(&mut Context::from_waker(&waker))
    }

    fn done(&self) -> Vec<Done> {
        let mut done = VecDeque::new();
        self.jobs.take_done(&mut done);
        let done = done.into_iter().map(|it| {
            let Command::Done(done) = it else {
                panic!("{it:?} comes from nobody here");
            };
            done
        });
        done.collect()
    }
}

#[test]
fn a_runner_makes_a_call_and_is_woken_for_the_next() {
    let bench = Bench::of(1);
    bench.push(jobs_of(&acknowledges(), 1));
    let mut runner = bench.runner();
    for times in 1..4 {
        assert!(bench.poll(&mut runner).is_pending());
        assert!(matches!(bench.done()[..], [Done::Judged(_)]));
        // It is also polled when nothing has called it, and called all the same afterwards.
        assert!(bench.poll(&mut runner).is_pending());
        bench.push(jobs_of(&acknowledges(), 1));
        assert_eq!((bench.spawned(), bench.task.times()), (0, times));
    }
}

#[test]
fn others_have_their_turn_between_very_many_calls() {
    let bench = Bench::of(1);
    bench.push(jobs_of(&acknowledges(), 100));
    let mut runner = bench.runner();
    let mut polls = 0;
    let mut done = 0;
    while done < 100 {
        assert!(bench.poll(&mut runner).is_pending());
        polls += 1;
        done += bench.done().len();
        assert_eq!(bench.task.times() == polls, done < 100, "it wakes itself");
    }
    assert_eq!(polls, 100_usize.div_ceil(CALLS_A_TURN));
}

#[test]
fn a_call_that_waits_goes_back_to_the_shard_and_the_others_are_made() {
    let bench = Bench::of(1);
    let waits = Process::new(|batch: Batch| async {
        pending::<()>().await;
        batch.ack()
    });
    let mut jobs = jobs_of(&acknowledges(), 3);
    jobs[1].process = waits;
    bench.push(jobs);
    let mut runner = bench.runner();
    for _ in 0..2 {
        assert!(bench.poll(&mut runner).is_pending());
    }
    let done = bench.done();
    assert!(
        matches!(done[..], [Done::Judged(_), Done::Waits(_), Done::Judged(_)]),
        "{done:?}"
    );
}

#[test]
fn a_call_that_keeps_its_core_busy_holds_up_no_other() {
    for cores in [1, 2] {
        let bench = Arc::new(Bench::of(cores));
        let mut jobs = jobs_of(&acknowledges(), 4);
        let others = Arc::new(Mutex::new(Vec::new()));
        let busy = Process::new({
            let bench = Arc::clone(&bench);
            let others = Arc::clone(&others);
            move |batch: Batch| {
                // Another thread has its turn meanwhile, and a runner for it.
                let mut second = bench.runner();
                assert!(bench.poll(&mut second).is_pending());
                others.lock().unwrap().extend(bench.done());
                async { batch.ack() }
            }
        });
        jobs[0].process = busy;
        bench.push(jobs);
        assert_eq!(bench.spawned(), cores);
        let mut first = bench.runner();
        assert!(bench.poll(&mut first).is_pending());
        assert_eq!(others.lock().unwrap().len(), 3);
        assert_eq!(bench.done().len(), 1);
        SPAWNED.take();
    }
}

#[test]
fn what_a_call_panicked_with_may_panic_itself() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    let bench = Bench::of(1);
    let mut jobs = jobs_of(&acknowledges(), 2);
    jobs[0].process = Process::new(async |_| panic_any(Bomb));
    bench.push(jobs);
    let mut runner = bench.runner();
    if let Err(bomb) = catch_unwind(AssertUnwindSafe(|| bench.poll(&mut runner))) {
        forget(bomb);
        panic!("it came out of the runner");
    }
    let done = bench.done();
    let [Done::Judged(panicked), Done::Judged(judged)] = &done[..] else {
        panic!("{done:?}");
    };
    assert_eq!(panicked.refusals().len(), 1);
    assert_eq!(judged.refusals().len(), 0);
}

/// As a runtime does that ends.
#[test]
fn runners_that_are_not_run_are_not_spawned_for_ever() {
    let crew = Crew {
        cores: 8,
        spawn: drop,
    };
    let jobs = Jobs::new(Arc::default(), crew);
    jobs.push(&mut jobs_of(&acknowledges(), 100).into());
    assert_eq!(jobs.lock().coming, 0);
}

#[test]
fn jobs_that_do_not_know_of_a_change_come_back() {
    let bench = Bench::of(1);
    let mut jobs = jobs_of(&acknowledges(), 2);
    jobs[1].known = 1;
    bench.push(jobs);
    bench.jobs.change();
    let mut runner = bench.runner();
    assert!(bench.poll(&mut runner).is_pending());
    let done = bench.done();
    assert!(
        matches!(done[..], [Done::Held(_), Done::Judged(_)]),
        "{done:?}"
    );
}

#[test]
fn a_call_in_a_task_of_its_own_begins_only_if_it_knows_of_all_changes() {
    let bench = Bench::of(1);
    for changes in [0, 1] {
        let job = jobs_of(&acknowledges(), 1).remove(0);
        let mut call = Call::fresh(Arc::clone(&bench.jobs), job);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut call).poll(&mut cx).is_ready());
        let done = bench.done();
        match changes {
            0 => assert!(matches!(done[..], [Done::Returned(_, Pace::AtOnce)])),
            _ => assert!(matches!(done[..], [Done::Held(_)])),
        }
        bench.jobs.change();
    }
}

#[test]
fn runners_end_with_their_shard_and_take_no_place_when_they_are_gone() {
    let bench = Bench::of(1);
    bench.push(jobs_of(&acknowledges(), 1));
    // The runtime has dropped it, woken or not.
    drop(bench.runner());
    bench.push(jobs_of(&acknowledges(), 1));
    let mut runner = bench.runner();
    assert!(bench.poll(&mut runner).is_pending());
    assert_eq!(bench.done().len(), 2);
    drop(runner);
    bench.push(jobs_of(&acknowledges(), 1));
    let mut runner = bench.runner();
    assert!(bench.poll(&mut runner).is_pending());
    assert_eq!((bench.done().len(), bench.task.times()), (1, 0));

    bench.jobs.close();
    assert_eq!(bench.task.times(), 1);
    assert!(bench.poll(&mut runner).is_ready());
    let batch = batches(1).remove(0);
    bench.jobs.tell(Done::Held(batch));
    assert!(bench.done().is_empty());
}
