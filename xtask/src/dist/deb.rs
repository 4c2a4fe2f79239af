//! A Debian package, written by dpkg-deb.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, bail};

use super::generated::MAINTAINER;
use super::{Build, VERSION, contents, programs, remove_directory};
use crate::command::quietly;

/// Scripts that dpkg runs, in the order of an installation and a removal.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// Writes the package, and returns the name of its file.
pub(super) fn write(build: &Build) -> Result<String> {
    let root = build.work.join("deb");
    remove_directory(&root)?;
    let paths = contents::stage(build, &root, str::to_owned)?;
    let mut size = 0;
    for path in &paths {
        size += fs::symlink_metadata(root.join(path))?.len().div_ceil(1024);
    }
    let architecture = architecture()?;
    let control = root.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::write(control.join("control"), fields(build, architecture, size)?)?;
    let is_file = |path: &&String| !root.join(path).is_symlink();
    let mut sums = build.command("md5sum");
    sums.current_dir(&root).args(paths.iter().filter(is_file));
    fs::write(control.join("md5sums"), quietly(&mut sums)?)?;
    for name in SCRIPTS {
        if let Some(script) = build.package.script(name)? {
            fs::write(control.join(name), script)?;
        }
    }
    for file in fs::read_dir(&control)? {
        let file = file?.path();
        let is_script = SCRIPTS.iter().any(|name| file.ends_with(name));
        let mode = if is_script { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    }
    contents::set_times(&root, build.epoch)?;
    let name = format!("{}_{VERSION}_{architecture}.deb", build.package.name);
    let mut dpkg = build.command("dpkg-deb");
    // Blocks that threads compress on their own give other bytes than one thread.
    dpkg.env("DPKG_DEB_THREADS_MAX", "1");
    dpkg.arg("--root-owner-group");
    dpkg.args(if build.is_small {
        ["-Zxz", "-z9"]
    } else {
        ["-Zgzip", "-z1"]
    });
    quietly(dpkg.arg("--build").arg(&root).arg(build.out.join(&name)))?;
    Ok(name)
}

fn fields(build: &Build, architecture: &str, size: u64) -> Result<String> {
    let package = build.package;
    let (summary, lines) = package.description()?;
    let depends = match programs::glibc(&build.program)? {
        Some(version) => format!("Depends: libc6 (>= {version}), libgcc-s1\n"),
        None => String::new(),
    };
    let lines = lines.join("\n ");
    Ok(format!(
        "Package: {}\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {size}\n{depends}{}Section: admin\nPriority: optional\n\
         Homepage: https://github.com/ghdwlsgur/vctl\nDescription: {summary}\n {lines}\n",
        package.name, package.debian_relations
    ))
}

/// Returns Debian's name of this machine's architecture.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("Debian's name of the architecture `{other}` is not known here"),
    }
}
