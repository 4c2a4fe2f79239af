//! The disk of an image, with the parts that a test needs to reach the guest.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{ENROLMENT_OF_HOST, Trial};
use crate::boot::guest::EMULATED;
use crate::boot::root::{Disk, MASKED, relay};
use crate::command::quietly;

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
    script.run(&image)?;
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

    /// Runs the commands on a file system.
    fn run(&self, image: &Path) -> Result<()> {
        let commands = self.work.join("commands");
        fs::write(&commands, &self.commands)?;
        let mut debugfs = Command::new("debugfs");
        debugfs.arg("-w").arg("-f").arg(&commands).arg(image);
        let output = debugfs.output().context("cannot run `debugfs`")?;
        // debugfs ends with 0 after a command that failed. The first line of its messages is its version, and a directory
        // may be there already; a file that is there would stay as it is.
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut errors = errors.lines().skip(1);
        let error = errors.find(|line| !line.contains("directory already exists"));
        ensure!(
            output.status.success() && error.is_none(),
            "debugfs: {error:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_exist_and_a_file_may_not() {
        let work = tempfile::tempdir().unwrap();
        let image = work.path().join("disk");
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        quietly(Command::new("mkfs.ext4").arg("-q").arg(&image)).unwrap();
        let written = |paths: &[&str]| {
            let mut script = Script {
                work: work.path().to_owned(),
                commands: String::new(),
                count: 0,
            };
            script.directory(Path::new("etc"));
            for path in paths {
                script.write(path, "x\n").unwrap();
            }
            script.run(&image)
        };
        written(&["etc/a"]).unwrap();
        written(&["etc/b"]).unwrap();
        let error = written(&["etc/a"]).unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
    }
}
