//! The table of tested kernels in `docs/kernels.md`, made from the committed reports.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::matrix::CELLS;
use super::report::Run;
use super::tree::Cgroups;
use crate::recorded::{self, Page, Report};

pub(super) const PAGE: Page = Page {
    path: "docs/kernels.md",
    task: "kernels",
};

/// Returns the table of the reports committed below `root`.
pub(super) fn of_reports(root: &Path) -> Result<String> {
    let reports = PAGE.reports(root)?;
    Ok(table(
        reports
            .iter()
            .map(|(file, report)| (Some(file.as_str()), report)),
    ))
}

/// Returns a table with the last run of each cell, in the order of the matrix.
pub(super) fn table<'a>(
    reports: impl Iterator<Item = (Option<&'a str>, &'a Report<Run>)>,
) -> String {
    let mut last = recorded::last(reports, |run| run.cell.as_str());
    last.sort_by_key(|(_, _, run)| CELLS.iter().position(|cell| cell.name == run.cell));
    let mut text = "| cell | kernel | sshd | cgroups | what ran | passed | failed | commit |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (file, report, run) in last {
        let cgroups = match run.cgroups {
            Some(Cgroups::Unified) => "unified",
            Some(Cgroups::Hybrid) => "hybrid",
            Some(Cgroups::V1) => "v1",
            None => "",
        };
        let architecture = match run.architecture.as_str() {
            "x86_64" => "",
            _ => " (aarch64)",
        };
        let (failed, commit) = (recorded::failed(&run.failed), report.commit_link(file));
        let _ = writeln!(
            text,
            "| `{}` | {}{architecture} | {} | {cgroups} | {} | {} | {failed} | {commit} |",
            run.cell,
            run.kernel,
            run.sshd.as_deref().unwrap_or_default(),
            run.promise,
            run.passed
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::tests::{assert_has, report};

    #[test]
    fn the_page_has_the_table_of_the_reports() {
        assert_has(&PAGE, of_reports);
    }

    #[test]
    fn the_last_run_of_a_cell_counts() {
        let first = report(1, &[run("6.12", &["exec::a"]), run("5.10", &[])]);
        let second = report(2, &[run("6.12", &[])]);
        let rows = table([(None, &first), (Some("x.json"), &second)].into_iter());
        let rows: Vec<_> = rows.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `5.10` | 5.10.1 (aarch64) | 9.2 | v1 | it | 7 | 0 | 1111111 |",
                "| `6.12` | 6.12.1 (aarch64) | 9.2 | v1 | it | 7 | 0 | [2222222](bench/x.json) |",
            ]
        );
    }

    fn run(cell: &str, failed: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "cell": cell, "kernel": format!("{cell}.1"), "architecture": "aarch64", "sshd": "9.2", "cgroups": "v1",
            "promise": "it", "passed": 7, "failed": failed, "seconds": 60.0,
        })
    }
}
