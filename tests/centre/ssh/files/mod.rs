//! Files of users and other programs, and homes with unusual properties.

mod config;
mod config_host_keys;
mod homes;
mod known_hosts;
mod locks;
mod read_only;
mod ssh_config;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vctl_tests::centre::Centre;
use vctl_tests::lab::Programs;

use crate::login::Said;

/// Users without a passwd entry.
const ALICE: u32 = 64_242;
const BOB: u32 = 64_243;

/// A directory that every user can read, with a copy of vctl. Other users cannot read a checkout below a home.
struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let vctl = Programs::find().unwrap().vctl;
        fs::copy(vctl, dir.path().join("vctl")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Creates a directory that belongs to a user.
    fn directory(&self, name: &str, uid: u32, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Returns vctl as that user in `/`. The environment contains only the settings of the centre.
    fn vctl(&self, centre: &Centre, uid: u32, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        command
            .args([&*user, &group, "--clear-groups", "--"])
            .arg(self.path("vctl"))
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(centre.environment())
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }
}

pub(super) fn said(command: &mut Command) -> Said {
    command.output().unwrap().into()
}

/// Returns every file below a directory with its owner and mode.
fn inventory_of(directory: &Path) -> String {
    let listed = Command::new("find")
        .arg(directory)
        .args(["-printf", "%U %G %m %T@ %p\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}
