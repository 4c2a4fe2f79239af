//! System packages that a task needs: shown first, and installed only after a yes.

use std::io::{BufRead, IsTerminal, stdin};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::command::{as_root, run, say};

/// A file of a package, and the Debian package.
pub(crate) type Need = (&'static str, &'static str);

/// Stands for the file of a package that was found missing in another way.
const NOWHERE: &str = "";

pub(crate) const FOR_DEMO: &[Need] = &[
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/lib/openssh/sftp-server", "openssh-sftp-server"),
    ("/usr/bin/ssh", "openssh-client"),
    ("/usr/bin/sudo", "sudo"),
    ("/usr/sbin/useradd", "passwd"),
];

pub(crate) const FOR_TEST: &[Need] = &[
    ("/usr/bin/tmux", "tmux"),
    ("/usr/bin/screen", "screen"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/pgrep", "procps"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/faketime", "faketime"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/sudo", "sudo"),
    ("/usr/bin/node", "nodejs"),
    ("/usr/bin/npm", "npm"),
    ("/usr/bin/git", "git"),
    ("/usr/bin/rsync", "rsync"),
    ("/usr/bin/ansible", "ansible-core"),
    ("/usr/bin/shellcheck", "shellcheck"),
    ("/usr/bin/zsh", "zsh"),
    ("/usr/bin/fish", "fish"),
    ("/usr/bin/man", "man-db"),
    ("/usr/bin/lintian", "lintian"),
    ("/usr/sbin/apparmor_parser", "apparmor"),
    ("/usr/bin/checkmodule", "checkpolicy"),
    ("/usr/bin/semodule_package", "semodule-utils"),
    ("/usr/bin/rpmbuild", "rpm"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/groff", "groff"),
    ("/usr/sbin/update-ca-certificates", "ca-certificates"),
    (
        "/usr/lib/python3/dist-packages/prometheus_client",
        "python3-prometheus-client",
    ),
];

pub(crate) const FOR_BENCH: &[Need] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/share/seabios/bios-256k.bin", "seabios"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/bpftrace", "bpftrace"),
    ("/usr/sbin/auditd", "auditd"),
];

pub(crate) const FOR_GUESTS: &[Need] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/share/seabios/bios-256k.bin", "seabios"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/cc", "gcc"),
];

pub(crate) const FOR_TREES: &[Need] = &[
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/cpio", "cpio"),
    ("/usr/bin/strip", "binutils"),
    ("/usr/bin/cc", "gcc"),
];

pub(crate) const FOR_ARM64: &[Need] = &[
    ("/usr/bin/qemu-system-aarch64", "qemu-system-arm"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
];

/// Returns the packages of a centre, and pip if it has to fetch a server.
pub(crate) fn for_centre() -> Vec<Need> {
    let mut needs = vec![
        ("/usr/sbin/sshd", "openssh-server"),
        ("/usr/bin/ssh", "openssh-client"),
        ("/usr/sbin/useradd", "passwd"),
        ("/usr/bin/ipcrm", "util-linux"),
    ];
    if !has_postgres() {
        needs.push((NOWHERE, "postgresql"));
    }
    let servers = "(command -v bao || command -v vault) && command -v nats-server";
    if !succeeds(servers) && !succeeds("python3 -m pip --version") {
        needs.push((NOWHERE, "python3-pip"));
    }
    needs
}

/// Returns whether any version of the server is installed; the client's directory proves nothing.
fn has_postgres() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut versions = versions.into_iter().flatten().flatten();
    versions.any(|version| version.path().join("bin/initdb").exists())
}

/// Returns whether a line of shell succeeds as root, with the PATH of root.
fn succeeds(line: &str) -> bool {
    let mut shell = as_root("sh");
    let quiet = shell
        .args(["-c", line])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Installs the missing packages of `needs`.
///
/// Without `yes` the user is asked; without a terminal that is an error.
pub(crate) fn ensure(needs: &[Need], yes: bool) -> Result<()> {
    let missing: Vec<_> = needs
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "install the Debian packages {}, then try again",
            missing.join(", ")
        );
    }
    let line = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    say(&format!(
        "This needs packages that are not installed:\n\n    {line}\n"
    ));
    if missing.contains(&"openssh-server") {
        say("openssh-server also starts this machine's own sshd on port 22; vctl does not use it.");
    }
    if missing.contains(&"postgresql") {
        say(
            "postgresql also starts a server of this machine's own on port 5432; vctl does not use it.",
        );
    }
    if !yes {
        ask(&line)?;
    }
    run(as_root("apt-get").args(["update", "-q"]))?;
    run(as_root("env")
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-q",
            "--yes",
        ])
        .arg("--no-install-recommends")
        .args(&missing))
}

fn ask(line: &str) -> Result<()> {
    if !stdin().is_terminal() {
        bail!("cannot ask without a terminal: pass `--yes`, or run `{line}` yourself");
    }
    say("Install them? [y/N]");
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was installed");
    }
    Ok(())
}
