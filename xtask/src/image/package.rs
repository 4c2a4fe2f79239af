//! Packages of Debian: the file of ours, and the list of those in the image.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::in_root;
use crate::command::quietly;

const NAME: &str = "vctl-agent";
/// The version of this clone, whose units and scripts are in the image.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Most differences that an error names.
const SHOWN: usize = 10;

/// Refuses a file that is not the agent of this clone.
pub(super) fn check(file: &Path) -> Result<()> {
    let mut show = Command::new("dpkg-deb");
    show.args(["--showformat", "${Package} ${Version}\n", "--show"]);
    let printed = quietly(show.arg(file))
        .with_context(|| format!("`{}` is not a package of Debian", file.display()))?;
    match printed.trim().split_once(' ') {
        Some((NAME, VERSION)) => Ok(()),
        Some((NAME, version)) => bail!(
            "`{}` has version {version}, and this clone is {VERSION}; write the package with `cargo xtask dist --formats \
             deb`, or use the clone of {version}",
            file.display()
        ),
        _ => bail!(
            "`{}` is not the package `{NAME}`: it is `{}`",
            file.display(),
            printed.trim()
        ),
    }
}

/// Installs the package, which starts nothing.
pub(super) fn install(file: &Path, epoch: u64, root: &Path) -> Result<()> {
    let copy = root.join("vctl-agent.deb");
    fs::copy(file, &copy).with_context(|| format!("cannot copy `{}`", file.display()))?;
    let mut dpkg = in_root(root, "dpkg");
    dpkg.env("SOURCE_DATE_EPOCH", epoch.to_string());
    let installed = quietly(dpkg.args(["-i", "/vctl-agent.deb"]));
    installed.context("cannot install the package in the image")?;
    fs::remove_file(copy)?;
    // sshd would refuse every login with a program that does not run, such as one that needs a newer C library.
    let printed = quietly(in_root(root, "/usr/sbin/vctl-agent").arg("version"));
    let printed = printed.context("the program of the package does not run in the image")?;
    ensure!(
        printed.trim() == format!("{NAME} {VERSION}"),
        "the package has version {VERSION}, and its program prints `{}`",
        printed.trim()
    );
    Ok(())
}

/// Returns a line for each package: name, version and architecture.
pub(super) fn list(root: &Path) -> Result<Vec<String>> {
    let mut query = Command::new("dpkg-query");
    query.arg(format!(
        "--admindir={}",
        root.join("var/lib/dpkg").display()
    ));
    query.args(["-W", "-f", "${Package} ${Version} ${Architecture}\n"]);
    let mut lines: Vec<String> = quietly(&mut query)?.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

pub(super) fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_line = |line: &String| line.split(' ').count() == 3;
    ensure!(
        !lines.is_empty() && lines.iter().all(is_line),
        "`{}` is not the list of an image: a line has a name, a version and an architecture",
        path.display()
    );
    Ok(lines)
}

/// Refuses packages other than those of the list.
pub(super) fn same(wanted: &[String], found: &[String]) -> Result<()> {
    let differences = differences(wanted, found);
    if differences.is_empty() {
        return Ok(());
    }
    let shown = differences.iter().take(SHOWN).cloned();
    let shown = shown.collect::<Vec<_>>().join("\n  ");
    let more = differences.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!("\n  and {more} more")
    } else {
        String::new()
    };
    bail!(
        "the packages differ from those of `--packages`:\n  {shown}{more}\nuse the archive of that time (`--mirror`, \
         `--security-mirror`), or accept the new versions without `--packages`"
    )
}

/// Returns a line for each package that only one of the lists has, or that has another version.
fn differences(wanted: &[String], found: &[String]) -> Vec<String> {
    let parts = |line: &'_ str| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        (name.to_owned(), rest.to_owned())
    };
    let of = |list: &[String], name: &str| {
        list.iter()
            .map(|line| parts(line))
            .find(|(of, _)| of == name)
    };
    let mut differences = Vec::new();
    for line in wanted {
        let (name, version) = parts(line);
        match of(found, &name) {
            Some((_, there)) if there == version => {}
            Some((_, there)) => differences.push(format!("{name}: {there}, not {version}")),
            None => differences.push(format!("{name}: missing, not {version}")),
        }
    }
    for line in found {
        let (name, version) = parts(line);
        if of(wanted, &name).is_none() {
            differences.push(format!("{name}: {version}, not in the list"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_that_differs_is_named() {
        let list = |lines: &[&str]| {
            lines
                .iter()
                .map(|&line| line.to_owned())
                .collect::<Vec<_>>()
        };
        let wanted = list(&["dbus 1.14 amd64", "sudo 1.9 amd64", "zstd 1.5 amd64"]);
        same(&wanted, &wanted).unwrap();
        let found = list(&["curl 8.14 amd64", "dbus 1.14 amd64", "sudo 2.0 amd64"]);
        assert_eq!(
            differences(&wanted, &found),
            [
                "sudo: 2.0 amd64, not 1.9 amd64",
                "zstd: missing, not 1.5 amd64",
                "curl: 8.14 amd64, not in the list"
            ]
        );
        assert!(same(&wanted, &found).is_err());
    }
}
