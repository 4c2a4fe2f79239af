//! `vctl status` as text and for programs.

use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

use crate::doctor::text::GOOD;
use crate::status::model::{AgentCounts, LineState, StatusLine};
use crate::ui::format::OutputFormat;
use crate::ui::records::cells_of;
use crate::ui::{BAD, BOLD, Layout, WARN, csv, json, paragraph, sanitize};

/// Changes when a field changes its meaning or is removed; new fields may be added at any time.
const VERSION: u32 = 1;

/// Width of the column with the subjects.
const BEFORE: usize = 11;

pub(crate) fn write(out: &mut dyn Write, lines: &[StatusLine], layout: Layout) -> io::Result<()> {
    for line in lines {
        let (style, is, fix) = match &line.state {
            LineState::Well(is) => (GOOD, is, None),
            LineState::Odd { is, fix } => (WARN, is, Some(fix)),
            LineState::Fails { is, fix, .. } => (BAD, is, fix.as_ref()),
        };
        write!(out, "{style}{:<BEFORE$}{style:#}", line.subject)?;
        paragraph::write(out, BEFORE, is, Style::new(), layout.width)?;
        if let Some(fix) = fix {
            write!(out, "{:BEFORE$}{BOLD}fix:{BOLD:#} ", "")?;
            paragraph::write(out, BEFORE + 5, fix, Style::new(), layout.width)?;
        }
    }
    Ok(())
}

/// The facts of `vctl status`, as far as they are known.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Facts {
    pub(crate) vault_addr: String,
    pub(crate) vault_version: Option<String>,
    pub(crate) identity: Option<String>,
    /// Login method of the token; null for the token in `VAULT_TOKEN`.
    pub(crate) method: Option<String>,
    pub(crate) machine: Option<bool>,
    pub(crate) token_ttl_s: Option<u64>,
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) ssh_ca_fingerprint: Option<String>,
    pub(crate) hosts: Option<usize>,
    pub(crate) agents_reporting: Option<usize>,
    pub(crate) agents_silent: Option<usize>,
    pub(crate) agents_none: Option<usize>,
}

impl Facts {
    pub(crate) fn count(&mut self, hosts: usize, agents: AgentCounts) {
        self.hosts = Some(hosts);
        self.agents_reporting = Some(agents.reporting);
        self.agents_silent = Some(agents.silent);
        self.agents_none = Some(agents.none);
    }
}

#[derive(Serialize)]
struct StatusJson<'a> {
    version: u32,
    /// Whether nothing failed; there may still be warnings.
    well: bool,
    #[serde(flatten)]
    facts: &'a Facts,
    problems: Vec<ProblemJson<'a>>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    subject: &'static str,
    /// `warn` or `fail`.
    result: &'static str,
    message: &'a str,
    fix: Option<&'a str>,
    exit_code: Option<u8>,
}

/// The columns of CSV: the facts, and the first failure.
const COLUMNS: [&str; 15] = [
    "well",
    "vault_addr",
    "vault_version",
    "identity",
    "method",
    "machine",
    "token_ttl_s",
    "policies",
    "ssh_ca_fingerprint",
    "hosts",
    "agents_reporting",
    "agents_silent",
    "agents_none",
    "exit_code",
    "message",
];

/// Writes in a format for programs; does nothing for the other formats.
pub(crate) fn write_for_programs(
    out: &mut dyn Write,
    format: OutputFormat,
    lines: &[StatusLine],
    facts: &Facts,
) -> io::Result<()> {
    let status = StatusJson::of(lines, facts);
    match format {
        OutputFormat::Table | OutputFormat::Wide => Ok(()),
        OutputFormat::Json => json::write(out, &status),
        OutputFormat::Jsonl => json::write_as_line(out, &status),
        OutputFormat::Yaml => json::write_yaml(out, &status),
        OutputFormat::Name => writeln!(
            out,
            "{}",
            facts.identity.as_ref().map_or_else(dash, sanitize::text)
        ),
        OutputFormat::Csv => {
            csv::write_record(out, &COLUMNS.map(str::to_owned))?;
            let mut cells = cells_of(&status, &COLUMNS);
            let failed = status.problems.iter().find(|p| p.exit_code.is_some());
            if let (Some(problem), [.., exit_code, message]) = (failed, &mut cells[..]) {
                *exit_code = problem
                    .exit_code
                    .map_or_else(String::new, |code| code.to_string());
                *message = sanitize::text(problem.message);
            }
            csv::write_record(out, &cells)
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

impl<'a> StatusJson<'a> {
    fn of(lines: &'a [StatusLine], facts: &'a Facts) -> Self {
        let problems = lines.iter().filter_map(|line| {
            let (result, message, fix, exit_code) = match &line.state {
                LineState::Well(_) => return None,
                LineState::Odd { is, fix } => ("warn", is, Some(&**fix), None),
                LineState::Fails { exit, is, fix } => {
                    ("fail", is, fix.as_deref(), Some(*exit as u8))
                }
            };
            Some(ProblemJson {
                subject: line.subject,
                result,
                message,
                fix,
                exit_code,
            })
        });
        Self {
            version: VERSION,
            well: !lines
                .iter()
                .any(|line| matches!(line.state, LineState::Fails { .. })),
            facts,
            problems: problems.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;
    use crate::fixture::{assert_golden, rendered};
    use crate::ui::json::schema;

    fn lines() -> Vec<StatusLine> {
        vec![
            StatusLine {
                subject: "SSH CA",
                state: LineState::Well(
                    "SHA256:yE1rBqmPyZ0zYJ5OeV2zyE1rBqmPyZ0zYJ5OeV2z123".to_owned(),
                ),
            },
            StatusLine {
                subject: "Token",
                state: LineState::Fails {
                    exit: Exit::Permission,
                    is: "not logged in to Vault at `https://vault.example:8200`".to_owned(),
                    fix: Some("run `vctl login`".to_owned()),
                },
            },
        ]
    }

    #[test]
    fn every_format_for_programs_is_as_documented() {
        let facts = Facts {
            vault_addr: "https://vault.example:8200".to_owned(),
            ssh_ca_fingerprint: Some("SHA256:yE1rBqmPyZ0zYJ5OeV2z".to_owned()),
            hosts: Some(3),
            ..Facts::default()
        };
        let shown = |format| rendered(|out| write_for_programs(out, format, &lines(), &facts));
        for text in [shown(OutputFormat::Json), shown(OutputFormat::Jsonl)] {
            let document = serde_json::from_str(&text).unwrap();
            schema::assert_fits(schema::OF_STATUS, None, &document);
        }
        assert_golden("status.csv", &shown(OutputFormat::Csv));
        assert_eq!(shown(OutputFormat::Name), "-\n");
        assert!(shown(OutputFormat::Yaml).contains("\"well\": false"));
    }

    #[test]
    fn fingerprint_can_be_copied_from_any_terminal() {
        for width in [Some(80), Some(40), None] {
            let layout = Layout { width, full: false };
            let page = rendered(|out| write(out, &lines(), layout));
            let page = anstream::adapter::strip_str(&page).to_string();
            let copied = page
                .lines()
                .next()
                .unwrap()
                .trim_start_matches("SSH CA")
                .trim();
            assert_eq!(copied.len(), 50, "{page}");
            let words: Vec<&str> = page.split_whitespace().collect();
            assert!(
                words.ends_with(&["fix:", "run", "`vctl", "login`"]),
                "{page}"
            );
        }
    }
}
