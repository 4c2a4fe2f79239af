//! Files of the guest: busybox, the programs to measure with their libraries, one script.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Cpio;

/// Mounts the file systems of an agent, runs the script, then powers the machine off.
const BEGIN: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
ip link set lo up
dmesg -n 1
cd /srv/bench/work
";
const END: &str = "\necho '@@end'\npoweroff -f\n";

/// Collects files, and then makes an archive of them.
#[derive(Debug)]
pub(crate) struct Image {
    archive: Cpio,
    present: BTreeSet<PathBuf>,
}

impl Image {
    pub(crate) fn new(busybox: &Path) -> Result<Self> {
        let mut image = Self {
            archive: Cpio::default(),
            present: BTreeSet::new(),
        };
        // The figures are defined for a working directory of three components.
        let directories = [
            "proc",
            "sys",
            "dev",
            "tmp",
            "run",
            "etc",
            "root",
            "var/lib",
            "var/log",
            "var/run",
            "srv/bench/work",
        ];
        for directory in directories {
            image.directories(Path::new(directory));
        }
        image.archive.character_device("dev/console", 5, 1);
        image
            .archive
            .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
        image.archive.file("etc/group", 0o644, b"root:x:0:\n");
        image.archive.file("etc/hostname", 0o644, b"guest\n");
        image.program(busybox, "/bin/busybox")?;
        Ok(image)
    }

    /// Adds a program and every library it is linked with, the libraries under their own paths.
    pub(crate) fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        self.file(from, to, 0o755)?;
        for library in libraries(from)? {
            let to = library.to_string_lossy().into_owned();
            self.file(&library, &to, 0o755)?;
        }
        Ok(())
    }

    /// Adds the file `from` as `to`. Links are followed.
    pub(crate) fn file(&mut self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let content =
            fs::read(from).with_context(|| format!("cannot read `{}`", from.display()))?;
        self.content(to, mode, &content);
        Ok(())
    }

    pub(crate) fn content(&mut self, to: &str, mode: u32, content: &[u8]) {
        let path = Path::new(to.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            self.directories(parent);
        }
        if self.present.insert(path.to_owned()) {
            self.archive.file(&path.to_string_lossy(), mode, content);
        }
    }

    /// Returns the archive. The guest runs `script`.
    pub(crate) fn finish(mut self, script: &str) -> Vec<u8> {
        let init = format!("{BEGIN}{script}{END}");
        self.archive.file("init", 0o755, init.as_bytes());
        self.archive.link("linuxrc", "init");
        self.archive.finish()
    }

    fn directories(&mut self, path: &Path) {
        let mut parents: Vec<_> = path.ancestors().collect();
        parents.reverse();
        for parent in parents {
            if !parent.as_os_str().is_empty() && self.present.insert(parent.to_owned()) {
                self.archive.directory(&parent.to_string_lossy());
            }
        }
    }
}

/// Paths of the libraries and the loader from ldd(1). Empty for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run `ldd`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace();
    Ok(words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
