//! The disk of an image, with the parts that a test needs to reach the guest.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::quietly;
use super::{ENROLMENT_OF_HOST, Trial};
use crate::boot::root::{Disk, MASKED, relay};

/// Drop-ins for the CPU time and the patience that an emulated CPU and programs without optimization need.
pub(super) const EMULATED: [(&str, &str); 2] = [
    (
        "usr/lib/systemd/system/vctl-collect.service.d/emulated.conf",
        "[Service]\nCPUQuota=200%\nTimeoutStartSec=10min\nTimeoutStopSec=2min\nWatchdogSec=5min\n",
    ),
    (
        "usr/lib/systemd/system/vctl-node-agent.service.d/emulated.conf",
        "[Service]\nCPUQuota=40%\nTimeoutStartSec=10min\nTimeoutStopSec=2min\nWatchdogSec=5min\n",
    ),
];

/// Writes files to a copy of the disk of the image, without a mount: the root of the image itself is not used again.
pub(super) fn of_image(trial: &Trial, work: &Path, key: &Path, enrolment: &Path) -> Result<Disk> {
    let image = work.join("disk.ext4");
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always")
        .arg(trial.image().join("disk.ext4"));
    quietly(copy.arg(&image))?;
    let mut script = Script {
        work: work.join("files"),
        commands: String::new(),
        count: 0,
    };
    fs::create_dir(&script.work)?;
    let public = fs::read_to_string(key.with_extension("pub"))?;
    script.write("root/.ssh/authorized_keys", &public)?;
    script.write(ENROLMENT_OF_HOST, &fs::read_to_string(enrolment)?)?;
    for (path, text) in EMULATED {
        script.directory(Path::new(path).parent().context("a file has a directory")?);
        script.write(path, text)?;
    }
    let units = "etc/systemd/system";
    script.directory(Path::new("etc/systemd/system/sockets.target.wants"));
    for port in trial.centre.ports()? {
        for (unit, text) in relay(port) {
            script.write(&format!("{units}/{unit}"), &text)?;
        }
        let socket = format!("centre-{port}.socket");
        script.link(
            &format!("{units}/sockets.target.wants/{socket}"),
            &format!("../{socket}"),
        );
    }
    for unit in MASKED.iter().filter(|unit| !unit.contains("wait-online")) {
        script.link(&format!("{units}/{unit}"), "/dev/null");
    }
    let commands = work.join("debugfs");
    fs::write(&commands, &script.commands)?;
    let mut debugfs = Command::new("debugfs");
    let output = debugfs
        .arg("-w")
        .arg("-f")
        .arg(&commands)
        .arg(&image)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // A directory may be there already. The first line is the version.
    let mut errors = errors.lines().skip(1).filter(|line| {
        !line.contains("directory already exists") && !line.contains("already exists")
    });
    let error = errors.next();
    ensure!(error.is_none(), "debugfs: {error:?}");
    Ok(Disk {
        image,
        kernel: trial.image().join("vmlinuz"),
        initrd: trial.image().join("initrd.img"),
        host_key: None,
    })
}

/// Commands of debugfs, and the files that they copy.
struct Script {
    work: PathBuf,
    commands: String,
    count: usize,
}

impl Script {
    /// Writes a file that only root can read.
    fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.count += 1;
        let file = self.work.join(self.count.to_string());
        fs::write(&file, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        let _ = writeln!(self.commands, "write {} /{path}", file.display());
        Ok(())
    }

    fn directory(&mut self, path: &Path) {
        let _ = writeln!(self.commands, "mkdir /{}", path.display());
    }

    fn link(&mut self, path: &str, target: &str) {
        let _ = writeln!(self.commands, "symlink /{path} {target}");
    }
}
