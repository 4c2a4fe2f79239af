//! `cargo xtask dist`: Debian and RPM packages and tarballs of `vctl` and `vctl-agent`.
//!
//! The formats' own tools write them: dpkg-deb is on every Debian, and rpmbuild is in its package `rpm`. The content of a
//! package is in `deploy/packages`. Times in a package are that of the last commit, so a second build gives equal bytes.

mod contents;
mod deb;
mod generated;
mod programs;
mod rpm;
mod tarball;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{quietly, say};
use crate::{packages, sha256};

/// rpmbuild of Debian; the other tools are in its essential packages or come with a C compiler.
const FOR_RPM: &[(&str, &str)] = &[("/usr/bin/rpmbuild", "rpm")];
/// The C compiler of static programs.
const FOR_TARBALL: &[(&str, &str)] = &[("/usr/bin/musl-gcc", "musl-tools")];

const PACKAGES: [Package; 2] = [
    Package {
        name: "vctl",
        debian_relations: "Recommends: openssh-client\n",
    },
    Package {
        name: "vctl-agent",
        debian_relations: "Recommends: openssh-server, systemd\nSuggests: vctl\n",
    },
];

/// A package, and the program of the same name in it.
#[derive(Clone, Copy, Debug)]
struct Package {
    name: &'static str,
    debian_relations: &'static str,
}

impl Package {
    /// Returns the directory that describes the package.
    fn directory(self) -> PathBuf {
        Path::new("deploy/packages").join(self.name)
    }

    /// Returns the summary and the lines of the description.
    fn description(self) -> Result<(String, Vec<String>)> {
        let path = self.directory().join("description");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut lines = text.lines().map(str::to_owned);
        let summary = lines.next().context("a description has a first line")?;
        Ok((summary, lines.collect()))
    }

    /// Returns a script of the package, if it has this one.
    fn script(self, name: &str) -> Result<Option<String>> {
        let path = self.directory().join(name);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(
            fs::read_to_string(path)?.replace("@VERSION@", VERSION),
        ))
    }
}

/// Most bytes of a package of a release.
const SIZE_MAX: usize = 8 << 20;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Deb,
    Rpm,
    /// A tarball with a static program, which runs on every Linux of its architecture
    Tar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    Dev,
    Release,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Profile of the programs; packages of `dev` are large and compressed less
    #[arg(long, default_value = "release")]
    profile: Profile,
    /// Directory for the packages
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Formats to write, separated by commas; `tar` builds the programs once more, static
    #[arg(
        long,
        value_name = "FORMATS",
        value_delimiter = ',',
        default_value = "deb,rpm"
    )]
    formats: Vec<Format>,
    /// Package the built programs of this directory; a tarball needs static ones
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Write each package twice and compare the bytes
    #[arg(long)]
    check: bool,
    /// Also build the programs twice, which takes several times as long
    #[arg(long, requires = "check", conflicts_with = "programs")]
    rebuild: bool,
    /// Install missing packages of Debian without asking
    #[arg(long)]
    yes: bool,
}

impl Options {
    fn writes_tar(&self) -> bool {
        self.formats.contains(&Format::Tar)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(directory) = options.programs.as_deref().filter(|_| options.writes_tar()) {
        for package in PACKAGES {
            tarball::check(&directory.join(package.name))?;
        }
    }
    if options.formats.contains(&Format::Rpm) {
        packages::ensure(FOR_RPM, options.yes)?;
    }
    if options.writes_tar() && options.programs.is_none() {
        packages::ensure(FOR_TARBALL, options.yes)?;
    }
    let out = std::path::absolute(&options.out)?;
    fs::create_dir_all(&out)?;
    let epoch = source_date_epoch()?;
    let names = write_all(options, "target", &out, epoch)?;
    if options.check {
        let again = out.join(".again");
        remove_directory(&again)?;
        fs::create_dir_all(&again)?;
        let target = if options.rebuild {
            "target/dist-rebuild"
        } else {
            "target"
        };
        let second = write_all(options, target, &again, epoch)?;
        ensure!(names == second, "the second build wrote other files");
        for name in &names {
            let same = fs::read(out.join(name))? == fs::read(again.join(name))?;
            ensure!(same, "`{name}` differs when it is written again");
        }
        remove_directory(&again)?;
        let how = if options.rebuild {
            "built and written"
        } else {
            "written"
        };
        say(&format!(
            "{} files are equal when {how} twice.",
            names.len()
        ));
    }
    let mut sums = String::new();
    for name in &names {
        let bytes = fs::read(out.join(name))?;
        let _ = writeln!(sums, "{}  {name}", sha256::of(&bytes));
        #[allow(clippy::cast_precision_loss, reason = "a size to read")]
        let mebibytes = bytes.len() as f64 / f64::from(1 << 20);
        say(&format!(
            "{mebibytes:6.2} MiB  {}",
            out.join(name).display()
        ));
        ensure!(
            options.profile != Profile::Release || bytes.len() <= SIZE_MAX,
            "`{name}` has {mebibytes:.2} MiB; a package of a release has at most {} MiB",
            SIZE_MAX >> 20
        );
    }
    fs::write(out.join("SHA256SUMS"), sums)?;
    Ok(())
}

/// Writes every package in every format, and returns the names of the files.
fn write_all(options: &Options, target: &str, out: &Path, epoch: u64) -> Result<Vec<String>> {
    let work = out.join(".work");
    let mut names = Vec::new();
    let linked = [Format::Deb, Format::Rpm].map(|format| options.formats.contains(&format));
    let mut kinds = Vec::new();
    if linked.contains(&true) {
        kinds.push(programs::Linking::Dynamic);
    }
    if options.writes_tar() {
        kinds.push(programs::Linking::Static);
    }
    remove_earlier(out, &options.formats)?;
    for linking in kinds {
        let directory = match &options.programs {
            Some(directory) => std::path::absolute(directory)?,
            None => programs::build(options.profile, linking, target)?,
        };
        for package in PACKAGES {
            remove_directory(&work)?;
            fs::create_dir_all(&work)?;
            let build = Build {
                package,
                program: directory.join(package.name),
                work: work.clone(),
                out: out.to_owned(),
                epoch,
                is_small: options.profile == Profile::Release,
            };
            generated::write(&build)?;
            if linking == programs::Linking::Static {
                names.push(tarball::write(&build)?);
                continue;
            }
            for format in &options.formats {
                match format {
                    Format::Deb => names.push(deb::write(&build)?),
                    Format::Rpm => names.push(rpm::write(&build)?),
                    Format::Tar => {}
                }
            }
        }
    }
    remove_directory(&work)?;
    Ok(names)
}

/// Removes the packages of earlier versions, so that a pattern like `*.deb` names the new files only.
fn remove_earlier(out: &Path, formats: &[Format]) -> Result<()> {
    for file in fs::read_dir(out)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if formats.iter().any(|&format| is_package(&name, format)) {
            fs::remove_file(file.path()).with_context(|| file.path().display().to_string())?;
        }
    }
    Ok(())
}

/// Returns whether the name is that of one of our packages in this format, of any version and architecture.
fn is_package(name: &str, format: Format) -> bool {
    let (before_version, end) = match format {
        Format::Deb => ('_', ".deb"),
        Format::Rpm => ('-', ".rpm"),
        Format::Tar => ('-', ".tar.gz"),
    };
    PACKAGES.iter().any(|package| {
        let rest = name.strip_prefix(package.name);
        let rest = rest.and_then(|rest| rest.strip_prefix(before_version));
        rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit()) && rest.ends_with(end)
        })
    })
}

/// One package that is being written.
#[derive(Debug)]
struct Build {
    package: Package,
    program: PathBuf,
    /// Directory of its own, with the generated files.
    work: PathBuf,
    out: PathBuf,
    epoch: u64,
    /// Compressed well rather than fast.
    is_small: bool,
}

impl Build {
    /// Returns the file of this name that was generated for the package.
    fn generated(&self, name: &str) -> PathBuf {
        self.work.join("generated").join(name)
    }

    /// Returns a command whose output depends on no setting of this user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", &self.work);
        command
    }
}

/// Returns the time of the last commit, or that in `SOURCE_DATE_EPOCH`.
pub(crate) fn source_date_epoch() -> Result<u64> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let epoch = epoch.to_string_lossy().into_owned();
        return epoch
            .parse()
            .with_context(|| format!("`SOURCE_DATE_EPOCH` is `{epoch}`, not a number of seconds"));
    }
    let time = quietly(Command::new("git").args(["log", "-1", "--format=%ct"]))
        .context("outside a git clone, set `SOURCE_DATE_EPOCH`")?;
    Ok(time.trim().parse()?)
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
    fn earlier_packages_of_the_same_format_are_removed() {
        let work = tempfile::tempdir().unwrap();
        let debs = ["vctl_0.0.9_amd64.deb", "vctl-agent_0.1.0_amd64.deb"];
        let others = [
            "SHA256SUMS",
            "other_1.0_amd64.deb",
            "vctl-0.0.9-1.x86_64.rpm",
            "vctl-agent-0.1.0-linux-x86_64.tar.gz",
            "vctl-notes.deb",
        ];
        for name in debs.iter().chain(&others) {
            fs::write(work.path().join(name), "").unwrap();
        }
        remove_earlier(work.path(), &[Format::Deb]).unwrap();
        let left = fs::read_dir(work.path()).unwrap().flatten();
        let mut left: Vec<_> = left
            .map(|file| file.file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, others);
    }

    #[test]
    fn a_tarball_of_dynamic_programs_is_refused_before_any_write() {
        let work = tempfile::tempdir().unwrap();
        for package in PACKAGES {
            // This test is a dynamic program.
            let program = std::env::current_exe().unwrap();
            std::os::unix::fs::symlink(program, work.path().join(package.name)).unwrap();
        }
        let options = Options {
            profile: Profile::Dev,
            out: work.path().join("out"),
            formats: vec![Format::Deb, Format::Tar],
            programs: Some(work.path().to_owned()),
            check: false,
            rebuild: false,
            yes: false,
        };
        let refused = run(&options).unwrap_err().to_string();
        assert!(
            refused.contains("a tarball needs a static one"),
            "{refused}"
        );
        assert!(!options.out.exists());
    }
}
