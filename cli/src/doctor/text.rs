//! Checks as text, one per line with its result and fix, and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::doctor::{CheckOutcome, CheckReport};
use crate::ui::format::OutputFormat;
use crate::ui::{BAD, BOLD, DIM, Layout, WARN, paragraph};

/// Changes when a field changes its meaning or is removed; new fields may be added at any time.
const VERSION: u32 = 1;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();

/// Width of the columns before the result.
const BEFORE: usize = 4 + 2 + 12 + 2 + 8 + 2;

/// Writes one check.
pub(crate) fn write(out: &mut dyn Write, report: &CheckReport, layout: Layout) -> io::Result<()> {
    let (word, style) = match report.outcome {
        CheckOutcome::Pass => ("pass", GOOD),
        CheckOutcome::Warn => ("warn", WARN),
        CheckOutcome::Fail(_) => ("FAIL", BAD),
        CheckOutcome::Skipped(_) => ("skip", DIM),
    };
    let (name, took) = (report.check.name(), took(report));
    let text = if let CheckOutcome::Skipped(_) = report.outcome {
        DIM
    } else {
        Style::new()
    };
    write!(out, "{style}{word}{style:#}  {name:<12}  {took:>8}")?;
    // Beside the columns if there is room, otherwise below them.
    let narrow = layout.width.is_some_and(|width| width < BEFORE + 24);
    let indent = if narrow { 6 } else { BEFORE };
    if narrow {
        writeln!(out)?;
    }
    write!(out, "{:1$}", "", if narrow { indent } else { 2 })?;
    paragraph::write(out, indent, &report.found, text, layout.width)?;
    if let Some(fix) = &report.fix {
        write!(out, "{:indent$}{BOLD}fix:{BOLD:#} ", "")?;
        paragraph::write(out, indent + 5, fix, Style::new(), layout.width)?;
    }
    Ok(())
}

fn took(report: &CheckReport) -> String {
    match report.outcome {
        CheckOutcome::Skipped(_) => String::new(),
        _ => format!("{:.1} ms", ms(report.took)),
    }
}

fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

#[derive(Serialize)]
struct Probes<'a> {
    version: u32,
    probes: Vec<ProbeJson<'a>>,
}

#[derive(Serialize)]
struct ProbeJson<'a> {
    probe: &'static str,
    /// `pass`, `warn`, `fail` or `skipped`.
    result: &'static str,
    took_ms: Option<f64>,
    found: &'a str,
    fix: Option<&'a str>,
    /// Exit code of the command if this were the first failure.
    exit_code: Option<u8>,
    /// The failed check that this one needs.
    skipped_after: Option<&'static str>,
}

pub(crate) fn write_for_programs(
    out: &mut dyn Write,
    format: OutputFormat,
    reports: &[CheckReport],
) -> io::Result<()> {
    let probes = reports.iter().map(|report| {
        let outcome = report.outcome;
        ProbeJson {
            probe: report.check.name(),
            result: outcome.word(),
            took_ms: (!matches!(outcome, CheckOutcome::Skipped(_))).then(|| ms(report.took)),
            found: &report.found,
            fix: report.fix.as_deref(),
            exit_code: match outcome {
                CheckOutcome::Fail(exit) => Some(exit as u8),
                _ => None,
            },
            skipped_after: match outcome {
                CheckOutcome::Skipped(failed) => Some(failed.name()),
                _ => None,
            },
        }
    });
    let page = Probes {
        version: VERSION,
        probes: probes.collect(),
    };
    crate::ui::json::write_in(out, format, &page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Check;
    use crate::exit_code::Exit;
    use crate::fixture::rendered;

    fn report() -> CheckReport {
        CheckReport {
            check: Check::VaultTls,
            outcome: CheckOutcome::Fail(Exit::Unavailable),
            took: Duration::from_micros(12_340),
            found: "not trusted as `c.example`: its certificate is for another name, `\u{1b}[2J`"
                .to_owned(),
            fix: Some("use the name of its certificate in `VCTL_VAULT_ADDR`".to_owned()),
        }
    }

    #[test]
    fn check_fits_terminals_of_80_and_40_columns() {
        for width in [80, 40] {
            let layout = Layout {
                width: Some(width),
                full: false,
            };
            let page = rendered(|out| write(out, &report(), layout));
            let page = anstream::adapter::strip_str(&page).to_string();
            assert!(
                page.lines().all(|line| line.chars().count() <= width),
                "{page}"
            );
            assert!(!page.contains('\u{1b}'), "{page}");
            let words: Vec<&str> = page.split_whitespace().collect();
            assert!(
                words
                    .join(" ")
                    .contains("fix: use the name of its certificate"),
                "{page}"
            );
        }
    }

    #[test]
    fn json_has_the_duration_and_the_exit_code() {
        let page = rendered(|out| write_for_programs(out, OutputFormat::Json, &[report()]));
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let probe = &page["probes"][0];
        assert_eq!(
            (&probe["took_ms"], &probe["exit_code"]),
            (&12.3.into(), &69.into())
        );
    }
}
