//! Programs of a small guest, for this machine's architecture and for arm64.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::kernel::{Packages, Series};
use super::tree;
use crate::command::{Built, build, cargo, run, say};

const OF_THE_GUEST: [&str; 7] = [
    "vctl-agent",
    "guest-session",
    "guest-failed-exec",
    "guest-skipped",
    "exec-target",
    "odd-exec",
    "odd-exit",
];
const ARM64: &str = "aarch64-unknown-linux-gnu";

/// Programs that a small guest runs.
pub(super) struct Programs {
    pub(super) busybox: PathBuf,
    pub(super) of_the_guest: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Builds the programs for this machine. With `of_all_tests`, in the build of `cargo xtask test`: CI has just run it,
    /// and another selection of packages would build most dependencies again.
    pub(super) fn build(of_all_tests: bool, directory: &Path) -> Result<Self> {
        let built = if of_all_tests {
            build(&["test", "--workspace", "--no-run"])?
        } else {
            build(&[&["build"], OPTIONS].concat())?
        };
        let mut programs = Self::of(PathBuf::from("/bin/busybox"), &built)?;
        // Callers of the 32-bit table of system calls.
        for width in ["-m32", "-m64"] {
            let name = format!("compat{width}");
            let path = directory.join(&name);
            tree::build_caller(width, &path)?;
            programs.of_the_guest.push((name, path));
        }
        Ok(programs)
    }

    /// Takes the programs from a build of all.
    pub(super) fn of(busybox: PathBuf, built: &[Built]) -> Result<Self> {
        let mut of_the_guest = Vec::new();
        for name in OF_THE_GUEST {
            let found = built
                .iter()
                .find(|built| built.name == name && !built.is_test);
            let path = found.with_context(|| format!("`{name}` was not built"))?;
            of_the_guest.push((name.to_owned(), path.executable.clone()));
        }
        Ok(Self {
            busybox,
            of_the_guest,
        })
    }

    /// Builds the same programs for arm64, without shared libraries.
    pub(super) fn arm64(series: Series, cache: &Path) -> Result<Self> {
        say("Building vctl-agent and the programs of the guest for arm64.");
        run(Command::new("rustup").args(["target", "add", ARM64]))?;
        let mut command = cargo(&[&["build", "--target", ARM64], OPTIONS].concat());
        command
            .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                "aarch64-linux-gnu-gcc",
            )
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
                "-Ctarget-feature=+crt-static",
            );
        run(&mut command)?;
        let target = Path::new("target").join(ARM64).join("debug");
        let of_the_guest = OF_THE_GUEST.map(|name| (name.to_owned(), target.join(name)));
        let busybox = cache.join("busybox/bin/busybox");
        let in_usr = cache.join("busybox/usr/bin/busybox");
        if !busybox.exists() && !in_usr.exists() {
            let packages = Packages::of(series, &cache.join("apt"))?;
            packages.unpack("busybox-static", &cache.join("busybox"))?;
        }
        let busybox = [busybox, in_usr].into_iter().find(|path| path.exists());
        let busybox = busybox.context("the package `busybox-static` has no busybox")?;
        ensure!(
            of_the_guest.iter().all(|(_, path)| path.exists()),
            "a program was not built"
        );
        Ok(Self {
            busybox,
            of_the_guest: of_the_guest.to_vec(),
        })
    }
}

const OPTIONS: &[&str] = &[
    "-p",
    "vctl-agent",
    "-p",
    "vctl-tests",
    "--bin",
    "vctl-agent",
    "--bin",
    "guest-session",
    "--bin",
    "guest-failed-exec",
    "--bin",
    "guest-skipped",
    "--bin",
    "exec-target",
    "--bin",
    "odd-exec",
    "--bin",
    "odd-exit",
];
