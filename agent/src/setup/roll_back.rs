//! The way back from a setup that failed: the host is as before this run, except for a used enrolment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::User;
use super::error::SetupError;
use super::host::Host;
use super::journal::{
    Before, Change, Journal, copy, digest, unreadable, unwritable, write_private,
};
use super::saved::Saved;
use super::shipped::{COLLECT, NODE};
use super::systemd;
use super::undo::{
    active_before, directories, ordered, path_of, reload_sshd, restore, undo, was_sshd,
};

/// A file or a link before this run replaced or removed it.
pub(super) struct Replaced {
    path: PathBuf,
    /// `None` if it did not exist.
    old: Option<Saved>,
}

impl Replaced {
    pub(super) fn read(path: &Path) -> Result<Self, SetupError> {
        Ok(Self {
            old: Saved::read(path).map_err(|source| unreadable(path, source))?,
            path: path.to_owned(),
        })
    }

    /// Returns the digest of a file's content.
    pub(super) fn digest(&self) -> Option<String> {
        let file = self.old.as_ref().filter(|old| !old.is_link);
        file.map(|old| digest(&old.bytes))
    }

    fn put_back(&self) -> Result<(), SetupError> {
        let done = match &self.old {
            Some(old) => old.write(&self.path),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        done.map_err(|source| unwritable(&self.path, source))
    }
}

/// A setup that failed.
pub(super) struct Failed {
    /// The changes until then, those of earlier setups included.
    pub(super) journal: Journal,
    pub(super) replaced: Vec<Replaced>,
    /// The journal before this run.
    pub(super) earlier: Journal,
    /// Digest of the enrolment that this run applied.
    pub(super) enrolment: Option<String>,
}

/// Undoes the changes of a setup that failed; those of an earlier, complete setup stay.
///
/// The agent unwraps the secret id as soon as it runs, and a wrapped one works once. So the files of a used enrolment
/// stay, with a journal that lists them: the next setup with the same enrolment uses them, and an undo removes them.
pub(super) fn roll_back(
    host: &Host,
    mut failed: Failed,
    step: SetupError,
    user: &mut dyn User,
) -> SetupError {
    user.tell("The step failed: undoing the steps before it.\n");
    let used = Used::take(host, &mut failed);
    if let Some(used) = &used {
        user.tell(&format!(
            "kept: {}, because the agent has unwrapped the secret id; the next setup with the same enrolment uses it\n",
            used.paths().join(", ")
        ));
    }
    let is_first = failed.earlier.changes.is_empty();
    let mut left = if is_first {
        let pin_dir = host.config().unwrap_or_default().pin_dir;
        let undone = undo(host, failed.journal, &pin_dir, user);
        let undone = undone.err().map(|error| error.to_string());
        undone.into_iter().collect()
    } else {
        to_earlier(
            host,
            failed.journal,
            &failed.replaced,
            &failed.earlier,
            user,
        )
    };
    let mut journal = if is_first && !left.is_empty() {
        // The one in which the undo lists what is left.
        Journal::load(host).ok().flatten().unwrap_or_default()
    } else {
        failed.earlier
    };
    let copies = used.map(|used| {
        journal.complete |= left.is_empty();
        used.add_to(&mut journal, failed.enrolment)
    });
    if (copies.is_some() || !is_first)
        && let Err(error) = journal.store(host)
    {
        left.push(format!("the journal ({error})"));
    }
    for (path, bytes) in copies.unwrap_or_default() {
        // A copy that cannot be written again is of a file that this enrolment replaces for good.
        let _ = write_private(&path, &bytes);
    }
    if left.is_empty() {
        return SetupError::RolledBack(Box::new(step));
    }
    SetupError::HalfDone {
        step: Box::new(step),
        left: left.join(", "),
    }
}

/// Restores the state after the earlier setup, and returns what could not be restored.
fn to_earlier(
    host: &Host,
    mut journal: Journal,
    replaced: &[Replaced],
    earlier: &Journal,
    user: &mut dyn User,
) -> Vec<String> {
    journal
        .changes
        .retain(|change| !earlier.changes.contains(change));
    let mut left = Vec::new();
    for change in ordered(&journal.changes) {
        // A file that the earlier setup wrote, too, is in `replaced`.
        let is_file =
            |of: &Change| matches!(of, Change::File { path, .. } if path == path_of(change));
        if matches!(change, Change::File { .. }) && earlier.changes.iter().any(is_file) {
            continue;
        }
        if let Err(error) = restore(host, change) {
            left.push(format!("{} ({error})", path_of(change)));
        }
    }
    for file in replaced {
        if let Err(error) = file.put_back() {
            left.push(error.to_string());
        }
    }
    if let Err(error) = directories(host, &journal.changes, user) {
        left.push(error.to_string());
    }
    // It may run with the snippet of this setup.
    if journal.changes.iter().any(was_sshd) {
        left.extend(reload_sshd(host, user));
    }
    // The units of the earlier setup may run with the files of this one.
    if systemd::runs(host) {
        let mut restarted = systemd::systemctl(host, &["daemon-reload"]);
        for unit in [COLLECT.name, NODE.name] {
            let ran = journal.changes.iter().filter_map(active_before);
            // A host without a central store has no node agent. `try-restart` would fail for it.
            if systemd::is(host, "is-enabled", unit) || ran.into_iter().any(|of| of == unit) {
                restarted = restarted.and_then(|()| systemd::systemctl(host, &["restart", unit]));
            }
        }
        if let Err(error) = restarted {
            left.push(error.to_string());
        }
    }
    left
}

/// The files of an enrolment whose secret id the agent has unwrapped, with the copies of the files before them.
struct Used {
    changes: Vec<Change>,
    copies: Vec<(PathBuf, Vec<u8>)>,
}

impl Used {
    /// Takes these files out of what is undone, if there are any.
    fn take(host: &Host, failed: &mut Failed) -> Option<Self> {
        failed.enrolment.as_ref()?;
        let is_secret = |change: &Change| {
            matches!(
                change,
                Change::File {
                    is_secret: true,
                    ..
                }
            )
        };
        let replaced = &failed.replaced;
        let is_used = |change: &Change| match change {
            Change::File {
                path,
                before,
                wrote,
                is_secret: true,
            } => {
                let path = host.real(path).unwrap_or_else(|_| host.at(path));
                let Ok(now) = fs::read(&path) else {
                    return false;
                };
                let now = digest(&now);
                // This run has not written it, because the disk was full.
                let is_replaced =
                    |file: &Replaced| file.path == path && file.digest().as_ref() == Some(&now);
                let old = before.as_ref().and_then(|before| before.saved(host).ok());
                let is_old = old.is_some_and(|old| digest(&old.bytes) == now);
                now != *wrote && !is_old && !replaced.iter().any(is_replaced)
            }
            _ => false,
        };
        if !failed.journal.changes.iter().any(is_used) {
            return None;
        }
        let (changes, others) = std::mem::take(&mut failed.journal.changes)
            .into_iter()
            .partition::<Vec<_>, _>(is_secret);
        let paths: Vec<PathBuf> = changes
            .iter()
            .filter_map(|change| host.real(path_of(change)).ok())
            .collect();
        failed.replaced.retain(|file| !paths.contains(&file.path));
        // Directories of these files stay with them.
        let holds = |change: &&Change| match change {
            Change::Directory { path } => paths.iter().any(|file| file.starts_with(host.at(path))),
            _ => false,
        };
        let of_directories: Vec<Change> = others.iter().filter(holds).cloned().collect();
        failed.journal.changes = others;
        let befores = changes.iter().filter_map(before);
        let copies = befores.filter_map(|before| {
            let path = copy(host, before);
            let bytes = fs::read(&path).ok()?;
            Some((path, bytes))
        });
        Some(Self {
            copies: copies.collect(),
            changes: [of_directories, changes].concat(),
        })
    }

    fn paths(&self) -> Vec<&str> {
        let files = self.changes.iter();
        files
            .filter(|change| matches!(change, Change::File { .. }))
            .map(path_of)
            .collect()
    }

    /// Adds the changes, and returns the copies to write beside the journal.
    fn add_to(self, journal: &mut Journal, enrolment: Option<String>) -> Vec<(PathBuf, Vec<u8>)> {
        if let Some(digest) = enrolment {
            journal.note_enrolment(digest);
        }
        for change in self.changes {
            let mut listed = journal.changes.iter_mut();
            match listed.find(|of| path_of(of) == path_of(&change)) {
                Some(of) => *of = change,
                None => journal.changes.push(change),
            }
        }
        self.copies
    }
}

fn before(change: &Change) -> Option<&Before> {
    match change {
        Change::File { before, .. } => before.as_ref(),
        _ => None,
    }
}
