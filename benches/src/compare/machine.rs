//! Where it was measured.

use std::process::Command;

use serde::Serialize;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The day, as `date` tells it.
    pub day: String,
    /// The processor, as the kernel calls it.
    pub processor: String,
    /// How many of them there are.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(':'));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let day = Command::new("date").arg("+%F").output();
        let day = day.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            day: day.unwrap_or_else(|_| "an unknown day".to_owned()),
            processor: model
                .map_or("an unknown processor", |(_, it)| it.trim())
                .to_owned(),
            processors: cpus
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}, {} × {}, Linux {}; server and client on a processor each",
            self.day, self.processors, self.processor, self.kernel
        )
    }
}
