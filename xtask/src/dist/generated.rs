//! Files of a package that are not in the repository: the stripped program, manual pages, completions, a changelog.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Build, VERSION};
use crate::command::quietly;

pub(super) const MAINTAINER: &str = "The vctl authors <vctl@users.noreply.github.com>";

/// Writes the files that `@NAME` in the list of the package stands for.
pub(super) fn write(build: &Build) -> Result<()> {
    let manual = build.generated("man");
    fs::create_dir_all(&manual)?;
    // Debug information of dependencies comes with precompiled crates also in the release profile.
    let mut strip = Command::new("strip");
    strip.args(["--strip-unneeded", "-o"]);
    strip.arg(build.generated("program")).arg(&build.program);
    quietly(&mut strip)?;
    let mut pages = build.command("env");
    pages.arg(&build.program).args(["man", "--to"]).arg(&manual);
    quietly(&mut pages)?;
    for page in fs::read_dir(&manual)? {
        compress(build, &page?.path())?;
    }
    let changelog = build.generated("changelog");
    let name = build.package.name;
    fs::write(
        &changelog,
        format!(
            "{name} ({VERSION}) unstable; urgency=medium\n\n  * Release {VERSION}: \
             https://github.com/ghdwlsgur/vctl/releases\n\n -- {MAINTAINER}  {}\n",
            date(build)?
        ),
    )?;
    compress(build, &changelog)?;
    if name == "vctl" {
        let dbedit = build.generated("dbedit.1");
        fs::write(&dbedit, ".so man1/vctl-dbedit.1\n")?;
        compress(build, &dbedit)?;
        completions(build)?;
    }
    Ok(())
}

/// Returns the time of the package as a changelog writes it.
fn date(build: &Build) -> Result<String> {
    let mut date = build.command("date");
    date.args(["-u", "-R", "-d", &format!("@{}", build.epoch)]);
    Ok(quietly(&mut date)?.trim().to_owned())
}

/// Replaces a file by its compressed form, without its time and name.
fn compress(build: &Build, path: &Path) -> Result<()> {
    quietly(build.command("gzip").args(["-9nf"]).arg(path)).map(drop)
}

fn completions(build: &Build) -> Result<()> {
    let directory = build.generated("completions");
    fs::create_dir_all(&directory)?;
    for shell in ["bash", "zsh", "fish"] {
        let mut script = build.command("env");
        script.arg(&build.program).args(["completions", shell]);
        fs::write(directory.join(shell), quietly(&mut script)?)?;
    }
    Ok(())
}
