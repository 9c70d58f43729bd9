//! The same scenarios over loopback sockets: an adapter's fleet against scripted servers on threads.

mod board;
mod client;
mod gate;
mod server;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ropewalk_driver::Runtime;

use crate::scenario::{Place, Scenario};
use crate::sim::RunError;

pub use self::client::run;

/// How many scenarios run at once: most of their time is waiting.
const AT_ONCE: usize = 6;

/// Plays every scenario that sockets can play on one runtime, and returns what went wrong: steps that never came, and
/// traces that differ from the file's. Call it where tasks can be spawned; `enter` is called on each thread first, and
/// what it returns is kept while the thread plays.
///
/// # Errors
/// One text a scenario.
///
/// # Panics
/// If a thread that plays scenarios does.
pub fn check_all<R: Runtime, G>(
    scenarios: &[Scenario],
    enter: impl Fn() -> G + Sync,
) -> Result<(), Vec<String>> {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let _entered = enter();
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(problem) = check::<R>(scenario) {
                        problems
                            .lock()
                            .expect("nothing panics under this lock")
                            .push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no thread panicked under it");
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn check<R: Runtime>(scenario: &Scenario) -> Result<(), String> {
    if scenario.place != Place::Everywhere {
        return Ok(());
    }
    let trace = run::<R>(scenario).map_err(|error: RunError| error.to_string())?;
    match scenario.expected.difference(&trace) {
        None => Ok(()),
        Some(difference) => Err(format!("{}: {difference}", scenario.name)),
    }
}
