//! Files of the user that are copied over the root of a Debian.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{neutral, secrets};
use crate::command::quietly;

/// Most files that an error names.
const SHOWN: usize = 20;

/// Refuses an overlay with secrets, and one with files that the build removes or replaces.
pub(super) fn check(overlay: &Path, allows_authorized_keys: bool) -> Result<()> {
    ensure!(
        overlay.is_dir(),
        "`{}` is not a directory",
        overlay.display()
    );
    let mut lost = Vec::new();
    for (path, is_link) in paths(overlay)? {
        if let Some(reason) = neutral::reason(&path, is_link) {
            lost.push(format!("/{path}: {reason}"));
        }
    }
    if !lost.is_empty() {
        let more = lost.len().saturating_sub(SHOWN);
        lost.truncate(SHOWN);
        if more > 0 {
            lost.push(format!("and {more} more"));
        }
        bail!(
            "the build removes or replaces files of the overlay:\n  {}\nremove them; cloud-init or a unit of the overlay \
             can write them on each host",
            lost.join("\n  ")
        );
    }
    secrets::refuse("overlay", overlay, allows_authorized_keys)
}

/// Returns the paths of all files and links, relative to the overlay, and which of them are links.
fn paths(overlay: &Path) -> Result<Vec<(String, bool)>> {
    let mut paths = Vec::new();
    let mut directories = vec![overlay.to_owned()];
    while let Some(directory) = directories.pop() {
        let files = fs::read_dir(&directory);
        for file in files.with_context(|| format!("cannot read `{}`", directory.display()))? {
            let file = file?;
            let kind = file.file_type()?;
            if kind.is_dir() {
                directories.push(file.path());
            } else {
                let path = file.path();
                let path = path.strip_prefix(overlay)?.to_string_lossy().into_owned();
                paths.push((path, kind.is_symlink()));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Copies files as root's. A directory or a link to one that Debian has keeps its mode.
///
/// The tar of the root unpacks: Debian has absolute links to directories, such as `/usr/lib/ssl/certs`, and outside of the
/// root they lead to directories of this machine.
pub(super) fn copy(overlay: &Path, root: &Path) -> Result<()> {
    let script = "tar -C \"$1\" --owner=0 --group=0 --numeric-owner --mode=go-w -cf - . | \
        chroot \"$2\" tar -C / --no-overwrite-dir --keep-directory-symlink -xpf -";
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", script, "copy"]);
    quietly(shell.arg(overlay).arg(root)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Returns the reason against an overlay with this file; empty if it is accepted.
    fn refusal(path: &str, text: &str) -> String {
        let overlay = tempfile::tempdir().unwrap();
        let file = overlay.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        let checked = check(overlay.path(), false);
        checked
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_secret_of_the_overlay_is_refused_before_the_build() {
        let refused = refusal("root/.vault-token", "x\n");
        assert!(
            refused.contains("\n  /root/.vault-token: stored credentials"),
            "{refused}"
        );
        assert_eq!(refusal("etc/vctl/agent.yaml", "spool: {}\n"), "");
    }

    #[test]
    fn a_file_of_the_overlay_is_never_lost_in_silence() {
        for path in [
            "etc/hosts",
            "etc/hostname",
            "etc/resolv.conf",
            "etc/machine-id",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "etc/ssh/sshd_config.d/10-vault-ca.conf",
            "var/log/app.log",
            "var/lock/app",
            "var/run/app/socket",
            "run/app/socket",
        ] {
            let refused = refusal(path, "x\n");
            assert!(refused.contains(&format!("\n  /{path}: ")), "{refused}");
        }
        assert_eq!(refusal("etc/ssh/sshd_config.d/50-site.conf", "x\n"), "");
    }

    #[test]
    fn a_link_in_the_place_of_such_a_file_is_refused_too() {
        let overlay = tempfile::tempdir().unwrap();
        fs::create_dir(overlay.path().join("etc")).unwrap();
        symlink("hosts.fleet", overlay.path().join("etc/hosts")).unwrap();
        assert!(check(overlay.path(), false).is_err());
    }

    #[test]
    fn a_link_cannot_stand_for_a_directory_that_the_build_empties() {
        let machine = tempfile::tempdir().unwrap();
        fs::write(machine.path().join("kept"), "").unwrap();
        for directory in ["tmp", "var/tmp", "var/log", "var/cache/apt"] {
            let root = tempfile::tempdir().unwrap();
            let link = root.path().join(directory);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(machine.path(), &link).unwrap();
            assert!(check(root.path(), false).is_err(), "{directory}");
            // The root of a Debian could have such a link of its own.
            assert!(neutral::run(root.path()).is_err(), "{directory}");
        }
        assert!(machine.path().join("kept").exists());
    }

    #[test]
    fn a_link_among_the_logs_is_kept() {
        let overlay = tempfile::tempdir().unwrap();
        fs::create_dir_all(overlay.path().join("var/log")).unwrap();
        symlink("../../srv/log", overlay.path().join("var/log/app")).unwrap();
        check(overlay.path(), false).unwrap();
    }
}
