//! The table of tested servers in `docs/versions.md`, made from the committed reports.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::report::{Report, committed};
use super::run::{Form, Run};

const PAGE: &str = "docs/versions.md";
const BEGIN: &str = "<!-- written by `cargo xtask versions --record` -->\n";
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

/// Returns a table with the last run of each pair of servers and form.
pub(super) fn table<'a>(reports: impl Iterator<Item = (Option<&'a str>, &'a Report)>) -> String {
    let mut last: Vec<(Option<&str>, &Report, &Run)> = Vec::new();
    for (file, report) in reports {
        for run in &report.runs {
            last.retain(|(_, _, other)| key(other) != key(run));
            last.push((file, report, run));
        }
    }
    last.sort_by_key(|(_, _, run)| key(run));
    let mut text = "| Postgres | secrets server | specs | passed | failed | commit |\n\
                    | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (file, report, run) in last {
        let form = match run.form {
            Form::Guard => "guard",
            Form::Short => "short form",
            Form::Full => "all",
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
            "| {} | {} | {form} | {} | {failed} | {commit} |",
            run.postgres, run.secrets_server, run.passed
        );
    }
    text
}

/// Order of the rows. A newer patch release of a server replaces the row of an older one.
fn key(run: &Run) -> (u32, &str, bool) {
    let major = run.postgres.split('.').next().unwrap_or_default();
    let server = run.secrets_server.split(' ').next().unwrap_or_default();
    (major.parse().unwrap_or(0), server, run.form == Form::Full)
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
    use crate::versions::report::Report;

    #[test]
    fn the_page_has_the_table_of_the_reports() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        let expected = with_table(&page, &of_reports(&root).unwrap()).unwrap();
        assert!(page == expected, "run `cargo xtask versions --record`");
    }

    #[test]
    fn the_last_run_of_a_version_and_form_counts() {
        let first = report(
            1,
            &[
                run("14.23", "short", &["centre: a"]),
                run("14.23", "full", &[]),
            ],
        );
        let second = report(2, &[run("18.4", "short", &[]), run("14.24", "short", &[])]);
        let rows = table([(None, &first), (Some("x.json"), &second)].into_iter());
        let rows: Vec<_> = rows.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| 14.24 | OpenBao 2.7.2 | short form | 7 | 0 | [2222222](bench/x.json) |",
                "| 14.23 | OpenBao 2.7.2 | all | 7 | 0 | 1111111 |",
                "| 18.4 | OpenBao 2.7.2 | short form | 7 | 0 | [2222222](bench/x.json) |",
            ]
        );
    }

    fn report(number: u64, runs: &[serde_json::Value]) -> Report {
        let report = serde_json::json!({
            "command": "versions", "commit": number.to_string().repeat(40), "dirty": false, "began_at": number,
            "machine": {"kernel": "", "distribution": "", "cpu": "", "cpus": 2, "memory_kib": 1, "rustc": "",
                "load_before": 0.0},
            "runs": runs,
        });
        serde_json::from_value(report).unwrap()
    }

    fn run(postgres: &str, form: &str, failed: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "postgres": postgres, "secrets_server": "OpenBao 2.7.2", "form": form, "passed": 7, "failed": failed,
            "seconds": 60.0, "threads": 3,
        })
    }
}
