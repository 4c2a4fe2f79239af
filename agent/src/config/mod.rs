//! The agent's settings: one table of keys, four sources of values.
//!
//! Flags override the environment, which overrides the file, which overrides the defaults. Parsing,
//! flags, the printed configuration and the documentation all come from [`KEYS`].

mod centre;
mod keys;
mod load;
mod nats;
mod value;

use std::path::PathBuf;

use crate::metrics::Listen;

pub use centre::{CentreConfig, CentreError};
pub use keys::{KEYS, TABLE};
pub(crate) use load::distrust;
pub use load::{DEFAULT_FILE, Inputs, load, load_for_stamp, placed, remember, with_hint};
pub use nats::{NatsConfig, Ship};
pub use value::{Capture, LocalLogKind, LogLevel, Mode};
pub use vctl_common::config::{ByteSize, ConfigError, Problem, Source, Span};

/// The configuration, with the source of each value.
pub type Loaded = vctl_common::config::Loaded<Config>;

/// The agent's settings. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this host in its records.
    pub host: String,
    pub mode: Mode,
    /// Members may log in even if `mode: strict` would refuse them.
    pub break_glass_group: Option<String>,
    pub spool_dir: PathBuf,
    pub spool_cap: ByteSize,
    pub session_budget: ByteSize,
    pub segment_size: ByteSize,
    /// Directory of `agent.sock`.
    pub run_dir: PathBuf,
    /// Directory of the late-login files: logins without a stamp in time.
    pub pending_dir: PathBuf,
    pub pin_dir: PathBuf,
    /// Size of the kernel's ring buffer: a power of two, at least one page.
    pub ring_size: ByteSize,
    pub capture: Capture,
    pub failed_exec: bool,
    /// Added to the built-in rules, which always apply.
    pub redact_flags: Vec<String>,
    /// Added to the built-in rules, which always apply.
    pub redact_names: Vec<String>,
    pub sshd_names: Vec<String>,
    pub log_level: LogLevel,
    pub probe_log: bool,
    /// Whether sessions are ended on request of the centre.
    pub end_sessions: bool,
    pub local_log: LocalLogKind,
    pub metrics_listen: Option<Listen>,
    pub metrics_textfile: Option<PathBuf>,
    pub centre: CentreConfig,
    pub nats: NatsConfig,
}

impl Config {
    /// Returns the path of the collector's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}

impl Default for Config {
    /// Returns the defaults of the key table, with an empty host name that the caller sets.
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
