//! How often a process waits for its sockets, as `strace` sees it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contestants::Problem;

/// The calls by which a process waits for its sockets, each with its time. The file is gone with this value.
pub(super) struct WaitLog {
    path: PathBuf,
}

/// Whether there is an `strace`.
pub(super) fn is_here() -> bool {
    let version = Command::new("strace")
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

impl WaitLog {
    pub(super) fn new() -> Result<Self, Problem> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-waits-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "")?;
        Ok(Self { path })
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("strace");
        // Other calls are not to stop the process: there are very many while connections open.
        command.args(["-f", "-qq", "-ttt", "--seccomp-bpf"]);
        command.args(["-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2", "-o"]);
        command.arg(&self.path).arg("--").arg(program);
        command
    }

    /// How many began between these two moments, in microseconds of the time of day.
    pub(super) fn waits(&self, window: [u64; 2]) -> Result<u64, Problem> {
        Ok(waits(&std::fs::read_to_string(&self.path)?, window))
    }
}

impl Drop for WaitLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A line is `PID SECONDS.MICROS CALL(…`, or tells of the end of a call that stands above.
fn waits(log: &str, [begun, ended]: [u64; 2]) -> u64 {
    let began = |line: &&str| {
        let time = line.split_whitespace().nth(1)?;
        let (seconds, micros) = time.split_once('.')?;
        let at = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
        (!line.contains(" resumed>") && (begun..ended).contains(&at)).then_some(())
    };
    log.lines().filter_map(|line| began(&line)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_once_and_only_within_the_window() {
        let log = "\
7 10.000001 epoll_wait(3, [], 1024, 0) = 0
7 10.500000 epoll_wait(3, <unfinished ...>
8 10.600000 epoll_pwait2(4, [], 1024, NULL, NULL, 8) = 0
7 10.700000 <... epoll_wait resumed>[], 1024, 100) = 0
7 11.000000 +++ exited with 0 +++
7 12.000000 epoll_wait(3, [], 1024, 0) = 0
";
        assert_eq!(waits(log, [10_000_000, 10_999_999]), 3);
        assert_eq!(waits(log, [10_550_000, 10_999_999]), 1);
        assert_eq!(waits("", [0, u64::MAX]), 0);
    }
}
