//! The report of a run: one entry per cell, the commit and the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::tree::Cgroups;
use crate::command::say;
use crate::versions::machine::Machine;
use crate::versions::report::{COMMITTED, Commit, date_of_commit};

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

/// One call of `cargo xtask kernels`. It is committed in this form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) command: String,
    #[serde(flatten)]
    pub(super) commit: Commit,
    /// Seconds since the Unix epoch.
    pub(super) began_at: u64,
    pub(super) machine: Machine,
    pub(super) runs: Vec<Run>,
}

impl Report {
    pub(super) fn is_green(&self) -> bool {
        self.runs.iter().all(|run| run.failed.is_empty())
    }

    /// Writes the report below `target`, and returns its path.
    pub(super) fn write(&self) -> Result<PathBuf> {
        let path = Path::new("target/kernels/report.json").to_owned();
        self.write_to(&path)?;
        Ok(path)
    }

    /// Writes the report where it can be committed. The name of a report of single cells contains them.
    pub(super) fn record(&self, cells: &[String]) -> Result<()> {
        let commit = &self.commit.commit[..7];
        let words = [
            &[date_of_commit()?, commit.to_owned(), "kernels".to_owned()],
            cells,
        ]
        .concat();
        let file = format!("{}.json", words.join("-"));
        let path = Path::new(COMMITTED).join(file);
        self.write_to(&path)?;
        say(&format!("Commit `{}` and docs/kernels.md.", path.display()));
        Ok(())
    }

    fn write_to(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Returns the reports committed below `root` with their file names, in the order of their runs.
pub(super) fn committed(root: &Path) -> Result<Vec<(String, Report)>> {
    let mut reports = Vec::new();
    let folder = root.join(COMMITTED);
    let entries = fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains("-kernels") {
            continue;
        }
        let report = serde_json::from_str(&fs::read_to_string(&path)?);
        let report = report.with_context(|| format!("`{}` is not a report", path.display()))?;
        reports.push((name.into_owned(), report));
    }
    reports.sort_by_key(|(_, report): &(String, Report)| report.began_at);
    Ok(reports)
}
