//! Carries out the steps of a plan. Each change is in the journal before it is made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use vctl_common::atomic_file::{Durability, NewFile, Unfinished};

use super::User;
use super::error::SetupError;
use super::host::Host;
use super::journal::{Change, Journal, create_directory, digest, unwritable};
use super::plan::{Plan, Step};
use super::wanted::NewText;
use super::{sshd, systemd, undo};
use crate::pam::{self, LineOptions, Preview};

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
        if plan.enrolment.is_some() {
            work.journal.enrolment.clone_from(&plan.enrolment);
        }
        work.journal.store(host)
    });
    done.map_err(|error| undo::roll_back(host, work.journal, &work.replaced, earlier, error, user))
}

struct Work<'a> {
    host: &'a Host,
    journal: Journal,
    /// Files of an earlier setup that this run replaces, for the way back to that setup.
    replaced: Vec<(PathBuf, Vec<u8>)>,
}

impl Work<'_> {
    fn step(&mut self, step: &Step) -> Result<(), SetupError> {
        match step {
            Step::Directory { path, mode } => {
                self.note(Change::Directory { path: path.clone() })?;
                create_directory(&self.host.real(path)?, *mode).map(drop)
            }
            Step::File(file) => self.file(file),
            Step::ReloadSshd => {
                sshd::test(self.host)?;
                if crate::check::sshd(&sshd::settings(self.host)).0 != Some(true) {
                    return Err(SetupError::PamStaysOff);
                }
                sshd::reload(self.host)
            }
            Step::Unit { name, has_changed } => self.unit(name, *has_changed),
            Step::PamLine(line) => self.pam_line(line),
        }
    }

    fn note(&mut self, change: Change) -> Result<(), SetupError> {
        self.journal.changes.push(change);
        self.journal.store(self.host)
    }

    fn file(&mut self, file: &NewText) -> Result<(), SetupError> {
        let path = self.host.real(&file.path)?;
        let now = digest(file.text.as_bytes());
        // The first copy stays: `--undo` restores the file from before the first setup.
        if let Some(at) = self.journal.file(&file.path) {
            if let Ok(bytes) = fs::read(&path) {
                self.replaced.push((path.clone(), bytes));
            }
            if let Some(Change::File { wrote, .. }) = self.journal.changes.get_mut(at) {
                *wrote = now;
            }
            self.journal.store(self.host)?;
        } else {
            let before = self.journal.keep(self.host, &path)?;
            self.note(Change::File {
                path: file.path.clone(),
                before,
                wrote: now,
                is_secret: file.is_secret,
            })?;
        }
        // An old file keeps its mode and owner, except one that other users could read.
        let old = fs::metadata(&path).ok().filter(|_| !file.is_secret);
        let new = NewFile {
            mode: Some(old.as_ref().map_or(file.mode, MetadataExt::mode) & 0o7777),
            owner: old.as_ref().map(MetadataExt::uid),
            group: old.as_ref().map(MetadataExt::gid),
            ..NewFile::private(Durability::Synced, Unfinished::OneName)
        };
        new.replace(&path, |out| out.write_all(file.text.as_bytes()))
            .map_err(|source| unwritable(&path, source))
    }

    fn unit(&mut self, name: &str, has_changed: bool) -> Result<(), SetupError> {
        let is_new =
            |change: &Change| !matches!(change, Change::Unit { name: of, .. } if of == name);
        if !systemd::is(self.host, "is-enabled", name) && self.journal.changes.iter().all(is_new) {
            let was_active = systemd::runs(self.host) && systemd::is(self.host, "is-active", name);
            let name = name.to_owned();
            self.note(Change::Unit { name, was_active })?;
        }
        if !systemd::runs(self.host) {
            return systemd::systemctl(self.host, &["enable", name]);
        }
        systemd::systemctl(self.host, &["daemon-reload"])?;
        systemd::systemctl(self.host, &["enable", "--now", name])?;
        if has_changed {
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
        let before = self.journal.keep(self.host, &self.host.real(&path)?)?;
        self.note(Change::PamLine {
            service: line.service.clone(),
            path,
            before,
            wrote: digest(text.as_bytes()),
        })?;
        pam::add(line).map(drop).map_err(SetupError::from)
    }
}
