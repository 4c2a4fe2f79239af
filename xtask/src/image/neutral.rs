//! Removes the parts of a root that belong to one machine or one build: two hosts of an image must not share them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Files that the first boot or the next use of a tool makes again.
const REMOVED: [&str; 9] = [
    "etc/hostname",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
];
/// Directories whose content is lost at a boot or made again.
const EMPTIED: [&str; 5] = [
    "run",
    "tmp",
    "var/tmp",
    "var/lib/apt/lists",
    "var/cache/apt",
];
/// Logs that must exist, with their modes, before a program writes to them.
const LOGINS: [&str; 3] = ["btmp", "lastlog", "wtmp"];

pub(super) fn run(root: &Path) -> Result<()> {
    for path in REMOVED {
        remove(&root.join(path))?;
    }
    for path in EMPTIED {
        empty(&root.join(path))?;
    }
    for file in entries(&root.join("etc/ssh"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") {
            remove(&file)?;
        }
    }
    logs(&root.join("var/log"))?;
    // systemd writes a new id to an empty file. A missing file would be the first boot in the sense of systemd, which
    // then enables units by its presets.
    File::create(root.join("etc/machine-id"))?;
    fs::write(
        root.join("etc/hosts"),
        "127.0.0.1 localhost\n::1 localhost\n",
    )?;
    let resolver = root.join("etc/resolv.conf");
    remove(&resolver)?;
    symlink("../run/systemd/resolve/stub-resolv.conf", resolver)?;
    Ok(())
}

fn logs(directory: &Path) -> Result<()> {
    for path in entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            logs(&path)?;
        } else if LOGINS.iter().any(|login| name == *login) {
            File::options().write(true).truncate(true).open(&path)?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

fn empty(directory: &Path) -> Result<()> {
    for path in entries(directory)? {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Returns the paths in a directory; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(files) => files.map(|file| Ok(file?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| directory.display().to_string()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
