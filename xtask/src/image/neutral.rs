//! Removes the parts of a root that belong to one machine or one build: two hosts of an image must not share them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

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
/// Links of Debian into `run`.
const INTO_RUN: [&str; 2] = ["var/run", "var/lock"];
/// Begin of the paths of host keys.
const HOST_KEYS: &str = "etc/ssh/ssh_host_";
const LOGS: &str = "var/log";
/// Makes sshd trust the SSH CA.
const DROP_IN: &str = "etc/ssh/sshd_config.d/10-vault-ca.conf";
/// Files that the build writes.
const MACHINE_ID: &str = "etc/machine-id";
const HOSTS: &str = "etc/hosts";
const RESOLVER: &str = "etc/resolv.conf";
/// Logs that must exist, with their modes, before a program writes to them.
const LOGINS: [&str; 3] = ["btmp", "lastlog", "wtmp"];

/// Returns why a file or link of this path, relative to the root, does not become a part of the image.
pub(super) fn reason(path: &str, is_link: bool) -> Option<&'static str> {
    let is_below = |directory: &str| {
        let rest = path.strip_prefix(directory);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    match path {
        HOSTS => Some("the image has a file of its own"),
        RESOLVER => Some("the image has a link to systemd-resolved"),
        MACHINE_ID => Some("each host has its own"),
        path if REMOVED.contains(&path) => Some("each host makes it again"),
        // In place of the directory, too: the build would empty the directory that a link leads to.
        path if path == LOGS || EMPTIED.contains(&path) || INTO_RUN.contains(&path) => {
            Some("the image has a directory of this name")
        }
        _ if EMPTIED.iter().chain(&INTO_RUN).any(|of| is_below(of)) => {
            Some("the image has an empty directory")
        }
        path if path.starts_with(HOST_KEYS) => Some("each host has its own"),
        DROP_IN => Some("the build writes it; use another name"),
        _ if is_below(LOGS) && !is_link => Some("it is a log"),
        _ => None,
    }
}

pub(super) fn run(root: &Path) -> Result<()> {
    for path in REMOVED {
        remove(&root.join(path))?;
    }
    for path in EMPTIED {
        empty(&root.join(path))?;
    }
    let host_keys = root.join(HOST_KEYS);
    for file in entries(&root.join("etc/ssh"))? {
        if file
            .to_string_lossy()
            .starts_with(&*host_keys.to_string_lossy())
        {
            remove(&file)?;
        }
    }
    logs(&root.join(LOGS))?;
    // systemd writes a new id to an empty file. A missing file would be the first boot in the sense of systemd, which
    // then enables units by its presets.
    File::create(root.join(MACHINE_ID))?;
    fs::write(root.join(HOSTS), "127.0.0.1 localhost\n::1 localhost\n")?;
    let resolver = root.join(RESOLVER);
    remove(&resolver)?;
    symlink("../run/systemd/resolve/stub-resolv.conf", resolver)?;
    Ok(())
}

fn logs(directory: &Path) -> Result<()> {
    ensure_is_no_link(directory)?;
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

/// A link may lead out of the root, to a directory of the machine that builds.
fn ensure_is_no_link(directory: &Path) -> Result<()> {
    ensure!(
        !directory.is_symlink(),
        "`{}` is a link, and must be a directory",
        directory.display()
    );
    Ok(())
}

fn empty(directory: &Path) -> Result<()> {
    ensure_is_no_link(directory)?;
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
