//! Describes the machine of a run: figures of different machines cannot be compared.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) distribution: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_kib: u64,
    pub(crate) rustc: String,
    /// One-minute load average at the start of the run. On a busy machine every time is longer.
    pub(crate) load_before: f64,
}

impl Machine {
    /// Unknown fields stay empty, because a run must not fail for a description.
    pub(crate) fn describe() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let after = |text: String, key: &str, separator: char| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.trim().strip_prefix(separator))
                .map(|value| value.trim().trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        let rustc = Command::new("rustc").arg("--version").output();
        let memory = after(read("/proc/meminfo"), "MemTotal", ':');
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            distribution: after(read("/etc/os-release"), "PRETTY_NAME", '='),
            cpu: after(read("/proc/cpuinfo"), "model name", ':'),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            memory_kib: memory.trim_end_matches(" kB").parse().unwrap_or(0),
            rustc: rustc.map_or_else(
                |_| String::new(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }
}
