//! The state of one run, and what its steps have in common.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::centre::{Centre, Desk, PERSON};
use super::guest::{Guest, until};
use crate::command::say;

pub(crate) const COLLECT: &str = "vctl-collect.service";
pub(crate) const NODE: &str = "vctl-node-agent.service";

/// One promise that a run has tested.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// The facts that were seen, or the error.
    pub(crate) seen: String,
    pub(crate) passed: bool,
}

impl Step {
    /// Carries out a step, and returns it with its success.
    pub(crate) fn carry_out(
        name: &str,
        carry_out: impl FnOnce() -> Result<String>,
    ) -> (Self, Result<()>) {
        say(&format!("- {name}"));
        let began = Instant::now();
        let done = carry_out();
        let seen = match &done {
            Ok(seen) => seen.clone(),
            Err(error) => format!("{error:#}"),
        };
        say(&format!("  {seen}"));
        let step = Self {
            name: name.to_owned(),
            seconds: began.elapsed().as_secs_f64().round(),
            seen,
            passed: done.is_ok(),
        };
        (step, done.map(drop))
    }
}

pub(crate) struct Course<'a> {
    pub(crate) guest: Guest,
    pub(crate) desk: Desk<'a>,
    pub(crate) centre: &'a Centre,
    /// Package of the agent.
    pub(crate) package: PathBuf,
    /// The same package with a higher version.
    pub(crate) newer: PathBuf,
    pub(crate) steps: Vec<Step>,
}

impl Course<'_> {
    /// Carries out a step. The later steps need it, so its error ends the run.
    pub(crate) fn step(
        &mut self,
        name: &str,
        carry_out: impl FnOnce(&mut Self) -> Result<String>,
    ) -> Result<()> {
        let (step, done) = Step::carry_out(name, || carry_out(self));
        self.steps.push(step);
        done
    }

    /// Returns the serials of the person's sessions in Postgres, the newest first.
    pub(crate) fn serials(&self) -> Result<Vec<String>> {
        let listed = self.desk.run("vctl session --host web-1 --json")?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        let sessions = listed["sessions"].as_array();
        let sessions = sessions.context("`vctl session --json` has no sessions")?;
        let person = format!("userpass-{PERSON}");
        let own = sessions
            .iter()
            .filter(|session| session["person"] == person.as_str());
        Ok(own
            .filter_map(|session| Some(session["serial"].as_str()?.to_owned()))
            .collect())
    }

    /// Waits for a session of the person beside `known` that is complete in Postgres; returns its serial and its page.
    ///
    /// The hook waits two seconds for the collector. A login that was stamped later, as happens on an emulated CPU, is
    /// repeated with `again`.
    pub(crate) fn complete_session(
        &self,
        known: &[String],
        again: Option<&str>,
    ) -> Result<(String, String)> {
        let mut known = known.to_vec();
        let mut found = None;
        until("the session is complete in Postgres", || {
            let Some(serial) = self.serials()?.into_iter().find(|it| !known.contains(it)) else {
                return Ok(false);
            };
            let page = self.desk.run(&format!("vctl session {serial}"))?;
            if page.lines().any(|line| line.starts_with("complete: ")) {
                found = Some((serial, page));
                return Ok(true);
            }
            if page.contains("  stamped   late") && page.contains("  closed ") {
                let again = again.with_context(|| format!("stamped late: {page}"))?;
                say("  the login was stamped late; once more");
                known.push(serial);
                self.desk.run(again)?;
            }
            Ok(false)
        })?;
        found.context("no session was found")
    }

    /// Runs a program in each of `turns` steps of a session, and `meanwhile` after the first ones. Returns the serial
    /// of the session if its record has every turn.
    pub(crate) fn busy_session(
        &self,
        turns: u32,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<String> {
        let known = self.serials()?;
        let script = format!(
            "vctl ssh web-1 -- 'for i in $(seq 1 {turns}); do /bin/echo turn-$i; sleep 0.5; done'"
        );
        let log = fs::File::create(self.desk.home().join("busy.log"))?;
        let mut shell = self.desk.shell(&script);
        let mut session = shell.stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = session.stdout.take().context("stdout is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let is_busy = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|it| it == "turn-3");
        let done = meanwhile();
        let last = lines.map_while(Result::ok).last();
        let status = session.wait()?;
        done?;
        ensure!(
            is_busy && status.success(),
            "`{script}` ended with {status}"
        );
        let last = last.context("the session ended before the fault")?;
        ensure!(
            last == format!("turn-{turns}"),
            "the session ended at `{last}`"
        );
        let (serial, page) = self.complete_session(&known, None)?;
        for turn in 1..=turns {
            let argv = format!("echo turn-{turn}");
            let is_there = page.lines().any(|line| line.trim_end().ends_with(&argv));
            ensure!(is_there, "session {serial} lacks `{argv}`: {page}");
        }
        Ok(serial)
    }

    /// Returns a property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.guest.run(&format!("systemctl show -P {name} {unit}"))
    }

    /// Waits until systemd calls both units active.
    pub(crate) fn await_units(&self) -> Result<()> {
        for unit in [COLLECT, NODE] {
            until(&format!("{unit} is active"), || {
                Ok(self.property(unit, "ActiveState")? == "active")
            })?;
        }
        Ok(())
    }
}
