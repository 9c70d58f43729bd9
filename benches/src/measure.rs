//! What the process has cost so far.

use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The processor time of all threads, the kernel's on their behalf included.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).expect("a process has a positive age");
    let nanos = u32::try_from(now.tv_nsec).expect("nanoseconds are less than a second");
    Duration::new(seconds, nanos)
}

/// The physical memory that this process holds, in bytes.
///
/// # Panics
/// Where there is no `/proc`.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("the kernel tells it");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number of kibibytes");
    kib * 1024
}

/// How often a thread of this process had nothing to do and the kernel ran another. What threads that have ended did is not in it.
///
/// # Panics
/// Where there is no `/proc`.
pub fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
    let of = |task: std::fs::DirEntry| {
        // A thread may end meanwhile.
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.flatten().filter_map(of).sum()
}

/// Keeps this thread, and those that it starts, on one processor, if there is more than one.
pub fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    // A machine with a single processor has no second one to give.
    let _ = sched_setaffinity(None::<Pid>, &set);
}
