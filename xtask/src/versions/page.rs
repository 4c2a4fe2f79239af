//! The table of tested servers in `docs/versions.md`, made from the committed reports.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::run::{Form, Run};
use crate::recorded::{self, Page, Report};

pub(super) const PAGE: Page = Page {
    path: "docs/versions.md",
    task: "versions",
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

/// Returns a table with the last run of each pair of servers and form.
pub(super) fn table<'a>(
    reports: impl Iterator<Item = (Option<&'a str>, &'a Report<Run>)>,
) -> String {
    let mut last = recorded::last(reports, key);
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
        let _ = writeln!(
            text,
            "| {} | {} | {form} | {} | {} | {} |",
            run.postgres,
            run.secrets_server,
            run.passed,
            recorded::failed(&run.failed),
            report.commit_link(file)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::tests::{assert_has, report};

    #[test]
    fn the_page_has_the_table_of_the_reports() {
        assert_has(&PAGE, of_reports);
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

    fn run(postgres: &str, form: &str, failed: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "postgres": postgres, "secrets_server": "OpenBao 2.7.2", "form": form, "passed": 7, "failed": failed,
            "seconds": 60.0, "threads": 3,
        })
    }
}
