//! `cargo xtask check --macos`: `vctl` is checked for macOS, with the C parts of its dependencies.
//!
//! Nothing is linked, so Apple's SDK is not needed. Zig is the C compiler and comes from PyPI as a program: no cross
//! compiler of the distribution is needed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{self, say};

const TARGET: &str = "aarch64-apple-darwin";
/// Newer ones may accept other flags; a change is ours to make.
const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

pub(crate) fn run() -> Result<()> {
    match tools().and_then(|tools| standard_library().map(|()| tools)) {
        Ok(tools) => check(&tools),
        Err(error) => {
            say(&format!("NOT CHECKED: vctl on macOS. {error:#}"));
            Ok(())
        }
    }
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
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => bail!("neither `XDG_CACHE_HOME` nor `HOME` is set"),
    };
    let directory = cache.join("vctl").join(TOOLS.join("-").replace("==", "-"));
    if zigbuild(&directory).exists() {
        return Ok(directory);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.args(["--disable-pip-version-check", "--only-binary=:all:"]);
    command::run(pip.arg("--target").arg(&directory).args(TOOLS))?;
    Ok(directory)
}

fn zigbuild(tools: &Path) -> PathBuf {
    tools.join("bin/cargo-zigbuild")
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
