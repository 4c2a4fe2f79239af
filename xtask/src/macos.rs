//! `cargo xtask check --macos`: `vctl` is checked for macOS, with the C parts of its dependencies.
//!
//! Nothing is linked, so Apple's SDK is not needed. Zig is the C compiler and comes from PyPI as a program: no cross
//! compiler of the distribution is needed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Error, Result, bail, ensure};

use crate::command::{self, say};
use crate::tool_cache;

const TARGET: &str = "aarch64-apple-darwin";
/// Newer ones may accept other flags; a change is ours to make.
const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];
const ZIGBUILD: &str = "bin/cargo-zigbuild";

pub(crate) fn run(needs_compiler: bool) -> Result<()> {
    match tools().and_then(|tools| standard_library().map(|()| tools)) {
        Ok(tools) => check(&tools),
        Err(error) => without_compiler(error, needs_compiler),
    }
}

fn without_compiler(error: Error, needs_compiler: bool) -> Result<()> {
    if needs_compiler {
        return Err(error.context("vctl is not compiled for macOS"));
    }
    say(&format!(
        "vctl is not compiled for macOS: {error:#}. Only the names of its system interfaces are checked."
    ));
    interfaces()
}

/// Interfaces of Linux that the crates of `vctl` could take by mistake: macOS has none of them.
const LINUX_ONLY: &[&str] = &[
    "os::linux",
    "sys::epoll",
    "sys::eventfd",
    "sys::inotify",
    "sys::memfd",
    "sys::prctl",
    "sys::signalfd",
    "sys::timerfd",
    "PeerCredentials",
    "accept4(",
    "pipe2(",
    "procfs::",
];

/// Refuses interfaces of Linux in sources of `vctl` that name no operating system.
fn interfaces() -> Result<()> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "cli/src/*.rs", "common/src/*.rs"])
        .output()?;
    let names = String::from_utf8(output.stdout)?;
    let mut checked = 0;
    for name in names.split_terminator('\0') {
        let text = fs::read_to_string(name).with_context(|| name.to_owned())?;
        if let Some(interface) = linux_only(&text) {
            bail!(
                "{name}: `{interface}` exists on Linux only; put it below `cfg(target_os = ...)`"
            );
        }
        checked += 1;
    }
    ensure!(checked > 0, "git lists no sources of vctl");
    say(&format!("{checked} files use no interface of Linux alone."));
    Ok(())
}

/// Returns an interface that a file uses on every system.
fn linux_only(text: &str) -> Option<&'static str> {
    let names_system = text.contains("target_os");
    let mut interfaces = LINUX_ONLY.iter().copied();
    interfaces.find(|name| !names_system && text.contains(name))
}

/// Adds the standard library for the target, where rustup has not done so before.
fn standard_library() -> Result<()> {
    let directory = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run `rustc`")?;
    let directory = String::from_utf8_lossy(&directory.stdout);
    if Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    // A server that does not answer must not stop CI.
    command::run(Command::new("timeout").args(["180", "rustup", "target", "add", TARGET]))
}

/// Returns the directory of cargo-zigbuild and Zig; installs both there once.
fn tools() -> Result<PathBuf> {
    tool_cache::from_pypi(&TOOLS, ZIGBUILD)
}

fn zigbuild(tools: &Path) -> PathBuf {
    tools.join(ZIGBUILD)
}

fn check(tools: &Path) -> Result<()> {
    let mut path = vec![tools.join("ziglang")];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let path: OsString = env::join_paths(path).context("`PATH` cannot be extended")?;
    let mut check = Command::new(zigbuild(tools));
    check.env("PATH", path).stdin(Stdio::null());
    check.args(["check", "--locked", "-p", "vctl", "--target", TARGET]);
    command::run(&mut check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_needs_the_compiler() {
        let error = without_compiler(Error::msg("no network"), true).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "vctl is not compiled for macOS: no network"
        );
        let ci = include_str!("../../.github/workflows/ci.yml");
        assert!(ci.contains("cargo xtask check --macos --require-compiler\n"));
    }

    #[test]
    fn an_interface_of_linux_needs_a_condition() {
        let text = "use nix::sys::inotify::Inotify;\n";
        assert_eq!(linux_only(text), Some("sys::inotify"));
        let conditional = format!("#[cfg(target_os = \"linux\")]\n{text}");
        assert_eq!(linux_only(&conditional), None);
        assert_eq!(linux_only("use nix::sys::stat::Mode;\n"), None);
    }
}
