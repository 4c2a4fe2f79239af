//! A tarball with a static program and the files of the package, to unpack over `/`.

use std::fs;

use anyhow::{Result, ensure};

use super::{Build, VERSION, contents, programs, quietly};

/// Writes the tarball, and returns the name of its file.
pub(super) fn write(build: &Build) -> Result<String> {
    ensure!(
        programs::glibc(&build.program)?.is_none(),
        "`{}` is a dynamic program; a tarball needs a static one",
        build.program.display()
    );
    let name = format!(
        "{}-{VERSION}-linux-{}",
        build.package.name,
        std::env::consts::ARCH
    );
    contents::stage(build, &build.work.join(&name), str::to_owned)?;
    let tar = build.work.join(format!("{name}.tar"));
    let mut command = build.command("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    command.arg(format!("--mtime=@{}", build.epoch));
    command.args(["--format=gnu", "-C"]).arg(&build.work);
    quietly(command.arg("-cf").arg(&tar).arg(&name))?;
    let level = if build.is_small { "-9nf" } else { "-1nf" };
    quietly(build.command("gzip").arg(level).arg(&tar))?;
    let file = format!("{name}.tar.gz");
    fs::rename(build.work.join(&file), build.out.join(&file))?;
    Ok(file)
}
