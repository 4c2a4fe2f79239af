//! Restores the host from the journal: the PAM line first, then units and probe, then files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vctl_common::atomic_file::unfinished_name;

use super::User;
use super::error::SetupError;
use super::host::Host;
use super::journal::{self, Before, Change, Journal, digest, unreadable, unwritable};
use super::saved::{Saved, is_link};
use super::shipped::COLLECT;
use super::{sshd, systemd};
use crate::pam::{self, EditError, LineOptions};
use crate::probe;

/// Refuses while any PAM file has a stamp line that setup did not add: it needs the collector and the program.
pub(super) fn check(host: &Host, journal: Option<&Journal>) -> Result<(), SetupError> {
    let changes = journal.map_or(&[][..], |journal| &journal.changes);
    let ours = changes.iter().filter_map(|change| match change {
        Change::PamLine { service, .. } => Some(service.as_str()),
        _ => None,
    });
    let ours: Vec<&str> = ours.collect();
    match pam::stamp_lines(host.root(), &ours).into_iter().next() {
        Some(line) => Err(SetupError::LineOfOthers(line)),
        None => Ok(()),
    }
}

/// Returns one line for each step, in the order of [`undo`].
pub(super) fn describe(journal: &Journal) -> Vec<String> {
    let describe = |change: &&Change| match change {
        Change::PamLine { path, .. } => format!("remove the PAM line from {path}"),
        Change::Unit {
            name,
            was_active,
            was_enabled,
        } => match (was_active, was_enabled) {
            (true, true) => format!("restart {name}, which ran before the setup"),
            (true, false) => format!("disable {name}, which ran before the setup"),
            (false, true) => format!("stop {name}, which was enabled before the setup"),
            (false, false) => format!("stop and disable {name}"),
        },
        Change::File {
            path, before: None, ..
        } => format!("remove {path}"),
        Change::File { path, .. } => format!("restore {path}"),
        Change::Directory { path } => format!("remove the directory {path} if it is empty"),
    };
    let ordered = ordered(&journal.changes);
    let (first, last) = ordered.split_at(before_probe(&ordered));
    let mut lines: Vec<String> = first.iter().map(describe).collect();
    if ordered.iter().any(|change| starts_collector(change)) {
        lines.push("unload the probe".to_owned());
    }
    lines.extend(last.iter().map(describe));
    lines
}

/// Restores the host and removes the journal. `pin_dir` is that of the probe to unload.
pub(super) fn undo(
    host: &Host,
    mut journal: Journal,
    pin_dir: &Path,
    user: &mut dyn User,
) -> Result<(), SetupError> {
    let changes = std::mem::take(&mut journal.changes);
    let mut left = Vec::new();
    let mut stops = false;
    let ordered = ordered(&changes);
    let (first, last) = ordered.split_at(before_probe(&ordered));
    let mut has_stopped_collector = false;
    for (number, changes) in [first, last].into_iter().enumerate() {
        if number > 0
            && has_stopped_collector
            && host.owns_probe()
            && let Err(error) = probe::detach(pin_dir)
        {
            left.push(format!("the probe ({error}): run `vctl-agent detach`"));
        }
        for change in changes {
            if stops {
                journal.changes.push((*change).clone());
                continue;
            }
            match restore(host, change) {
                Ok(note) => {
                    has_stopped_collector |= starts_collector(change);
                    if let Some(note) = note {
                        user.tell(&format!("kept: {note}\n"));
                    }
                    // These end only after the last change, so a second undo needs them.
                    if matches!(change, Change::Directory { .. }) || was_sshd(change) {
                        journal.changes.push((*change).clone());
                    }
                }
                Err(error) => {
                    // Without the unit and the program, sshd would refuse every login.
                    stops |= matches!(change, Change::PamLine { .. });
                    left.push(format!("{} ({error})", path_of(change)));
                    journal.changes.push((*change).clone());
                }
            }
        }
    }
    if changes.iter().any(was_sshd) {
        left.extend(reload_sshd(host, user));
    }
    if systemd::runs(host) {
        let _ = systemd::systemctl(host, &["daemon-reload"]);
        for name in changes.iter().filter_map(active_before) {
            // With the files from before the setup.
            if let Err(error) = systemd::systemctl(host, &["restart", name]) {
                left.push(format!("{name} ({error})"));
            }
        }
    }
    if left.is_empty() {
        journal::remove(host)?;
        return directories(host, &changes, user);
    }
    journal.changes.reverse();
    journal.complete = false;
    // Without space for the journal the old one stays, and lists more than is left.
    let _ = journal.store(host);
    Err(SetupError::NotRestored {
        left: left.join(", "),
    })
}

pub(super) fn was_sshd(change: &Change) -> bool {
    matches!(change, Change::File { path, .. } if path.starts_with("/etc/ssh/"))
}

/// Makes sshd read its restored configuration; returns the reason if that is not possible.
pub(super) fn reload_sshd(host: &Host, user: &mut dyn User) -> Option<String> {
    let reload = || {
        sshd::test(host)?;
        let running = sshd::Running::of(host);
        if let Some(unit) = running.unit() {
            sshd::reload(host, unit)?;
        }
        Ok(running.next("so that it reads its old configuration again"))
    };
    match reload() {
        Ok(next) => {
            if let Some(next) = next {
                user.tell(&format!("Next: {next}\n"));
            }
            None
        }
        // Removed since the setup.
        Err(SetupError::NoSshd) => None,
        Err(error) => Some(format!("sshd ({error})")),
    }
}

/// The PAM line first, then units, then made files, which free space for the restored ones.
pub(super) fn ordered(changes: &[Change]) -> Vec<&Change> {
    let mut ordered: Vec<&Change> = changes.iter().rev().collect();
    ordered.sort_by_key(|change| match change {
        Change::PamLine { .. } => 0,
        Change::Unit { .. } => 1,
        Change::File { before: None, .. } => 2,
        Change::File { .. } => 3,
        Change::Directory { .. } => 4,
    });
    ordered
}

/// Returns how many of the ordered changes are undone before the probe is unloaded: no program uses it then.
fn before_probe(ordered: &[&Change]) -> usize {
    let needs_program =
        |change: &&Change| matches!(change, Change::PamLine { .. } | Change::Unit { .. });
    ordered.partition_point(needs_program)
}

fn starts_collector(change: &Change) -> bool {
    matches!(change, Change::Unit { name, was_active: false, .. } if name == COLLECT.name)
}

/// Returns the unit of the change, if it ran before the setup.
pub(super) fn active_before(change: &Change) -> Option<&str> {
    match change {
        Change::Unit {
            name,
            was_active: true,
            ..
        } => Some(name),
        _ => None,
    }
}

pub(super) fn path_of(change: &Change) -> &str {
    match change {
        Change::PamLine { path, .. } | Change::File { path, .. } | Change::Directory { path } => {
            path
        }
        Change::Unit { name, .. } => name,
    }
}

/// Restores one change; returns a note about a file that stays.
pub(super) fn restore(host: &Host, change: &Change) -> Result<Option<String>, SetupError> {
    match change {
        Change::PamLine {
            service,
            path,
            before,
            wrote,
        } => {
            let real = host.real(path)?;
            // Left by a crash before the file was complete.
            let _ = fs::remove_file(real.with_file_name(unfinished_name(service)));
            let place = place(host, path, before.as_ref())?;
            let is_ours = fs::read(&place).is_ok_and(|bytes| digest(&bytes) == *wrote);
            if is_ours && !is_link(&place) {
                return put_back(host, path, before.as_ref()).map(|()| None);
            }
            // The file was edited since, so only the line goes.
            let line = LineOptions {
                root: host.root().to_owned(),
                service: service.clone(),
                program: String::new(),
                strict: false,
            };
            match pam::remove(&line) {
                // The service was removed with its file, and the line with it.
                Err(EditError::NoService { .. }) if !host.at(path).exists() => Ok(None),
                removed => removed.map(|_| None).map_err(SetupError::from),
            }
        }
        Change::Unit {
            name,
            was_active,
            was_enabled,
        } => {
            let stops = systemd::runs(host) && !was_active;
            match (stops, was_enabled) {
                (true, true) => systemd::systemctl(host, &["stop", name])?,
                (true, false) => systemd::systemctl(host, &["disable", "--now", name])?,
                (false, false) if *was_active || systemd::enables(host) => {
                    systemd::systemctl(host, &["disable", name])?;
                }
                (false, _) => {}
            }
            Ok(None)
        }
        Change::File {
            path,
            before,
            wrote,
            is_secret,
        } => {
            let place = place(host, path, before.as_ref())?;
            let saved = Saved::read(&place).map_err(|source| unreadable(&place, source))?;
            let Some(now) = saved else {
                // A failed step has not written it, or a user removed it.
                return match before {
                    Some(_) => put_back(host, path, before.as_ref()).map(|()| None),
                    None => Ok(None),
                };
            };
            let old = before.as_ref().and_then(|before| before.saved(host).ok());
            if old.is_some_and(|old| old.bytes == now.bytes && old.is_link == now.is_link) {
                return Ok(None);
            }
            if now.is_link {
                return Ok(Some(format!(
                    "{path} was replaced by a link after the setup"
                )));
            }
            if digest(&now.bytes) != *wrote && !is_secret {
                return Ok(Some(format!("{path} was edited after the setup")));
            }
            put_back(host, path, before.as_ref()).map(|()| None)
        }
        // Removed at the end, when they are empty.
        Change::Directory { .. } => Ok(None),
    }
}

/// Returns where the content of a changed file is. Only a file that existed can have been behind a link; a link in the
/// place of one that setup made is a user's, and its target is not setup's.
fn place(host: &Host, path: &str, before: Option<&Before>) -> Result<PathBuf, SetupError> {
    match before {
        Some(before) if !before.is_link => host.real(path),
        _ => host.entry(path),
    }
}

fn put_back(host: &Host, path: &str, before: Option<&Before>) -> Result<(), SetupError> {
    let place = place(host, path, before)?;
    let done = match before {
        Some(before) => before.saved(host)?.write(&place),
        None => match fs::remove_file(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
    };
    done.map_err(|source| unwritable(&place, source))
}

/// Removes the created directories, the inner ones first. One with records stays.
pub(super) fn directories(
    host: &Host,
    changes: &[Change],
    user: &mut dyn User,
) -> Result<(), SetupError> {
    let mut paths: Vec<&str> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Directory { path } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in paths {
        let real = host.entry(path)?;
        if is_link(&real) {
            user.tell(&format!(
                "kept: {path} was replaced by a link after the setup\n"
            ));
            continue;
        }
        // Sockets and status of a collector that has ended. A chroot may have the /run of the machine, and the collector
        // of the machine still runs.
        if path == "/run/vctl" && host.owns_probe() {
            let _ = fs::remove_dir_all(&real);
        }
        match fs::remove_dir(&real) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                user.tell(&format!("kept: {path} is not empty\n"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unwritable(&real, error));
            }
            _ => {}
        }
    }
    Ok(())
}
