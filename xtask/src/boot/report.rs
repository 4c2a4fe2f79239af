//! The result of a run on one host, and the page that is made from the committed reports.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::course::Step;
use super::first_row::Unit;
use crate::recorded::{self, Page, Report};

pub(super) const PAGE: Page = Page {
    path: "docs/systemd.md",
    task: "boot",
};

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

/// Returns the tables of the last committed run of each suite below `root`.
pub(super) fn of_reports(root: &Path) -> Result<String> {
    let reports: Vec<(String, Report<Host>)> = PAGE.reports(root)?;
    let reports = reports
        .iter()
        .map(|(file, report)| (Some(file.as_str()), report));
    let mut last = recorded::last(reports, |host| host.suite.as_str());
    last.sort_by_key(|(_, _, host)| &host.suite);
    let hosts: Vec<String> = last
        .into_iter()
        .map(|(file, report, host)| tables(&report.commit_link(file), host))
        .collect();
    Ok(hosts.join("\n"))
}

fn tables(commit: &str, host: &Host) -> String {
    let mut text = format!(
        "## Debian {}\n\nLinux {}, {}, {}. Commands to the first record: {}. Commit {commit}.\n\n",
        host.suite,
        host.kernel,
        host.systemd,
        host.openssh.split(',').next().unwrap_or_default(),
        host.commands,
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
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::tests::assert_has;

    #[test]
    fn the_page_has_the_tables_of_the_reports() {
        assert_has(&PAGE, of_reports);
    }
}
