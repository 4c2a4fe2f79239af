//! `cargo xtask release`: the files of a release, and the checks before it. `docs/release.md` describes the steps.
//!
//! The release workflow builds the programs of each system in a job of its own, and `--from` collects them. `--dry-run`
//! builds the parts that this machine can build, and collects those in the same way.

mod files;
mod formula;
mod image;
mod lint;
mod macos;
mod sbom;
mod tag;
#[cfg(test)]
mod testing;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, say};
use crate::sha256;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PARTS: &str = "target/release-parts";
const OUT: &str = "target/release-files";

/// Steps of the release workflow that need the identity of the forge or one of its secrets.
const FORGE: [&str; 6] = [
    "scan dependencies and the image with Trivy's databases (locally: `cargo xtask trivy`)",
    "sign SHA256SUMS with the identity of the workflow (cosign, without a stored key)",
    "attest the provenance of each file and of the image",
    "publish the release with its files",
    "push the image to ghcr.io/ghdwlsgur/vctl",
    "write vctl.rb into the tap ghdwlsgur/homebrew-vctl (HOMEBREW_TAP_GITHUB_TOKEN)",
];

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("step").required(true)))]
pub(crate) struct Options {
    /// Build the files that this machine can build, and list the remaining steps
    #[arg(long, group = "step")]
    dry_run: bool,
    /// Check that the tag is that of this version and of this commit
    #[arg(long, group = "step", requires = "tag")]
    check: bool,
    /// Collect the files that the jobs of the release workflow have built in DIR; a missing one is an error
    #[arg(long, group = "step", requires = "tag", value_name = "DIR")]
    from: Option<PathBuf>,
    /// Check the workflows with zizmor and actionlint, which are fetched once
    #[arg(long, group = "step")]
    lint: bool,
    /// Tag of the release [default: `v` and the version in Cargo.toml]
    #[arg(long)]
    tag: Option<String>,
    /// Release a tree with uncommitted changes
    #[arg(long)]
    allow_dirty: bool,
    /// Profile of the programs: dev or release
    #[arg(long, default_value = "release", requires = "dry_run")]
    profile: String,
    /// Package the built programs of this directory
    #[arg(long, value_name = "DIR", requires = "dry_run")]
    programs: Option<PathBuf>,
    /// Formats of the packages, as for `cargo xtask dist`
    #[arg(
        long,
        value_name = "FORMATS",
        default_value = "deb,rpm,tar",
        requires = "dry_run"
    )]
    formats: String,
    /// Directory for the files
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.lint {
        return lint::run();
    }
    let here = Path::new(".");
    let tag = options.tag.clone().unwrap_or_else(|| format!("v{VERSION}"));
    tag::check(&tag, VERSION)?;
    tag::check_commit(here, &tag)?;
    if options.check {
        say(&format!(
            "{tag} is the tag of this version and this commit."
        ));
        return Ok(());
    }
    if !options.allow_dirty {
        tag::check_clean(here)?;
    }
    let out = std::path::absolute(&options.out)?;
    if let Some(parts) = &options.from {
        let absent = collect(parts, &out)?;
        if !absent.is_empty() {
            bail!("the release is incomplete: missing {}", absent.join(", "));
        }
        return Ok(());
    }
    let parts = Path::new(PARTS);
    build(options, &parts.join(format!("linux-{ARCH}")))?;
    let absent = collect(parts, &out)?;
    list("Not built here:", &absent);
    list("Only the release workflow does:", &FORGE.map(str::to_owned));
    Ok(())
}

/// Packages `vctl` and `vctl-agent` for this machine's system with `cargo xtask dist`.
fn build(options: &Options, out: &Path) -> Result<()> {
    remove_directory(Path::new(PARTS))?;
    let this = std::env::current_exe().context("the path of this task is unknown")?;
    let mut dist = Command::new(this);
    dist.args(["dist", "--profile", &options.profile]);
    dist.args(["--formats", &options.formats]);
    if let Some(programs) = &options.programs {
        dist.arg("--programs").arg(programs);
    }
    command::run(dist.arg("--out").arg(out))
}

/// Removes the files of an earlier release. Any other directory is refused: `--out .` would delete the clone.
fn remove_earlier(parts: &Path, out: &Path) -> Result<()> {
    let Ok(there) = fs::canonicalize(out) else {
        return Ok(());
    };
    let holds = |other: &Path| fs::canonicalize(other).is_ok_and(|other| other.starts_with(&there));
    ensure!(
        !holds(parts) && !holds(Path::new(".")),
        "`{}` contains the clone or the parts of the release; choose another `--out`",
        out.display()
    );
    let is_default = fs::canonicalize(OUT).is_ok_and(|default| default == there);
    let is_empty = fs::read_dir(&there)?.next().is_none();
    ensure!(
        is_default || is_empty || there.join("SHA256SUMS").is_file(),
        "`{}` contains other files than a release; remove it, or choose another `--out`",
        out.display()
    );
    remove_directory(out)
}

/// Writes all files of the release that the parts allow, and returns the missing ones.
fn collect(parts: &Path, out: &Path) -> Result<Vec<String>> {
    remove_earlier(parts, out)?;
    fs::create_dir_all(out)?;
    for arch in files::ARCHITECTURES {
        files::copy_packages(&parts.join(format!("linux-{arch}")), out, arch)?;
    }
    for arch in files::ARCHITECTURES {
        let program = parts.join(format!("macos-{arch}/vctl"));
        macos::write_tarball(&program, out, arch)?;
    }
    let mut absent = sbom::write(out)?;
    let names = files::names(out)?;
    absent.extend(files::absent(&names));
    let sums = files::sums(out, &names)?;
    fs::write(out.join("SHA256SUMS"), files::sums_text(&sums))?;
    absent.extend(image::write_context(out)?);
    absent.extend(formula::write(out, &sums)?);
    for name in &names {
        say(&out.join(name).display().to_string());
    }
    say(&out.join("SHA256SUMS").display().to_string());
    Ok(absent)
}

fn list(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        say(&format!("\n{title}"));
    }
    for line in lines {
        say(&format!("  {line}"));
    }
}

/// Returns the SHA-256 of a file in hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(sha256::of(&bytes))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_a_release_are_removed() {
        let work = tempfile::tempdir().unwrap();
        let (parts, out) = (work.path().join("parts"), work.path().join("out"));
        fs::create_dir_all(&parts).unwrap();
        remove_earlier(&parts, &out).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("letter"), "").unwrap();
        for refused in [&out, &parts, work.path(), Path::new("."), Path::new("/")] {
            remove_earlier(&parts, refused).unwrap_err();
        }
        assert!(out.join("letter").exists() && parts.exists());
        fs::write(out.join("SHA256SUMS"), "").unwrap();
        remove_earlier(&parts, &out).unwrap();
        assert!(!out.exists());
    }
}
