//! The programs of the packages, and what a dynamic one needs of the system.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use object::{Object as _, ObjectSection as _};

use super::Profile;
use crate::command::{self, cargo};

/// A static program asks only /etc/passwd and /etc/group for accounts, so packages hold dynamic ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linking {
    /// With the C library of this machine, or a newer one.
    Dynamic,
    /// With musl inside the program.
    Static,
}

/// Builds both programs, and returns their directory.
pub(super) fn build(profile: Profile, linking: Linking, target: &str) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--locked", "-p", "vctl", "-p", "vctl-agent"]);
    build.args([
        "--bin",
        "vctl",
        "--bin",
        "vctl-agent",
        "--target-dir",
        target,
    ]);
    let mut directory = PathBuf::from(target);
    if linking == Linking::Static {
        let triple = format!("{}-unknown-linux-musl", env::consts::ARCH);
        build.args(["--target", &triple]);
        directory.push(triple);
    }
    if profile == Profile::Release {
        build.arg("--release");
        // Panics name source files, and those of dependencies are below the home of the user that builds.
        build.env("CARGO_ENCODED_RUSTFLAGS", remapped()?);
    }
    command::run(&mut build)?;
    directory.push(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    });
    Ok(std::path::absolute(directory)?)
}

fn remapped() -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let home = home.context("neither `CARGO_HOME` nor `HOME` is set")?;
    let here = env::current_dir()?;
    let remap = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    Ok([remap(&home, "/cargo"), remap(&here, "/vctl")].join("\u{1f}"))
}

/// Returns the version of glibc that a program needs; none for a static one.
pub(super) fn glibc(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    let file = object::File::parse(&*bytes)?;
    let Some(names) = file.section_by_name(".dynstr") else {
        return Ok(None);
    };
    let names = names.data()?.split(|&byte| byte == 0);
    let versions = names.filter_map(|name| {
        let version = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?;
        let numbers: Vec<u32> = version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        Some((numbers, version.to_owned()))
    });
    let newest = versions.max();
    ensure!(
        newest.as_ref().is_none_or(|(numbers, _)| numbers.len() > 1),
        "`{}` needs an unknown version of glibc",
        program.display()
    );
    Ok(newest.map(|(_, version)| version))
}
