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

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::command::say;
use crate::packages;

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
    /// Formats to write, separated by commas
    #[arg(
        long,
        value_name = "FORMATS",
        value_delimiter = ',',
        default_value = "deb,rpm,tar"
    )]
    formats: Vec<Format>,
    /// Package the built programs of this directory
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

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.formats.contains(&Format::Rpm) {
        packages::ensure(FOR_RPM, options.yes)?;
    }
    if options.formats.contains(&Format::Tar) && options.programs.is_none() {
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
            ensure!(same, "two builds of `{name}` differ");
        }
        remove_directory(&again)?;
        say(&format!("{} files are equal in two builds.", names.len()));
    }
    let mut sums = String::new();
    for name in &names {
        let bytes = fs::read(out.join(name))?;
        let digest = Sha256::digest(&bytes);
        for byte in &digest {
            let _ = write!(sums, "{byte:02x}");
        }
        let _ = writeln!(sums, "  {name}");
        #[allow(clippy::cast_precision_loss, reason = "a size to read")]
        let mebibytes = bytes.len() as f64 / f64::from(1 << 20);
        say(&format!(
            "{mebibytes:6.2} MiB  {}",
            out.join(name).display()
        ));
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
    if options.formats.contains(&Format::Tar) {
        kinds.push(programs::Linking::Static);
    }
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

/// Runs a command without output; its output is in the error.
fn quietly(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        bail!(
            "`{program}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// Returns the time of the last commit, or that in `SOURCE_DATE_EPOCH`.
fn source_date_epoch() -> Result<u64> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let epoch = epoch.to_string_lossy().into_owned();
        return epoch
            .parse()
            .with_context(|| format!("`SOURCE_DATE_EPOCH` is `{epoch}`, not a number of seconds"));
    }
    let time = quietly(Command::new("git").args(["log", "-1", "--format=%ct"]))
        .context("outside a git clone, set `SOURCE_DATE_EPOCH`")?;
    Ok(String::from_utf8(time)?.trim().parse()?)
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
