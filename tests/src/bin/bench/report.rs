//! Results of a run: figures with their limits, and the samples behind them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use vctl_tests::load::stats::u64_as_f64;

use super::machine::Machine;

/// One run of the bench. It is committed in this form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) commit: String,
    /// The work tree differed from the commit.
    pub(crate) dirty: bool,
    /// The run was shorter than the limits are meant for.
    pub(crate) short: bool,
    /// Seconds since the Unix epoch.
    pub(crate) began_at: u64,
    pub(crate) machine: Machine,
    pub(crate) sections: Vec<Section>,
}

/// Results of one scenario.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) scenario: String,
    pub(crate) seconds: f64,
    pub(crate) figures: Vec<Figure>,
    /// Samples and counters behind the figures.
    pub(crate) raw: serde_json::Value,
    /// Reason when the scenario ended early.
    pub(crate) error: Option<String>,
}

/// Results that a scenario returns.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Figure>,
    pub(crate) raw: serde_json::Map<String, serde_json::Value>,
}

impl Findings {
    pub(crate) fn at_most(&mut self, name: &str, measured: f64, unit: &str, limit: f64) {
        self.add(name, measured, unit, Limit::AtMost(limit));
    }

    pub(crate) fn at_least(&mut self, name: &str, measured: f64, unit: &str, limit: f64) {
        self.add(name, measured, unit, Limit::AtLeast(limit));
    }

    pub(crate) fn exactly(&mut self, name: &str, measured: u64, unit: &str, limit: u64) {
        self.add(
            name,
            u64_as_f64(measured),
            unit,
            Limit::Exactly(u64_as_f64(limit)),
        );
    }

    pub(crate) fn state(&mut self, name: &str, measured: f64, unit: &str) {
        self.add(name, measured, unit, Limit::None);
    }

    /// Stores samples or counters under a name.
    pub(crate) fn keep(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.raw
            .insert(name.to_owned(), serde_json::to_value(value)?);
        Ok(())
    }

    fn add(&mut self, name: &str, measured: f64, unit: &str, limit: Limit) {
        self.figures.push(Figure::new(name, measured, unit, limit));
    }
}

/// One number that has a limit, or that explains a number with a limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) measured: f64,
    pub(crate) unit: String,
    pub(crate) limit: Limit,
    pub(crate) met: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
    /// Stated, without a limit.
    None,
}

impl Limit {
    fn holds(self, measured: f64) -> bool {
        match self {
            Self::AtMost(limit) => measured <= limit,
            Self::AtLeast(limit) => measured >= limit,
            Self::Exactly(limit) => measured.to_bits() == limit.to_bits(),
            Self::None => true,
        }
    }
}

impl Figure {
    pub(crate) fn new(
        name: impl Into<String>,
        measured: f64,
        unit: impl Into<String>,
        limit: Limit,
    ) -> Self {
        Self {
            name: name.into(),
            measured,
            unit: unit.into(),
            limit,
            met: limit.holds(measured),
        }
    }
}

impl Section {
    pub(crate) fn met(&self) -> bool {
        self.error.is_none() && self.figures.iter().all(|figure| figure.met)
    }

    /// Returns a table for the terminal: metric, measured, limit, verdict.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{} ({:.0} s)\n", self.scenario, self.seconds);
        let width = self.figures.iter().map(|figure| figure.name.len()).max();
        for figure in &self.figures {
            let limit = match figure.limit {
                Limit::AtMost(limit) => format!("≤ {}", number(limit)),
                Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
                Limit::Exactly(limit) => format!("= {}", number(limit)),
                Limit::None => String::new(),
            };
            let verdict = match (figure.limit, figure.met) {
                (Limit::None, _) => "",
                (_, true) => "met",
                (_, false) => "NOT MET",
            };
            let line = format!(
                "  {:width$}  {:>12} {:<14} {limit:>12}  {verdict}",
                figure.name,
                number(figure.measured),
                figure.unit,
                width = width.unwrap_or_default(),
            );
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if let Some(error) = &self.error {
            let _ = writeln!(text, "  error: {error}");
        }
        text
    }
}

/// Returns the command line of a run. A report is committed, so the program's path is shortened to `release/bench`: its
/// directory names the profile.
pub(crate) fn command_line(args: impl IntoIterator<Item = String>) -> String {
    let mut args: Vec<String> = args.into_iter().collect();
    if let Some(program) = args.first_mut() {
        let parts: Vec<&str> = program.rsplit('/').take(2).collect();
        *program = parts.into_iter().rev().collect::<Vec<_>>().join("/");
    }
    args.join(" ")
}

impl Report {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        fs::write(path, json).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Formats with enough digits for a comparison.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 || magnitude >= 1000.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_command_without_the_path_of_the_machine() {
        let line = |text: &str| command_line(text.split(' ').map(str::to_owned));
        let shown = "release/bench --short --out target/a.json grants";
        assert_eq!(line(&format!("/home/me/vctl/target/{shown}")), shown);
        assert_eq!(line("bench grants"), "bench grants");
    }

    #[test]
    fn a_figure_is_held_against_its_limit() {
        let met = |measured, limit| Figure::new("x", measured, "ms", limit).met;
        assert!(met(5.0, Limit::AtMost(5.0)) && !met(5.1, Limit::AtMost(5.0)));
        assert!(
            met(40_000.0, Limit::AtLeast(40_000.0)) && !met(39_999.0, Limit::AtLeast(40_000.0))
        );
        assert!(met(0.0, Limit::Exactly(0.0)) && !met(1.0, Limit::Exactly(0.0)));
        assert!(met(7.0, Limit::None));
    }

    #[test]
    fn a_scenario_that_failed_has_met_nothing() {
        let section = Section {
            scenario: "logins".to_owned(),
            seconds: 1.0,
            figures: Vec::new(),
            raw: serde_json::Value::Null,
            error: Some("sshd is gone".to_owned()),
        };
        assert!(!section.met());
        assert!(section.table().contains("sshd is gone"));
    }
}
