//! Other tools for the same job. They run with the same load in the same run.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::process_cost::ProcessCost;

pub mod auditd;
pub mod bpftrace;

/// A running watcher. Dropping it ends it and undoes its changes.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// Returns the cost since the start, with the kernel threads that work only for this watcher.
    fn cost(&self) -> io::Result<ProcessCost>;

    /// Returns the number of execs that it has recorded so far.
    fn recorded(&self) -> io::Result<u64>;
}

impl PeerError {
    fn not_ready(program: &'static str, within: Duration, output: &Path) -> Self {
        let said = fs::read(output).unwrap_or_default();
        Self::NotReady {
            program,
            seconds: within.as_secs(),
            said: String::from_utf8_lossy(&said).trim().to_owned(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("cannot run `{program}`")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("`{program}` was not ready within {seconds} s; it said: {said}")]
    NotReady {
        program: &'static str,
        seconds: u64,
        said: String,
    },
    #[error("`{command}` failed: {stderr}")]
    Refused { command: String, stderr: String },
}
