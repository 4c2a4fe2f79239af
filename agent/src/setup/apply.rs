//! Carries out the steps of a plan. Each change is in the journal before it is made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use vctl_common::atomic_file::{Durability, NewFile, Unfinished};

use super::User;
use super::error::SetupError;
use super::host::Host;
use super::journal::{Change, Journal, create_directory, digest, unwritable};
use super::plan::{Plan, Step};
use super::roll_back::{self, Failed, Replaced};
use super::wanted::{Kind, NewText};
use super::{sshd, systemd};
use crate::pam::{self, LineOptions, Preview};

/// Time in which a collector answers that systemd has started.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Carries out all steps, or none: after a failure the steps of this run are undone.
///
/// # Errors
/// `RolledBack` with the reason, or `HalfDone` if undoing failed too.
pub(super) fn apply(
    host: &Host,
    plan: &Plan,
    journal: Journal,
    user: &mut dyn User,
) -> Result<(), SetupError> {
    let earlier = journal.clone();
    let mut work = Work {
        host,
        journal: Journal {
            complete: false,
            ..journal
        },
        replaced: Vec::new(),
    };
    let mut done = work.journal.store(host);
    for step in &plan.steps {
        if done.is_err() {
            break;
        }
        done = work.step(step);
        if done.is_ok() {
            user.tell(&format!("done: {}\n", step.describe()));
        }
    }
    let done = done.and_then(|()| {
        work.journal.complete = true;
        if let Some(digest) = &plan.enrolment {
            work.journal.note_enrolment(digest.clone());
        }
        work.journal.store(host)
    });
    done.map_err(|error| {
        let failed = Failed {
            journal: work.journal,
            replaced: work.replaced,
            earlier,
            enrolment: plan.enrolment.clone(),
        };
        roll_back::roll_back(host, failed, error, user)
    })
}

/// Waits until the collector accepts a connection. Its unit may have started a program that is no collector.
fn answers(socket: &Path) -> Result<(), SetupError> {
    let end = Instant::now() + ANSWERS_WITHIN;
    while UnixStream::connect(socket).is_err() {
        if Instant::now() >= end {
            let socket = socket.display().to_string();
            return Err(SetupError::SilentCollector { socket });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

struct Work<'a> {
    host: &'a Host,
    journal: Journal,
    /// Files of an earlier setup that this run replaces, for the way back to that setup.
    replaced: Vec<Replaced>,
}

impl Work<'_> {
    fn step(&mut self, step: &Step) -> Result<(), SetupError> {
        match step {
            Step::Directory { path, mode } => {
                let change = Change::Directory { path: path.clone() };
                // The journal has its own directory already.
                if !self.journal.changes.contains(&change) {
                    self.note(change)?;
                }
                create_directory(&self.host.real(path)?, *mode).map(drop)
            }
            Step::File(file) => self.file(file),
            Step::RemoveUnit { path, .. } | Step::RemoveOwn { path } => self.remove_unit(path),
            Step::ReloadSshd { unit } => {
                sshd::test(self.host)?;
                if crate::check::sshd(&sshd::settings(self.host)).0 != Some(true) {
                    return Err(SetupError::PamStaysOff);
                }
                unit.map_or(Ok(()), |unit| sshd::reload(self.host, unit))
            }
            Step::Unit {
                name,
                has_changed,
                runs_replaced,
            } => self.unit(name, *has_changed || *runs_replaced),
            Step::PamLine { line, socket } => {
                if let Some(socket) = socket {
                    answers(socket)?;
                }
                self.pam_line(line)
            }
        }
    }

    fn note(&mut self, change: Change) -> Result<(), SetupError> {
        self.journal.changes.push(change);
        self.journal.store(self.host)
    }

    fn file(&mut self, file: &NewText) -> Result<(), SetupError> {
        let path = file.place(self.host)?;
        self.note_file(&path, file, digest(file.text.as_bytes()))?;
        // Others than root must not write a unit, and other users must not read a secret.
        let old = match file.kind {
            Kind::Settings => fs::metadata(&path).ok(),
            Kind::Secret | Kind::Shipped | Kind::Snippet => None,
        };
        let mode = if file.kind.is_secret() { 0o600 } else { 0o644 };
        let new = NewFile {
            mode: Some(old.as_ref().map_or(mode, MetadataExt::mode) & 0o7777),
            owner: old.as_ref().map(MetadataExt::uid),
            group: old.as_ref().map(MetadataExt::gid),
            ..NewFile::private(Durability::Synced, Unfinished::OneName)
        };
        new.replace(&path, |out| out.write_all(file.text.as_bytes()))
            .map_err(|source| unwritable(&path, source))
    }

    fn remove_unit(&mut self, path: &str) -> Result<(), SetupError> {
        let nothing = NewText {
            path: path.to_owned(),
            kind: Kind::Shipped,
            text: String::new(),
            replaces: true,
        };
        let place = nothing.place(self.host)?;
        self.note_file(&place, &nothing, String::new())?;
        fs::remove_file(&place).map_err(|source| unwritable(&place, source))
    }

    /// Notes that a file gets a content of this digest.
    fn note_file(&mut self, place: &Path, file: &NewText, now: String) -> Result<(), SetupError> {
        // The first copy stays: `--undo` restores the file from before the first setup.
        let Some(at) = self.journal.file(&file.path) else {
            let before = Journal::keep(self.host, place)?;
            return self.note(Change::File {
                path: file.path.clone(),
                before,
                wrote: now,
                is_secret: file.kind.is_secret(),
            });
        };
        let replaced = Replaced::read(place)?;
        if let Some(Change::File { wrote, .. }) = self.journal.changes.get_mut(at) {
            let is_edited = replaced.digest().is_some_and(|digest| digest != *wrote);
            // The old digest stays for a file that a user edited, so `--undo` keeps the file.
            if !is_edited || file.kind.is_secret() {
                *wrote = now;
            }
        }
        self.replaced.push(replaced);
        self.journal.store(self.host)
    }

    fn unit(&mut self, name: &str, restarts: bool) -> Result<(), SetupError> {
        let is_new =
            |change: &Change| !matches!(change, Change::Unit { name: of, .. } if of == name);
        if self.journal.changes.iter().all(is_new) {
            self.note(Change::Unit {
                name: name.to_owned(),
                was_active: systemd::runs(self.host) && systemd::is(self.host, "is-active", name),
                was_enabled: systemd::is(self.host, "is-enabled", name),
            })?;
        }
        if !systemd::runs(self.host) {
            return systemd::systemctl(self.host, &["enable", name]);
        }
        systemd::systemctl(self.host, &["daemon-reload"])?;
        systemd::systemctl(self.host, &["enable", "--now", name])?;
        if restarts {
            systemd::systemctl(self.host, &["restart", name])?;
        }
        Ok(())
    }

    fn pam_line(&mut self, line: &LineOptions) -> Result<(), SetupError> {
        let path = format!("/etc/pam.d/{}", line.service);
        // The plan looked at this file before sshd and the units were changed.
        let Preview::Text(text) = pam::preview(line)? else {
            return Ok(());
        };
        let before = Journal::keep(self.host, &self.host.real(&path)?)?;
        self.note(Change::PamLine {
            service: line.service.clone(),
            path,
            before,
            wrote: digest(text.as_bytes()),
        })?;
        pam::add(line).map(drop).map_err(SetupError::from)
    }
}
