//! What the process costs, and how many sockets it may have.

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use serde::Serialize;

/// What the process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Time in user mode, in milliseconds.
    pub(crate) user_ms: u64,
    /// Time in the kernel on the process's behalf, in milliseconds.
    pub(crate) system_ms: u64,
    /// The largest resident set, in bytes.
    pub(crate) memory_peak_bytes: u64,
}

impl Usage {
    /// Asks the kernel; `None` where it does not tell.
    pub(crate) fn now() -> Option<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let millis = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1000
                + u64::try_from(time.tv_usec()).unwrap_or(0) / 1000
        };
        // Linux and the BSDs count kibibytes, Apple's systems bytes.
        let unit = if cfg!(target_vendor = "apple") {
            1
        } else {
            1024
        };
        Some(Self {
            user_ms: millis(usage.user_time()),
            system_ms: millis(usage.system_time()),
            memory_peak_bytes: own_peak()
                .unwrap_or_else(|| u64::try_from(usage.max_rss()).unwrap_or(0) * unit),
        })
    }
}

/// The peak of this program alone. What `getrusage` tells on Linux includes what the process was before it
/// became this program: a shell, or a script of any size.
fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
        write!(
            f,
            "CPU time {:.2}s ({:.2}s user, {:.2}s system), peak memory {:.1} MiB",
            seconds(self.user_ms + self.system_ms),
            seconds(self.user_ms),
            seconds(self.system_ms),
            mebibytes(self.memory_peak_bytes),
        )
    }
}

#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Lets the process have as many descriptors as the administrator allows: the usual limit of 1,024 is a
/// default for programs that use `select`, and each connection needs one.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Without it the fleet works all the same, with as many sockets as there are.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_the_process_costs() {
        let usage = Usage::now().unwrap();
        assert!(usage.memory_peak_bytes > 1 << 20, "{usage}");
        assert!(usage.memory_peak_bytes < 1 << 34, "{usage}");
    }
}
