//! The table of tested kernels in `docs/kernels.md`, made from the committed reports.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::matrix::CELLS;
use super::report::{Report, Run, committed};
use super::tree::Cgroups;

const PAGE: &str = "docs/kernels.md";
const BEGIN: &str = "<!-- written by `cargo xtask kernels --record` -->\n";
const END: &str = "<!-- end of the table -->\n";

/// Writes the table into the page.
pub(super) fn write() -> Result<()> {
    let page = fs::read_to_string(PAGE).with_context(|| format!("cannot read `{PAGE}`"))?;
    fs::write(PAGE, with_table(&page, &of_reports(Path::new("."))?)?)?;
    Ok(())
}

/// Returns the table of the reports committed below `root`.
fn of_reports(root: &Path) -> Result<String> {
    let reports = committed(root)?;
    Ok(table(
        reports
            .iter()
            .map(|(file, report)| (Some(file.as_str()), report)),
    ))
}

/// Returns a table with the last run of each cell, in the order of the matrix.
pub(super) fn table<'a>(reports: impl Iterator<Item = (Option<&'a str>, &'a Report)>) -> String {
    let mut last: Vec<(Option<&str>, &Report, &Run)> = Vec::new();
    for (file, report) in reports {
        for run in &report.runs {
            last.retain(|(_, _, other)| other.cell != run.cell);
            last.push((file, report, run));
        }
    }
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
        let commit = &report.commit.commit[..7];
        let commit = file.map_or_else(
            || commit.to_owned(),
            |file| format!("[{commit}](bench/{file})"),
        );
        let failed = match run.failed.as_slice() {
            [] => "0".to_owned(),
            failed => format!("{}: {}", failed.len(), failed.join(", ")),
        };
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

fn with_table(page: &str, table: &str) -> Result<String> {
    let missing = || format!("{PAGE} has no place for the table");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{PAGE, of_reports, table, with_table};
    use crate::kernels::report::Report;

    #[test]
    fn the_page_has_the_table_of_the_reports() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        let expected = with_table(&page, &of_reports(&root).unwrap()).unwrap();
        assert!(page == expected, "run `cargo xtask kernels --record`");
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

    fn report(number: u64, runs: &[serde_json::Value]) -> Report {
        let report = serde_json::json!({
            "command": "kernels", "commit": number.to_string().repeat(40), "dirty": false, "began_at": number,
            "machine": {"kernel": "", "distribution": "", "cpu": "", "cpus": 2, "memory_kib": 1, "rustc": "",
                "load_before": 0.0},
            "runs": runs,
        });
        serde_json::from_value(report).unwrap()
    }

    fn run(cell: &str, failed: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "cell": cell, "kernel": format!("{cell}.1"), "architecture": "aarch64", "sshd": "9.2", "cgroups": "v1",
            "promise": "it", "passed": 7, "failed": failed, "seconds": 60.0,
        })
    }
}
