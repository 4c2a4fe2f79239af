//! `cargo xtask image --test`: the image, and a stock Debian with the snippets of `deploy/host-image`, in guests of QEMU.
//!
//! The first session of each host has to arrive in Postgres, and the three hosts must have the same files.

mod bad_input;
mod disk;
mod files;
mod page;
pub(crate) mod report;
mod stock;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::debian::{self, Archive};
use super::install::Inputs;
use super::{FOR_IMAGE, SUITES, compare, finish, trust};
use crate::boot::centre::{Centre, Desk, PERSON};
use crate::boot::course::{Course, Step};
use crate::boot::guest::{Guest, until};
use crate::boot::{FOR_BOOT, packages_of, root};
use crate::command::{build_program, quietly, say};
use crate::dist::source_date_epoch;
use crate::packages::{self, FOR_TEST, for_centre};
use crate::recorded::{self, Report};
use report::{PAGE, Run};

const WORK: &str = "target/image-test";
/// The enrolment of the host, on the desk and on the host.
const ENROLMENT: &str = "web-1.json";
/// The host of the page.
const ADDRESS: &str = "192.0.2.10";
const ENROLMENT_OF_HOST: &str = "etc/vctl/enroll.json";

/// Builds and boots an image of each release.
pub(super) fn run(suites: &[String], is_recorded: bool, yes: bool) -> Result<()> {
    let commit = recorded::commit(is_recorded)?;
    let ansible = FOR_TEST
        .iter()
        .copied()
        .filter(|(_, name)| *name == "ansible-core");
    let needs = [
        FOR_BOOT,
        FOR_IMAGE,
        &for_centre(),
        &ansible.collect::<Vec<_>>(),
    ]
    .concat();
    packages::ensure(&needs, yes)?;
    let built = build_program("stack")?;
    let stack = built.iter().find(|built| built.name == "stack");
    let stack = stack.context("no stack was built")?;
    let programs = stack.executable.parent().context("a path")?;
    let work = std::path::absolute(WORK)?;
    fs::create_dir_all(&work)?;
    let mut suites: Vec<&str> = suites.iter().map(String::as_str).collect();
    if suites.is_empty() {
        suites.extend(SUITES);
    }
    // A commit during the run must not change the time of the image.
    let epoch = source_date_epoch()?;
    let mut report = Report::begin(commit)?;
    for suite in suites {
        say(&format!("\nDebian {suite}"));
        // A directory of this run alone, with images and disks that are deleted at its end.
        let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(&work)?;
        let (package, _) = packages_of(programs, scratch.path())?;
        let centre = Centre::start(stack)?;
        let mut trial = Trial {
            suite,
            epoch,
            work: scratch.path().to_owned(),
            cache: work.clone(),
            programs: programs.to_owned(),
            package,
            centre: &centre,
            inputs: None,
            steps: Vec::new(),
            files: Vec::new(),
            facts: Vec::new(),
        };
        let _ = trial.follow();
        report.runs.push(Run {
            suite: suite.to_owned(),
            facts: trial.facts,
            steps: trial.steps,
        });
    }
    let names: Vec<String> = report.runs.iter().map(|run| run.suite.clone()).collect();
    let path = work.join(format!("{}.json", names.join("-")));
    report.write(&path)?;
    say(&format!("Report: {}", path.display()));
    let mut steps = report.runs.iter().flat_map(|run| &run.steps);
    ensure!(steps.all(|step| step.passed), "a step failed");
    if is_recorded {
        report.record(&PAGE, &names)?;
        PAGE.write(&report::of_reports(Path::new("."))?)?;
    }
    Ok(())
}

/// The state of one run.
struct Trial<'a> {
    suite: &'a str,
    /// Time of the files of each image.
    epoch: u64,
    work: PathBuf,
    /// Holds the stock Debian, which is the same in every run.
    cache: PathBuf,
    programs: PathBuf,
    package: PathBuf,
    centre: &'a Centre,
    /// The parts of the image.
    inputs: Option<Inputs>,
    steps: Vec<Step>,
    /// The files of the booted image.
    files: Vec<String>,
    facts: Vec<String>,
}

impl Trial<'_> {
    /// Carries out all steps up to the first that fails.
    fn follow(&mut self) -> Result<()> {
        self.step("two builds of the image", Self::build)?;
        self.step("inputs that are refused", |trial| bad_input::run(trial))?;
        self.step("first boot with a wrapped secret id", Self::boot)?;
        self.step("the same with cloud-init", stock::cloud_init)?;
        self.step("the same with Ansible", stock::ansible)
    }

    fn step(
        &mut self,
        name: &str,
        carry_out: impl FnOnce(&mut Self) -> Result<String>,
    ) -> Result<()> {
        let (step, done) = Step::carry_out(name, || carry_out(self));
        self.steps.push(step);
        done
    }

    /// Builds an image with the commands of the page, and returns the parts that it was made of.
    fn build_as_documented(&self) -> Result<Inputs> {
        let authority = PathBuf::from(self.centre.value("VCTL_VAULT_CA_CERT")?);
        let xtask = std::env::current_exe()?;
        let here = |name: &str| format!("'{}'", self.work.join(name).display());
        for command in page::commands(page::BUILD)? {
            if command.starts_with("cargo xtask dist ") {
                // Packages of the profile `release` take minutes; this run has them of `dev`.
                continue;
            }
            let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            for word in &mut words {
                match word.as_str() {
                    "trixie" => self.suite.clone_into(word),
                    "ca.pub" => *word = here("ca.pub"),
                    "ca.pem" => *word = format!("'{}'", authority.display()),
                    name if name.contains("vctl-agent_") => {
                        *word = format!("'{}'", self.package.display());
                    }
                    _ => {}
                }
            }
            let mut line = words.join(" ");
            if let Some(arguments) = line.strip_prefix("cargo xtask ") {
                line = format!("'{}' {arguments} --out {}", xtask.display(), here("image"));
            }
            self.administrator(&line).with_context(|| command)?;
        }
        Ok(Inputs {
            package: self.package.clone(),
            authorities: trust::read(&self.work.join("ca.pub"))?,
            vault_ca: Some(authority.clone()),
            db_ca: Some(authority),
            overlay: None,
            is_strict: false,
            allows_authorized_keys: false,
        })
    }

    /// Runs a line where no host is needed.
    fn administrator(&self, line: &str) -> Result<String> {
        let mut shell = std::process::Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.args(["-c", line]).current_dir(&self.work).env_clear();
        shell.env("HOME", &self.work);
        shell.env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        shell.env("PATH", format!("{}:{path}", self.programs.display()));
        let exports = self.centre.exports.iter();
        shell.envs(exports.map(|(name, value)| (name, value)));
        quietly(&mut shell)
    }

    fn base(&self) -> PathBuf {
        self.work.join("base")
    }

    fn image(&self) -> PathBuf {
        self.work.join("image")
    }

    /// Builds the image twice, and keeps the root of Debian for the inputs that are refused.
    fn build(&mut self) -> Result<String> {
        let inputs = self.build_as_documented()?;
        let epoch = self.epoch;
        let archive = Archive {
            suite: self.suite.to_owned(),
            mirror: debian::ARCHIVE.to_owned(),
            security_mirror: debian::SECURITY.to_owned(),
            include: Vec::new(),
            epoch,
        };
        debian::make(&archive, &self.base())?;
        let root = self.copy_of_base()?;
        let other = self.work.join("again");
        finish(&inputs, None, epoch, &root, &other)?;
        compare(&self.image(), &other)?;
        // The command of an administrator with a Vault finds nothing to add.
        let trusted = format!("vctl trust-ca --yes --root '{}' 2>&1", root.display());
        let trusted = self.administrator(&trusted)?;
        ensure!(
            trusted.contains("nothing to change"),
            "`vctl trust-ca --root` changed the image: {trusted}"
        );
        fs::remove_dir_all(&other)?;
        self.inputs = Some(inputs);
        let packages = fs::read_to_string(self.image().join("packages"))?;
        let tarball = fs::metadata(self.image().join("root.tar"))?.len() >> 20;
        Ok(format!(
            "the same bytes; {} packages, a tarball of {tarball} MiB",
            packages.lines().count()
        ))
    }

    /// Returns a new copy of the root of Debian.
    fn copy_of_base(&self) -> Result<PathBuf> {
        let root = self.work.join("root");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let mut copy = std::process::Command::new("cp");
        quietly(copy.arg("-a").arg(self.base()).arg(&root))?;
        Ok(root)
    }

    /// Enrols the host, and returns the file for it.
    fn enrol(&self) -> Result<PathBuf> {
        let file = self.work.join(ENROLMENT);
        if file.exists() {
            fs::remove_file(&file)?;
        }
        for command in page::commands(page::ENROL)? {
            self.administrator(&command.replace(ADDRESS, "127.0.0.1"))?;
        }
        Ok(file)
    }

    fn boot(&mut self) -> Result<String> {
        // The stack has another host of this name.
        self.administrator("vctl delete web-1 --yes")?;
        let enrolment = self.enrol()?;
        let scratch = self.new_directory("booted")?;
        let key = scratch.join("key");
        root::new_key(&key)?;
        let disk = disk::of_image(self, &scratch, &key, &enrolment)?;
        let course = self.start(&disk, &scratch, &key)?;
        let guest = &course.guest;
        let facts = vec![
            format!("Linux {}", guest.run("uname -r")?),
            guest.run("systemctl --version | head -n 1 | cut -d ' ' -f 1-2")?,
            guest.run("ssh -V 2>&1 | cut -d , -f 1")?.replace('_', " "),
        ];
        await_enrolment(guest)?;
        let login = self.log_in(&course)?;
        let (serial, _) = course.complete_session(&[], Some(&login))?;
        let id = guest.run("cat /etc/machine-id")?;
        ensure!(id.len() == 32, "the machine id is `{id}`");
        let files = files::of(guest)?;
        drop(course);
        (self.facts, self.files) = (facts, files);
        Ok(format!(
            "session {serial} is complete in Postgres; the enrolment is gone, and {} files are compared below",
            self.files.len()
        ))
    }

    fn new_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.work.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Starts a guest, and returns it with a desk for it.
    fn start(&self, disk: &root::Disk, scratch: &Path, key: &Path) -> Result<Course<'_>> {
        let guest = Guest::start(disk, scratch, key)?;
        let desk = Desk::new(self.centre, &guest, &self.programs, scratch)?;
        desk.run(&format!("vctl edit web-1 --port {}", guest.port))?;
        Ok(Course {
            guest,
            desk,
            centre: self.centre,
            package: self.package.clone(),
            newer: self.package.clone(),
            steps: Vec::new(),
        })
    }

    /// Logs in as a person, and returns the line that did.
    fn log_in(&self, course: &Course) -> Result<String> {
        let password = &self.centre.password;
        course.desk.run(&format!(
            "echo {password} | env -u VAULT_TOKEN vctl login --username {PERSON} --password-stdin"
        ))?;
        let login = "env -u VAULT_TOKEN vctl ssh web-1 -- uptime".to_owned();
        course.desk.run(&login)?;
        Ok(login)
    }
}

/// Waits until the host has applied its enrolment and removed the file.
fn await_enrolment(guest: &Guest) -> Result<()> {
    let awaited = until("the enrolment is applied", || {
        let state = "systemctl show -P ActiveState vctl-enroll.service";
        let is_done =
            format!("test -e /etc/vctl/role_id && test ! -e /{ENROLMENT_OF_HOST} && {state}");
        Ok(guest.attempt(&is_done)? == (true, "inactive".to_owned()))
    });
    awaited.with_context(|| {
        let log = guest.attempt("journalctl --no-pager -u vctl-enroll.service | tail -n 30");
        log.map_or_else(|error| error.to_string(), |(_, text)| text)
    })
}
