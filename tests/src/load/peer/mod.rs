//! The tools others would use for the same job, on the same load in the same run.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::process_cost::ProcessCost;

pub mod auditd;
pub mod bpftrace;

/// A watcher that is running; dropping it ends it and undoes what it changed.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// What it has cost since it began, kernel threads that work for it alone included.
    fn cost(&self) -> io::Result<ProcessCost>;

    /// Execs it has written down so far.
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
