//! A Debian release as an initramfs: its sshd, the specs, and an `init` that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::cpio::Cpio;
use crate::command::{Built, as_root, run, say};
use crate::mmdebstrap;

/// Packages of the specs, beside those that each Debian has.
const PACKAGES: &str = "iproute2,openssh-client,openssh-server,procps,screen,sudo,tmux";
/// Directory of the programs in the guest.
const PROGRAMS: &str = "srv/vctl";
/// Programs that the specs run.
const OF_THE_SPECS: [&str; 5] = ["vctl", "vctl-agent", "exec-target", "odd-exec", "odd-exit"];
/// Arguments of cargo that build them.
pub(super) const PROGRAMS_TO_BUILD: &[&str] = &[
    "build",
    "-p",
    "vctl",
    "-p",
    "vctl-agent",
    "-p",
    "vctl-tests",
    "--bin",
    "vctl",
    "--bin",
    "vctl-agent",
    "--bin",
    "exec-target",
    "--bin",
    "odd-exec",
    "--bin",
    "odd-exit",
];
/// A spec of 3,000 processes, which take many minutes in an emulator. The cell of the running kernel has this spec.
const TOO_SLOW: &str = "a_reused_pid_is_a_new_process";
/// Caller of 32-bit system calls, which the specs build where a compiler is.
const COMPAT_SOURCE: &str = "tests/specs/compat_exec.c";

/// A layout of the cgroup hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cgroups {
    Unified,
    Hybrid,
    V1,
}

impl Cgroups {
    /// Commands of `init` that mount it as systemd does.
    fn mounts(self) -> &'static str {
        match self {
            Self::Unified => {
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control"
            }
            Self::Hybrid => {
                "mount -t tmpfs tmpfs /sys/fs/cgroup
cd /sys/fs/cgroup
mkdir unified systemd pids memory
mount -t cgroup2 cgroup2 unified
# Debian 13 has this controller only in cgroup2.
mount -t cgroup -o memory cgroup memory || echo +memory > unified/cgroup.subtree_control
mount -t cgroup -o none,name=systemd cgroup systemd
mount -t cgroup -o pids cgroup pids
mkdir systemd/work pids/work
echo $$ > systemd/work/cgroup.procs
echo $$ > pids/work/cgroup.procs"
            }
            Self::V1 => {
                "mount -t tmpfs tmpfs /sys/fs/cgroup
cd /sys/fs/cgroup
mkdir systemd pids memory
mount -t cgroup -o memory cgroup memory
mount -t cgroup -o none,name=systemd cgroup systemd
mount -t cgroup -o pids cgroup pids
mkdir systemd/work pids/work
echo $$ > systemd/work/cgroup.procs
echo $$ > pids/work/cgroup.procs"
            }
        }
    }
}

/// Returns the archive of a release. Makes it when it is not there.
pub(super) fn release(suite: &str, cache: &Path) -> Result<PathBuf> {
    let archive = cache.join(format!("{suite}.cpio"));
    if archive.exists() {
        return Ok(archive);
    }
    fs::create_dir_all(cache)?;
    say(&format!("Making a root of Debian {suite} (once)."));
    let tree = cache.join(format!("{suite}.tree"));
    run(as_root("rm").arg("-rf").arg(&tree))?;
    let mut make = mmdebstrap::small_root(PACKAGES);
    run(make.arg(suite).arg(&tree).arg(mmdebstrap::MIRROR))?;
    // The rename is the last step, so an archive with this name is complete.
    let unfinished = cache.join(format!("{suite}.new"));
    let script = "cd \"$0\" && find . -xdev -path ./var/cache -prune -o -print0 \
                  | cpio --null --create --format=newc --quiet > \"$1\"";
    run(as_root("sh")
        .args(["-c", script])
        .arg(fs::canonicalize(&tree)?)
        .arg(fs::canonicalize(cache)?.join(format!("{suite}.new"))))?;
    run(as_root("rm").arg("-rf").arg(&tree))?;
    fs::rename(&unfinished, &archive)?;
    Ok(archive)
}

/// Returns an archive with the programs and an `init` that runs `specs`. It follows that of the release.
pub(super) fn programs(
    built: &[Built],
    cgroups: Cgroups,
    specs: &[&str],
    directory: &Path,
) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    archive.directory("srv");
    archive.directory(PROGRAMS);
    let program = |name: &str, is_test: bool| {
        let mut programs = built.iter().filter(|built| built.is_test == is_test);
        let found = programs.find(|built| built.name == name);
        found.with_context(|| format!("`{name}` was not built"))
    };
    let mut files = vec![("specs", program("specs", true)?.executable.clone())];
    for name in OF_THE_SPECS {
        files.push((name, program(name, false)?.executable.clone()));
    }
    for width in ["-m32", "-m64"] {
        let name = if width == "-m32" {
            "compat-m32"
        } else {
            "compat-m64"
        };
        let path = directory.join(name);
        build_caller(width, &path)?;
        files.push((name, path));
    }
    for (name, path) in files {
        let stripped = directory.join("stripped");
        run(Command::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&stripped)
            .arg(&path))?;
        archive.file(&format!("{PROGRAMS}/{name}"), 0o755, &fs::read(&stripped)?);
        fs::remove_file(&stripped)?;
    }
    archive.file("init", 0o755, init(cgroups, specs).as_bytes());
    Ok(archive.finish())
}

/// The first line of the source is the compiler with its options.
pub(super) fn build_caller(width: &str, to: &Path) -> Result<()> {
    let source = fs::read_to_string(COMPAT_SOURCE)?;
    let mut words = source.lines().next().unwrap_or_default().split(' ').skip(1);
    let compiler = words
        .next()
        .with_context(|| format!("`{COMPAT_SOURCE}` names no compiler"))?;
    run(Command::new(compiler)
        .args([width, "-o"])
        .arg(to)
        .args(words)
        .arg(COMPAT_SOURCE))
}

fn init(cgroups: Cgroups, specs: &[&str]) -> String {
    format!(
        "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for at in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $at; done
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
{}
ip link set lo up
hostname guest
dmesg -n 1
echo \"@@kernel $(uname -r)\"
echo \"@@sshd $(sshd -V 2>&1)\"
cd /{PROGRAMS}
VCTL_BIN_DIR=/{PROGRAMS} VCTL_TEST_REQUIRE=1 RUST_TEST_THREADS=1 VCTL_TEST_PATIENCE=5 ./specs --color never --skip {TOO_SLOW} {} 2>/tmp/stderr
echo \"@@status $?\"
tail -n 100 /tmp/stderr
echo @@end
echo o > /proc/sysrq-trigger
sleep 600
",
        cgroups.mounts(),
        specs.join(" ")
    )
}
