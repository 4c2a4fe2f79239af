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
    for path in paths(overlay)? {
        if let Some(reason) = neutral::reason(&path) {
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

/// Returns the paths of all files and links, relative to the overlay.
fn paths(overlay: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut directories = vec![overlay.to_owned()];
    while let Some(directory) = directories.pop() {
        let files = fs::read_dir(&directory);
        for file in files.with_context(|| format!("cannot read `{}`", directory.display()))? {
            let file = file?;
            if file.file_type()?.is_dir() {
                directories.push(file.path());
            } else {
                let path = file.path();
                paths.push(path.strip_prefix(overlay)?.to_string_lossy().into_owned());
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Copies files as root's. A directory or a link to one that Debian has keeps its mode.
pub(super) fn copy(overlay: &Path, root: &Path) -> Result<()> {
    let script = "tar -C \"$1\" --owner=0 --group=0 --numeric-owner --mode=go-w -cf - . | \
        tar -C \"$2\" --no-overwrite-dir --keep-directory-symlink -xpf -";
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", script, "copy"]);
    quietly(shell.arg(overlay).arg(root)).map(drop)
}

#[cfg(test)]
mod tests {
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
            "var/log/app.log",
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
        std::os::unix::fs::symlink("hosts.fleet", overlay.path().join("etc/hosts")).unwrap();
        assert!(check(overlay.path(), false).is_err());
    }
}
