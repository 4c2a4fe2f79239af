//! Temporary Unix accounts and their sudo rule.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use super::journal::Journal;
use super::undo::Undo;

/// Creates an account with a home in `homes` and the right to become root without a password.
pub(crate) fn add(journal: &Journal, name: &str, homes: &Path) -> Result<User> {
    journal.before(Undo::DeleteUser {
        name: name.to_owned(),
    })?;
    let home = homes.join(name);
    let lock = lock()?;
    let output = Command::new("useradd")
        .args([
            "--no-create-home",
            "--user-group",
            "--shell",
            "/bin/bash",
            "--home-dir",
        ])
        .args([home.as_os_str(), name.as_ref()])
        .output()
        .context("cannot run `useradd`")?;
    drop(lock);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cannot add user `{name}`: {}", said.trim());
    }
    let user = User::from_name(name)?.with_context(|| format!("user `{name}` is not there"))?;
    DirBuilder::new().mode(0o700).create(&home)?;
    chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    allow_sudo(journal, name)?;
    Ok(user)
}

fn allow_sudo(journal: &Journal, name: &str) -> Result<()> {
    let directory = Path::new("/etc/sudoers.d");
    if !directory.is_dir() {
        return Ok(());
    }
    let path = directory.join(name);
    // sudo ignores files with a dot in the name, so it never reads a partial rule.
    let unfinished = path.with_extension("new");
    for path in [&path, &unfinished] {
        journal.before(Undo::RemoveFile { path: path.clone() })?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o440)
        .open(&unfinished)?;
    writeln!(file, "{name} ALL=(ALL:ALL) NOPASSWD: ALL")?;
    fs::rename(&unfinished, &path)?;
    Ok(())
}

/// Waits until no other lab edits the account files, because useradd does not wait by itself.
pub(super) fn lock() -> Result<File> {
    lock_file("/run/vctl-lab.lock")
}

/// Waits for the lock of this file, and creates the file if it is not there.
pub(super) fn lock_file(path: &str) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open `{path}`"))?;
    file.lock()?;
    Ok(file)
}
