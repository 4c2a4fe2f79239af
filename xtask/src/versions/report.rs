//! The report of a run: servers, specs, commit and machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::run::{Form, Run};
use crate::command::say;

/// Folder of the committed reports, which also has those of the bench.
pub(crate) const COMMITTED: &str = "docs/bench";

/// The tested code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) commit: String,
    /// Files outside of docs differed from the commit.
    #[serde(rename = "dirty")]
    pub(crate) is_dirty: bool,
}

/// One call of `cargo xtask versions`. It is committed in this form.
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
    pub(super) fn write(&self, form: Form) -> Result<PathBuf> {
        let directory = Path::new("target/versions");
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}.json", name(form)));
        self.write_to(&path)?;
        Ok(path)
    }

    /// Writes the report where it can be committed.
    pub(super) fn record(&self, form: Form) -> Result<()> {
        let date = date_of_commit()?;
        let commit = &self.commit.commit[..7];
        let file = format!("{date}-{commit}-versions-{}.json", name(form));
        let path = Path::new(COMMITTED).join(file);
        self.write_to(&path)?;
        say(&format!(
            "Commit `{}` and docs/versions.md.",
            path.display()
        ));
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
        if !name.contains("-versions-") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let report = serde_json::from_str(&text);
        let report = report.with_context(|| format!("`{}` is not a report", path.display()))?;
        reports.push((name.into_owned(), report));
    }
    reports.sort_by_key(|(_, report): &(String, Report)| report.began_at);
    Ok(reports)
}

/// Returns the current commit. A change of documentation does not change the tested code.
pub(crate) fn commit() -> Result<Commit> {
    Ok(Commit {
        commit: git(&["rev-parse", "HEAD"])?,
        is_dirty: !git(&["status", "--porcelain", "--", ".", ":!docs"])?.is_empty(),
    })
}

/// Returns the day of the current commit, for the name of a report.
pub(crate) fn date_of_commit() -> Result<String> {
    git(&["log", "-1", "--format=%cd", "--date=format:%Y-%m-%d"])
}

#[allow(
    clippy::disallowed_methods,
    reason = "a report states when it began, and no test depends on it"
)]
pub(crate) fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn name(form: Form) -> &'static str {
    match form {
        Form::Guard => "guard",
        Form::Short => "short",
        Form::Full => "full",
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output();
    let output = output.context("cannot run `git`")?;
    ensure!(
        output.status.success(),
        "`git` ended with {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
