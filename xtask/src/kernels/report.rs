//! The result of one cell, as the report has it.

use serde::{Deserialize, Serialize};

use super::tree::Cgroups;

/// Result of one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) cell: String,
    /// `uname -r`.
    pub(super) kernel: String,
    pub(super) architecture: String,
    /// Version of OpenSSH; `None` in a guest without sshd.
    pub(super) sshd: Option<String>,
    pub(super) cgroups: Option<Cgroups>,
    /// What ran there.
    pub(super) promise: String,
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    pub(super) seconds: f64,
}
