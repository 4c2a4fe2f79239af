//! What the agent is told: one key table, four places a value may come from.
//!
//! A flag beats the environment, which beats the file, which beats the default. Parsing, flags, the
//! printed configuration and the documentation all come from [`KEYS`].

mod centre;
mod keys;
mod load;
mod value;

use std::path::PathBuf;

use crate::metrics::Listen;

pub use centre::{CentreConfig, CentreError};
pub use keys::{KEYS, TABLE};
pub use load::{DEFAULT_FILE, Inputs, load, load_for_stamp, placed, remember};
pub use value::{Capture, LogLevel, Mode};
pub use vctl_common::config::{ByteSize, ConfigError, Problem, Source, Span};

/// The configuration, with the source of each value.
pub type Loaded = vctl_common::config::Loaded<Config>;

/// Everything the agent is told. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this host in what it records.
    pub host: String,
    pub mode: Mode,
    /// Members are let in when `mode: strict` would refuse them.
    pub break_glass_group: Option<String>,
    pub spool_dir: PathBuf,
    pub spool_cap: ByteSize,
    pub session_budget: ByteSize,
    pub segment_size: ByteSize,
    /// Holds `agent.sock`.
    pub run_dir: PathBuf,
    /// Directory of the files of late logins.
    pub pending_dir: PathBuf,
    pub pin_dir: PathBuf,
    /// A power of two, at least one page: what the kernel's ring buffer takes.
    pub ring_size: ByteSize,
    pub capture: Capture,
    pub failed_exec: bool,
    /// More than the built-in rules, never instead of them.
    pub redact_flags: Vec<String>,
    /// More than the built-in rules, never instead of them.
    pub redact_names: Vec<String>,
    pub sshd_names: Vec<String>,
    pub log_level: LogLevel,
    pub probe_log: bool,
    pub metrics_listen: Option<Listen>,
    pub metrics_textfile: Option<PathBuf>,
    pub centre: CentreConfig,
}

impl Config {
    /// Returns where the stamper finds the collector.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}

impl Default for Config {
    /// The defaults of the key table, with an empty host name for the caller to fill in.
    fn default() -> Self {
        keys::defaults()
    }
}

/// Returns `docs/agent-config.md`.
pub fn reference() -> String {
    TABLE.reference(include_str!("reference.head.md"))
}

/// Returns `deploy/audit/agent.example.yaml`: every key, commented out.
pub fn example() -> String {
    TABLE.example(include_str!("example.head.yaml"))
}

#[cfg(test)]
mod tests;
