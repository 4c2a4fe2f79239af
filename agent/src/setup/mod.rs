//! `vctl-agent setup`: does the steps of a host once, and undoes them.
//!
//! `plan` reads the host and returns the steps, and refuses before any change; `apply` carries them out and writes the
//! journal; `undo` restores the host from the journal. A step that fails undoes the steps before it. The PAM line is
//! the last step of a setup and the first one of an undo: sshd never calls a program that cannot answer.

mod agent_yaml;
mod apply;
mod enrolment;
mod error;
mod host;
mod journal;
mod kernels;
mod opened;
mod plan;
mod preflight;
mod roll_back;
mod saved;
mod shipped;
mod sshd;
mod systemd;
mod undo;
mod units;
mod unused;
mod wanted;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::check::{self, Report};
use crate::config::Config;

pub use error::SetupError;
use host::Host;
use journal::Journal;

/// Options of the command line.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// Directory to use as `/`, such as an image that is being built.
    pub root: PathBuf,
    /// File that `vctl host enroll --out` wrote.
    pub enroll: Option<PathBuf>,
    /// Refuses logins that cannot be stamped.
    pub strict: bool,
}

/// The answer to the question after the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// There is no terminal, and no `--yes`.
    CannotAsk,
}

/// The user of the command: reads each step, and answers one question.
pub trait User {
    fn tell(&mut self, text: &str);
    fn confirm(&mut self) -> Answer;
}

/// Time in which a running collector opens the secret id of an enrolment.
const OPENED_WITHIN: Duration = Duration::from_secs(10);

/// Sets the host up; returns the result of `vctl-agent check`, except for an image.
///
/// # Errors
/// The host was refused and not changed, a step failed and the steps before it are undone, or the host is set up and
/// the secret id of its enrolment could not be opened.
pub fn run(options: &SetupOptions, user: &mut dyn User) -> Result<Option<Report>, SetupError> {
    let host = Host::lock(&options.root, |text| user.tell(text))?;
    let journal = Journal::load(&host)?;
    if journal.as_ref().is_some_and(|journal| !journal.complete) {
        return Err(SetupError::Interrupted);
    }
    let plan = plan::plan(&host, options, journal.as_ref())?;
    for file in &plan.kept {
        user.tell(&format!("kept: {file}\n"));
    }
    if plan.steps.is_empty() {
        user.tell("Nothing to do: this host is set up.\n");
    } else {
        let mut text = "Steps of the setup:\n".to_owned();
        for (number, step) in (1..).zip(&plan.steps) {
            let _ = writeln!(text, "  {number}. {}", step.describe());
        }
        user.tell(&text);
        ask(user)?;
        apply::apply(&host, &plan, journal.unwrap_or_default(), user)?;
    }
    for next in &plan.next {
        user.tell(&format!("Next: {next}\n"));
    }
    if !host.is_this_machine() {
        return Ok(None);
    }
    let config = host.config()?;
    let secret_id = &config.centre.secret_id_file;
    // Only a collector that systemd has started opens it.
    let is_due = options.enroll.is_some() && systemd::runs(&host);
    let is_open = !is_due || opened::within(secret_id, OPENED_WITHIN);
    let report = check::run(&config, !plan.ships);
    // The report has the better reason, such as a Vault that is away.
    if !is_open && !report.failed() {
        let path = secret_id.display().to_string();
        return Err(SetupError::StaysWrapped { path });
    }
    Ok(Some(report))
}

/// Restores the host to its state before the first setup.
///
/// # Errors
/// A part could not be restored. The journal still lists it, so the command can be run again.
pub fn undo(options: &SetupOptions, user: &mut dyn User) -> Result<(), SetupError> {
    let host = Host::lock(&options.root, |text| user.tell(text))?;
    let journal = Journal::load(&host)?;
    undo::check(&host, journal.as_ref())?;
    let Some(journal) = journal else {
        user.tell("Nothing to undo: setup changed nothing on this host.\n");
        return Ok(());
    };
    let mut text = "Steps of the undo:\n".to_owned();
    for (number, step) in (1..).zip(undo::describe(&journal)) {
        let _ = writeln!(text, "  {number}. {step}");
    }
    user.tell(&text);
    ask(user)?;
    let config = host.config().unwrap_or_else(|_| Config::default());
    undo::undo(&host, journal, &config.pin_dir, user)
}

fn ask(user: &mut dyn User) -> Result<(), SetupError> {
    match user.confirm() {
        Answer::Yes => Ok(()),
        Answer::No => Err(SetupError::Declined),
        Answer::CannotAsk => Err(SetupError::NoTerminal),
    }
}
