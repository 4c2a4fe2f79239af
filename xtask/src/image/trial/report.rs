//! The result of a run for one release, and the page that is made from the committed reports.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::boot::course::Step;
use crate::recorded::{self, Page, Report};

pub(super) const PAGE: Page = Page {
    path: "docs/image.md",
    task: "image",
};

/// The image of one release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) suite: String,
    /// Versions of the kernel, systemd and OpenSSH.
    pub(super) facts: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// Returns the tables of the last committed run of each release below `root`.
pub(super) fn of_reports(root: &Path) -> Result<String> {
    let reports: Vec<(String, Report<Run>)> = PAGE.reports(root)?;
    let reports = reports
        .iter()
        .map(|(file, report)| (Some(file.as_str()), report));
    let mut last = recorded::last(reports, |run| run.suite.as_str());
    last.sort_by_key(|(_, _, run)| &run.suite);
    let runs: Vec<String> = last
        .into_iter()
        .map(|(file, report, run)| table(&report.commit_link(file), run))
        .collect();
    Ok(runs.join("\n"))
}

fn table(commit: &str, run: &Run) -> String {
    let mut text = format!(
        "### Debian {}\n\n{}. Commit {commit}.\n\n| step | seen | seconds |\n| --- | --- | --- |\n",
        run.suite,
        run.facts.join(", ")
    );
    for step in &run.steps {
        let failed = if step.passed { "" } else { "**failed**: " };
        let _ = writeln!(
            text,
            "| {} | {failed}{} | {:.0} |",
            step.name, step.seen, step.seconds
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
