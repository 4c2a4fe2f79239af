//! `cargo xtask image`: a Debian image whose first boot begins to record, and which holds no secret.
//!
//! `debian` makes the root, `install` adds the package and the settings, `neutral` removes the parts that belong to one
//! machine, `secrets` refuses an image with a secret, and `artefacts` writes the files. All of it happens in a directory
//! beside `--out`, which gets its name at the end: an image is there as a whole, or not at all.

mod artefacts;
mod debian;
mod install;
mod kernel;
mod neutral;
mod overlay;
mod package;
mod secrets;
mod trial;
mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{quietly, say};
use crate::dist::source_date_epoch;
use crate::packages;
use debian::Archive;
use install::Inputs;

const SUITES: [&str; 2] = ["bookworm", "trixie"];

const FOR_IMAGE: &[packages::Need] = &[
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/systemctl", "systemd"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
];

/// Options of a build: the test builds images with options of its own.
const OF_A_BUILD: [&str; 13] = [
    "package",
    "ca",
    "vault_ca",
    "db_ca",
    "overlay",
    "include",
    "strict",
    "authorized_keys",
    "packages",
    "mirror",
    "security_mirror",
    "out",
    "check",
];

/// Build a Debian image that records SSH sessions, without any secret
///
/// The image contains systemd, sshd, the package `vctl-agent` and the public key of the SSH CA. Two builds on one state of
/// Debian's archive write the same bytes. See docs/image.md.
#[derive(clap::Args)]
#[command(before_help = "\
Examples:
  vctl ca ssh-print > ca.pub; cargo xtask dist --formats deb
  cargo xtask image trixie --package DEB --ca ca.pub
  cargo xtask image trixie ... --overlay DIR    Add accounts or settings
  cargo xtask image trixie ... --packages FILE  Refuse other versions
  cargo xtask image trixie ... --check          Build twice and compare
  cargo xtask image --test                      Boot images of this clone")]
pub(crate) struct Options {
    /// Release of Debian; with `--test` several, or none for all tested ones
    #[arg(required_unless_present_any = ["test", "record"])]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SUITES))]
    suites: Vec<String>,
    /// Debian package of vctl-agent
    #[arg(long, value_name = "DEB", required_unless_present_any = ["test", "record"])]
    package: Option<PathBuf>,
    /// Public keys of the SSH CA, one a line: `vctl ca ssh-print`
    #[arg(long, value_name = "FILE", required_unless_present_any = ["test", "record"])]
    ca: Option<PathBuf>,
    /// CA certificate of Vault, if it is not a public one
    #[arg(long, value_name = "PEM")]
    vault_ca: Option<PathBuf>,
    /// CA certificate of Postgres, if it is not a public one
    #[arg(long, value_name = "PEM")]
    db_ca: Option<PathBuf>,
    /// Directory whose files are copied over the root, as root's
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// More packages of Debian, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    include: Vec<String>,
    /// Refuse logins that cannot be stamped
    #[arg(long)]
    strict: bool,
    /// Accept authorized_keys with keys in the image
    #[arg(long)]
    authorized_keys: bool,
    /// The file `packages` of an earlier image: refuse other packages and other versions
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Debian's archive, or a mirror or snapshot of it
    #[arg(long, value_name = "URL", default_value = debian::ARCHIVE)]
    mirror: String,
    /// Debian's archive of security updates
    #[arg(long, value_name = "URL", default_value = debian::SECURITY)]
    security_mirror: String,
    /// Directory for the image, which must not exist [default: target/image/SUITE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build the image twice and compare the bytes
    #[arg(long)]
    check: bool,
    /// Build and boot images of this clone in QEMU, for an hour
    #[arg(long, conflicts_with_all = OF_A_BUILD)]
    test: bool,
    /// Test, copy the report to docs/bench and write the tables in docs/image.md
    #[arg(long, conflicts_with_all = OF_A_BUILD)]
    record: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "this makes a root of Debian, so run it as root"
    );
    if options.test || options.record {
        return trial::run(&options.suites, options.record, options.yes);
    }
    let (Some(package), Some(ca), [suite]) = (&options.package, &options.ca, &*options.suites)
    else {
        bail!("an image has one release, a package and a CA");
    };
    let default = || Path::new("target/image").join(suite);
    let out = std::path::absolute(options.out.clone().unwrap_or_else(default))?;
    ensure!(
        !out.exists(),
        "`{}` exists already; remove it, or choose another `--out`",
        out.display()
    );
    let epoch = source_date_epoch()?;
    let inputs = Inputs {
        package: package.clone(),
        authorities: trust::read(ca)?,
        vault_ca: options.vault_ca.clone(),
        db_ca: options.db_ca.clone(),
        overlay: options.overlay.clone(),
        is_strict: options.strict,
        allows_authorized_keys: options.authorized_keys,
    };
    inputs.check()?;
    let wanted = options.packages.as_deref().map(package::read_list);
    let wanted = wanted.transpose()?;
    packages::ensure(FOR_IMAGE, options.yes)?;
    let archive = Archive {
        suite: suite.clone(),
        mirror: options.mirror.clone(),
        security_mirror: options.security_mirror.clone(),
        include: options.include.clone(),
        epoch,
    };
    build_at(&out, |work| {
        let image = work.join("image");
        build(&archive, &inputs, wanted.as_deref(), work, &image)?;
        if options.check {
            let again = work.join("again");
            build(&archive, &inputs, wanted.as_deref(), work, &again)?;
            compare(&image, &again)?;
            say("Both builds have the same bytes.");
        }
        Ok(image)
    })?;
    say(&format!(
        "\n{}",
        fs::read_to_string(out.join(artefacts::SUMS))?
    ));
    say(&format!(
        "The image is in {}. Give each host its own enrolment: docs/image.md",
        out.display()
    ));
    Ok(())
}

/// Calls `make` with a directory beside `out`, and moves the directory that it returns to `out`.
fn build_at(out: &Path, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
    let parent = out.parent().context("`--out` has no parent")?;
    fs::create_dir_all(parent)?;
    // A directory of this build alone, removed with all it contains after an error.
    let work = tempfile::Builder::new()
        .prefix(".image-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to `{}`", parent.display()))?;
    // Also the accounts of the image pass through it: `sshd` has to read its root.
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    let image = make(work.path())?;
    fs::rename(&image, out).with_context(|| format!("cannot move the image to `{}`", out.display()))
}

/// Builds an image whose files are in the new directory `image`.
fn build(
    archive: &Archive,
    inputs: &Inputs,
    wanted: Option<&[String]>,
    work: &Path,
    image: &Path,
) -> Result<()> {
    let root = work.join("root");
    debian::make(archive, &root)?;
    finish(inputs, wanted, archive.epoch, &root, image)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Turns the root of a Debian into the files of an image.
fn finish(
    inputs: &Inputs,
    wanted: Option<&[String]>,
    epoch: u64,
    root: &Path,
    image: &Path,
) -> Result<()> {
    install::run(inputs, epoch, root)?;
    let found = package::list(root)?;
    if let Some(wanted) = wanted {
        package::same(wanted, &found)?;
    }
    neutral::run(root)?;
    secrets::refuse("image", root, inputs.allows_authorized_keys)?;
    fs::create_dir(image)?;
    artefacts::write(root, image, epoch, &found)
}

fn compare(one: &Path, other: &Path) -> Result<()> {
    for name in artefacts::NAMES {
        let [first, second] = [one, other].map(|image| sha256_of(&image.join(name)));
        ensure!(first? == second?, "`{name}` differs when it is built again");
    }
    Ok(())
}

/// Returns the digest of a disk: the program reads gigabytes much faster than a task of the profile `dev` does.
fn sha256_of(path: &Path) -> Result<String> {
    let printed = quietly(Command::new("sha256sum").arg("--").arg(path))?;
    let digest = printed.split_whitespace().next();
    Ok(digest.context("`sha256sum` prints a digest")?.to_owned())
}

/// Returns a program that runs in the root, with an environment that no setting of this user changes.
fn in_root(root: &Path, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).arg(program).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("LC_ALL", "C.UTF-8");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(std::process::Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_there_as_a_whole_or_not_at_all() {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("images/trixie");
        let failed = build_at(&out, |work| {
            fs::create_dir(work.join("root"))?;
            bail!("no space left")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0);
        build_at(&out, |work| {
            fs::create_dir(work.join("image"))?;
            Ok(work.join("image"))
        })
        .unwrap();
        let names = fs::read_dir(out.parent().unwrap()).unwrap().flatten();
        let names: Vec<_> = names.map(|file| file.file_name()).collect();
        assert_eq!(names, ["trixie"]);
    }
}
