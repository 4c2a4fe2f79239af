//! Reports of long runs: committed below `docs/bench`, and shown in a page of `docs`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::say;
use crate::machine::Machine;

/// Folder of the committed reports, which also has those of the bench.
const COMMITTED: &str = "docs/bench";

/// The tested code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) commit: String,
    /// Files outside of docs differed from the commit.
    #[serde(rename = "dirty")]
    pub(crate) is_dirty: bool,
}

impl Commit {
    fn short(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

/// One call of a task. It is committed in this form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report<R> {
    pub(crate) command: String,
    #[serde(flatten)]
    pub(crate) commit: Commit,
    /// Seconds since the Unix epoch.
    pub(crate) began_at: u64,
    pub(crate) machine: Machine,
    /// The first reports of `boot` call them hosts.
    #[serde(alias = "hosts")]
    pub(crate) runs: Vec<R>,
}

impl<R> Report<R> {
    /// Returns a report that begins now.
    pub(crate) fn begin(commit: Commit) -> Result<Self> {
        Ok(Self {
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            commit,
            began_at: now()?,
            machine: Machine::describe(),
            runs: Vec::new(),
        })
    }

    /// Returns the commit as a page shows it. `file` is the name of the committed report.
    pub(crate) fn commit_link(&self, file: Option<&str>) -> String {
        let commit = self.commit.short();
        file.map_or_else(
            || commit.to_owned(),
            |file| format!("[{commit}](bench/{file})"),
        )
    }
}

impl<R: Serialize> Report<R> {
    /// Writes the report to a file below `target`.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Writes the report where it can be committed. `words` tell it from other reports of the task.
    pub(crate) fn record(&self, page: &Page, words: &[String]) -> Result<()> {
        let date = git(&["log", "-1", "--format=%cd", "--date=format:%Y-%m-%d"])?;
        let first = [date, self.commit.short().to_owned(), page.task.to_owned()];
        let name = [&first[..], words].concat().join("-");
        let path = Path::new(COMMITTED).join(format!("{name}.json"));
        self.write(&path)?;
        say(&format!("Commit `{}` and {}.", path.display(), page.path));
        Ok(())
    }
}

/// A run, its report, and the file of the report if that is committed.
pub(crate) type Recorded<'a, R> = (Option<&'a str>, &'a Report<R>, &'a R);

/// Returns the last run of each key.
pub(crate) fn last<'a, R, K: PartialEq>(
    reports: impl Iterator<Item = (Option<&'a str>, &'a Report<R>)>,
    key: impl Fn(&'a R) -> K,
) -> Vec<Recorded<'a, R>> {
    let mut last: Vec<Recorded<'a, R>> = Vec::new();
    for (file, report) in reports {
        for run in &report.runs {
            last.retain(|(_, _, other)| key(other) != key(run));
            last.push((file, report, run));
        }
    }
    last
}

/// A page with a part that a task writes.
pub(crate) struct Page {
    pub(crate) path: &'static str,
    /// Name of the task, which is also a part of the names of its reports.
    pub(crate) task: &'static str,
}

impl Page {
    /// Returns the reports of the task committed below `root` with their file names, in the order of their runs.
    pub(crate) fn reports<R: DeserializeOwned>(
        &self,
        root: &Path,
    ) -> Result<Vec<(String, Report<R>)>> {
        let mark = format!("-{}", self.task);
        let folder = root.join(COMMITTED);
        let mut reports = Vec::new();
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot read `{}`", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.contains(&mark) {
                continue;
            }
            let report = serde_json::from_str(&fs::read_to_string(&path)?);
            let report = report.with_context(|| format!("`{}` is not a report", path.display()))?;
            reports.push((name.into_owned(), report));
        }
        reports.sort_by_key(|(_, report): &(String, Report<R>)| report.began_at);
        Ok(reports)
    }

    /// Writes tables into the page.
    pub(crate) fn write(&self, tables: &str) -> Result<()> {
        let path = self.path;
        let page = fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
        Ok(fs::write(path, self.with(&page, tables)?)?)
    }

    /// Returns the page with other tables.
    pub(crate) fn with(&self, page: &str, tables: &str) -> Result<String> {
        const END: &str = "<!-- end of the table -->\n";
        let begin = format!("<!-- written by `cargo xtask {} --record` -->\n", self.task);
        let missing = || format!("{} has no place for the table", self.path);
        let (before, rest) = page.split_once(&begin).with_context(missing)?;
        let (_, after) = rest.split_once(END).with_context(missing)?;
        Ok(format!("{before}{begin}\n{tables}\n{END}{after}"))
    }
}

/// Returns the names of the failed specs for a cell of a table.
pub(crate) fn failed(names: &[String]) -> String {
    match names {
        [] => "0".to_owned(),
        names => format!("{}: {}", names.len(), names.join(", ")),
    }
}

/// Returns the current commit. A change of documentation does not change the tested code.
///
/// # Errors
/// The report is to be recorded, and other files differ from the commit.
pub(crate) fn commit(is_recorded: bool) -> Result<Commit> {
    let commit = Commit {
        commit: git(&["rev-parse", "HEAD"])?,
        is_dirty: !git(&["status", "--porcelain", "--", ".", ":!docs"])?.is_empty(),
    };
    ensure!(
        !(is_recorded && commit.is_dirty),
        "`--record` needs a commit of the tested code: `git status` lists changes outside of docs"
    );
    Ok(commit)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a report states when it began, and no test depends on it"
)]
fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
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

/// Tests that pages share.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Expects the tables in the page.
    pub(crate) fn assert_has(page: &Page, tables: impl Fn(&Path) -> Result<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let now = fs::read_to_string(root.join(page.path)).unwrap();
        let expected = page.with(&now, &tables(&root).unwrap()).unwrap();
        if std::env::var_os("VCTL_BLESS").is_some() {
            fs::write(root.join(page.path), &expected).unwrap();
            return;
        }
        assert!(now == expected, "run `cargo xtask {} --record`", page.task);
    }

    /// Returns a report of that commit and time.
    pub(crate) fn report<R: DeserializeOwned>(
        number: u64,
        runs: &[serde_json::Value],
    ) -> Report<R> {
        let report = serde_json::json!({
            "command": "it", "commit": number.to_string().repeat(40), "dirty": false, "began_at": number,
            "machine": {"kernel": "", "distribution": "", "cpu": "", "cpus": 2, "memory_kib": 1, "rustc": "",
                "load_before": 0.0},
            "runs": runs,
        });
        serde_json::from_value(report).unwrap()
    }
}
