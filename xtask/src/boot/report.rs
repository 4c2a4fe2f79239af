//! The report of a run, and the page that is made from the committed reports.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::course::Step;
use super::first_row::Unit;
use crate::command::say;
use crate::versions::machine::Machine;
use crate::versions::report::{COMMITTED, Commit, date_of_commit};

const PAGE: &str = "docs/systemd.md";
const BEGIN: &str = "<!-- written by `cargo xtask boot --record` -->\n";
const END: &str = "<!-- end of the tables -->\n";

/// A host that was booted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) suite: String,
    pub(super) kernel: String,
    pub(super) systemd: String,
    pub(super) openssh: String,
    /// Number of commands from the empty host to the first row.
    pub(super) commands: usize,
    pub(super) units: Vec<Unit>,
    pub(super) steps: Vec<Step>,
}

/// One call of `cargo xtask boot`. It is committed in this form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) command: String,
    #[serde(flatten)]
    pub(super) commit: Commit,
    /// Seconds since the Unix epoch.
    pub(super) began_at: u64,
    pub(super) machine: Machine,
    pub(super) hosts: Vec<Host>,
}

impl Report {
    pub(super) fn is_green(&self) -> bool {
        let mut steps = self.hosts.iter().flat_map(|host| &host.steps);
        steps.all(|step| step.passed)
    }

    /// Writes the report below `target`, and returns its path.
    pub(super) fn write(&self) -> Result<PathBuf> {
        let suites: Vec<_> = self.hosts.iter().map(|host| host.suite.as_str()).collect();
        let path = Path::new("target/boot").join(format!("{}.json", suites.join("-")));
        self.write_to(&path)?;
        Ok(path)
    }

    /// Writes the report and the page where they can be committed.
    pub(super) fn record(&self) -> Result<()> {
        let suites: Vec<_> = self.hosts.iter().map(|host| host.suite.as_str()).collect();
        let name = format!(
            "{}-{}-boot-{}.json",
            date_of_commit()?,
            &self.commit.commit[..7],
            suites.join("-")
        );
        let path = Path::new(COMMITTED).join(name);
        self.write_to(&path)?;
        let page = fs::read_to_string(PAGE).with_context(|| format!("cannot read `{PAGE}`"))?;
        fs::write(PAGE, with_tables(&page, &of_reports(Path::new("."))?)?)?;
        say(&format!("Commit `{}` and {PAGE}.", path.display()));
        Ok(())
    }

    fn write_to(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Returns the tables of the last committed run of each suite below `root`.
fn of_reports(root: &Path) -> Result<String> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(root.join(COMMITTED))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("-boot-") {
            let report = serde_json::from_str::<Report>(&fs::read_to_string(&path)?);
            let report = report.with_context(|| format!("`{}` is not a report", path.display()))?;
            reports.push((name.into_owned(), report));
        }
    }
    reports.sort_by_key(|(_, report)| report.began_at);
    let mut last: Vec<(&str, &Report, &Host)> = Vec::new();
    for (file, report) in &reports {
        for host in &report.hosts {
            last.retain(|(_, _, other)| other.suite != host.suite);
            last.push((file, report, host));
        }
    }
    last.sort_by_key(|(_, _, host)| &host.suite);
    let mut text = String::new();
    for (file, report, host) in last {
        tables(&mut text, file, report, host);
    }
    Ok(text)
}

fn tables(text: &mut String, file: &str, report: &Report, host: &Host) {
    let _ = writeln!(
        text,
        "## Debian {}\n\nLinux {}, {}, {}. Commands to the first record: {}. Commit [{}](bench/{file}).\n",
        host.suite,
        host.kernel,
        host.systemd,
        host.openssh.split(',').next().unwrap_or_default(),
        host.commands,
        &report.commit.commit[..7],
    );
    text.push_str("| step | seen | seconds |\n| --- | --- | --- |\n");
    for step in &host.steps {
        let failed = if step.passed { "" } else { "**failed**: " };
        let _ = writeln!(
            text,
            "| {} | {failed}{} | {:.0} |",
            step.name, step.seen, step.seconds
        );
    }
    text.push_str("\n| unit | as installed | exposure after `setup` | most memory |\n| --- | --- | --- | --- |\n");
    for unit in &host.units {
        let properties = unit.properties.iter();
        // systemd reports no watchdog of a unit that never ran.
        let properties: Vec<_> = properties
            .filter(|(name, _)| name != "WatchdogUSec")
            .map(|(name, value)| format!("`{name}={value}`"))
            .collect();
        let memory = unit.memory_peak.parse::<u64>();
        let memory = memory.map_or_else(|_| "-".to_owned(), |it| format!("{} MiB", it >> 20));
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {memory} |",
            unit.name,
            properties.join(", "),
            unit.exposure
        );
    }
    text.push('\n');
}

fn with_tables(page: &str, tables: &str) -> Result<String> {
    let missing = || format!("{PAGE} has no place for the tables");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n{tables}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_tables_of_the_reports() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        let expected = with_tables(&page, &of_reports(&root).unwrap()).unwrap();
        if std::env::var_os("VCTL_BLESS").is_some() {
            fs::write(root.join(PAGE), &expected).unwrap();
            return;
        }
        assert!(page == expected, "run `cargo xtask boot --record`");
    }
}
