//! `cargo xtask boot`: installs the package on a booted Debian, and follows the host to the purge of the package.
//!
//! systemd is the real one, in a guest of QEMU whose CPU is emulated. Vault and Postgres run on this machine.

pub(crate) mod centre;
pub(crate) mod course;
mod first_row;
mod guard;
pub(crate) mod guest;
mod life;
mod report;
pub(crate) mod root;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{build_program, quietly, run as run_command, say};
use crate::packages::{self, for_centre};
use crate::recorded::{self, Report};
use centre::{Centre, Desk};
use course::Course;
use guest::Guest;
use report::{Host, PAGE};

const WORK: &str = "target/boot";
const SUITES: [&str; 2] = ["bookworm", "trixie"];

pub(crate) const FOR_BOOT: &[packages::Need] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/share/seabios/bios-256k.bin", "seabios"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/systemctl", "systemd"),
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Copy the report to docs/bench and write the tables in docs/systemd.md
    #[arg(long)]
    record: bool,
    /// Releases of Debian; without it all tested ones
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SUITES))]
    suites: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "this makes roots of Debian, so run it as root"
    );
    let commands = first_row::commands()?;
    let commit = recorded::commit(options.record)?;
    packages::ensure(&[FOR_BOOT, &for_centre()].concat(), options.yes)?;
    let mut suites: Vec<&str> = options.suites.iter().map(String::as_str).collect();
    if suites.is_empty() {
        suites.extend(SUITES);
    }
    let built = build_program("stack")?;
    let stack = built.iter().find(|built| built.name == "stack");
    let stack = stack.context("no stack was built")?;
    let programs = stack.executable.parent().context("a path")?;
    let work = std::path::absolute(WORK)?;
    fs::create_dir_all(&work)?;
    let packages = tempfile::Builder::new()
        .prefix("packages-")
        .tempdir_in(&work)?;
    let (package, newer) = packages_of(programs, packages.path())?;
    let mut report = Report::begin(commit)?;
    for suite in suites {
        say(&format!("\nDebian {suite}"));
        let tarball = root::debian(suite, "", &work)?;
        let centre = Centre::start(stack)?;
        // A directory of this run alone, with disks that are deleted at its end.
        let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(&work)?;
        let key = scratch.path().join("key");
        root::new_key(&key)?;
        let disk = root::disk(&tarball, scratch.path(), &key, &centre.ports()?, &[], &[])?;
        let guest = Guest::start(&disk, scratch.path(), &key)?;
        let desk = Desk::new(&centre, &guest, programs, scratch.path())?;
        let mut course = Course {
            guest,
            desk,
            centre: &centre,
            package: package.clone(),
            newer: newer.clone(),
            steps: Vec::new(),
        };
        report.runs.push(follow(suite, &mut course, &commands)?);
    }
    let names: Vec<String> = report.runs.iter().map(|host| host.suite.clone()).collect();
    let path = work.join(format!("{}.json", names.join("-")));
    report.write(&path)?;
    say(&format!("Report: {}", path.display()));
    let mut steps = report.runs.iter().flat_map(|host| &host.steps);
    ensure!(steps.all(|step| step.passed), "a step failed");
    if options.record {
        report.record(&PAGE, &names)?;
        PAGE.write(&report::of_reports(Path::new("."))?)?;
    }
    Ok(())
}

/// Carries out all steps up to the first that fails.
fn follow(suite: &str, course: &mut Course, commands: &[String]) -> Result<Host> {
    let fact = |script: &str| course.guest.run(script);
    let mut host = Host {
        suite: suite.to_owned(),
        kernel: fact("uname -r")?,
        systemd: fact("systemctl --version | head -n 1 | cut -d ' ' -f 1-2")?,
        openssh: fact("ssh -V 2>&1 | cut -d , -f 1")?.replace('_', " "),
        commands: commands.len(),
        units: Vec::new(),
        steps: Vec::new(),
    };
    let _ = steps(course, commands, &mut host);
    host.steps = std::mem::take(&mut course.steps);
    Ok(host)
}

fn steps(course: &mut Course, commands: &[String], host: &mut Host) -> Result<()> {
    course.step("from an empty host to the first record", |course| {
        host.units = first_row::run(course, commands)?;
        let (serial, _) = course.complete_session(&[], Some("vctl ssh web-1 -- uptime"))?;
        Ok(format!("session {serial} is complete in Postgres"))
    })?;
    course.step("`systemd-analyze security`", |course| {
        first_row::measure(course, &mut host.units)
    })?;
    course.step("a second `setup` changes nothing", |course| {
        let printed = course.guest.run("vctl-agent setup --yes")?;
        ensure!(printed.contains("Nothing to do"), "{printed}");
        Ok("nothing to do".to_owned())
    })?;
    course.step("reboot", life::reboot)?;
    course.step("`kill -9` of the collector", life::crash)?;
    course.step("upgrade during a session", life::upgrade)?;
    course.step("`setup --undo`", life::undo)?;
    course.step("`dpkg --purge` after a new setup", life::purge)
}

/// Returns the package of the agent, and one with the same files and a higher version.
pub(crate) fn packages_of(programs: &Path, work: &Path) -> Result<(PathBuf, PathBuf)> {
    let out = work.join("dist");
    let mut dist = Command::new(std::env::current_exe()?);
    dist.args(["dist", "--profile", "dev", "--formats", "deb", "--programs"]);
    run_command(dist.arg(programs).arg("--out").arg(&out))?;
    let version = env!("CARGO_PKG_VERSION");
    let named = |version: &str| format!("vctl-agent_{version}_amd64.deb");
    let package = out.join(named(version));
    let next = format!("{version}+next");
    let newer = work.join(named(&next));
    with_version(&package, &next, &newer)?;
    Ok((package, newer))
}

/// Writes the same package with another version.
pub(crate) fn with_version(package: &Path, version: &str, to: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir()?;
    quietly(
        Command::new("dpkg-deb")
            .arg("-R")
            .arg(package)
            .arg(unpacked.path()),
    )?;
    let control = unpacked.path().join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let old = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    ensure!(
        text.contains(&old),
        "`{}` has no version",
        control.display()
    );
    fs::write(
        &control,
        text.replace(&old, &format!("Version: {version}\n")),
    )?;
    // dpkg-deb packs the mode of the directory as that of the root.
    fs::set_permissions(unpacked.path(), Permissions::from_mode(0o755))?;
    let mut pack = Command::new("dpkg-deb");
    quietly(pack.args(["-Znone", "-b"]).arg(unpacked.path()).arg(to)).map(drop)
}
