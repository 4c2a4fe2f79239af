//! Formats the findings as text, JSON, CSV or names.

use std::fmt::Write;

use serde::Serialize;
use vctl_common::escape::visible;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    /// Works, with less certainty or for some logins only.
    Warn,
    Fail,
}

/// One requirement, and how this host meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name for scripts.
    pub id: &'static str,
    pub status: Status,
    /// The fact that was found.
    pub seen: String,
    /// The fix, in one line; `None` for a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn pass(id: &'static str, seen: impl Into<String>) -> Self {
        Self {
            id,
            status: Status::Pass,
            seen: seen.into(),
            fix: None,
        }
    }

    pub(super) fn warn(id: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id,
            status: Status::Warn,
            seen: seen.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn fail(id: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id,
            status: Status::Fail,
            seen: seen.into(),
            fix: Some(fix.into()),
        }
    }
}

/// The result of `vctl-agent check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this JSON; a new field does not change it.
    pub version: u32,
    pub status: Status,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(findings: Vec<Finding>) -> Self {
        let any = |status| findings.iter().any(|finding| finding.status == status);
        let status = if any(Status::Fail) {
            Status::Fail
        } else if any(Status::Warn) {
            Status::Warn
        } else {
            Status::Pass
        };
        Self {
            version: 1,
            status,
            findings,
        }
    }

    pub fn failed(&self) -> bool {
        self.status == Status::Fail
    }

    /// Returns aligned lines, with the fix below each finding that needs one. Control characters
    /// are escaped.
    pub fn to_text(&self) -> String {
        let width = self
            .findings
            .iter()
            .map(|finding| finding.id.len())
            .max()
            .unwrap_or(0);
        let mut out = String::new();
        for finding in &self.findings {
            let status = match finding.status {
                Status::Pass => "pass",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            let _ = writeln!(
                out,
                "{status}  {:width$}  {}",
                finding.id,
                visible(&finding.seen)
            );
            if let Some(fix) = &finding.fix {
                let _ = writeln!(out, "      {:width$}  fix: {}", "", visible(fix));
            }
        }
        out
    }

    pub fn to_json(&self) -> String {
        // Only strings and enums: this cannot fail.
        let mut out = serde_json::to_string_pretty(self).unwrap_or_default();
        out.push('\n');
        out
    }

    /// Returns one finding per line.
    pub fn to_json_lines(&self) -> String {
        let lines = self.findings.iter().map(serde_json::to_string);
        lines.map(|line| line.unwrap_or_default() + "\n").collect()
    }

    /// Returns lines of RFC 4180, with a heading.
    pub fn to_csv(&self) -> String {
        let mut out = "id,status,seen,fix\r\n".to_owned();
        for finding in &self.findings {
            let status = match finding.status {
                Status::Pass => "pass",
                Status::Warn => "warn",
                Status::Fail => "fail",
            };
            let (seen, fix) = (visible(&finding.seen), finding.fix.as_deref());
            let fix = visible(fix.unwrap_or_default());
            let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
            let _ = write!(
                out,
                "{},{status},{},{}\r\n",
                finding.id,
                quoted(&seen),
                quoted(&fix)
            );
        }
        out
    }

    /// Returns the ids of the findings that are not a pass.
    pub fn to_names(&self) -> String {
        let findings = self.findings.iter();
        let others = findings.filter(|finding| finding.status != Status::Pass);
        others.flat_map(|finding| [finding.id, "\n"]).collect()
    }
}
