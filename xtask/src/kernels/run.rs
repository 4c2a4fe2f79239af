//! Runs one cell of the matrix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::boot::{Clock, Guest, value};
use super::kernel::{Kernel, Series};
use super::matrix::{Cell, Place, SPECS};
use super::programs::Programs;
use super::report::Run;
use super::small::Small;
use super::tree::{self, Cgroups};
use crate::command::{Built, as_root, build, run_and_read, say};
use crate::failures;
use crate::specs;

/// Where kernels, roots and the files of guests are stored.
const CACHE: &str = "target/kernels";

/// The cells, and the programs that some of them need, built at most once.
pub(super) struct Runner {
    specs: Option<Vec<Built>>,
    small: Option<Programs>,
    arm64: Option<Programs>,
}

/// Result of the part that depends on the place.
struct Outcome {
    kernel: String,
    sshd: Option<String>,
    cgroups: Option<Cgroups>,
    promise: String,
    passed: usize,
    failed: Vec<String>,
}

impl Runner {
    /// Builds what the cells need.
    pub(super) fn build(cells: &[&Cell], is_short: bool) -> Result<Self> {
        let needs = |is_needed: fn(&Place) -> bool| cells.iter().any(|cell| is_needed(&cell.place));
        let specs = if needs(|place| !matches!(place, Place::Small { .. })) {
            say("Building vctl-agent, vctl and the specs.");
            let mut built = build(tree::PROGRAMS_TO_BUILD)?;
            built.extend(build(&[
                "test",
                "-p",
                "vctl-tests",
                "--test",
                "specs",
                "--no-run",
            ])?);
            Some(built)
        } else {
            None
        };
        let small = if needs(|place| matches!(place, Place::Small { .. })) {
            fs::create_dir_all(CACHE)?;
            Some(Programs::build(is_short, Path::new(CACHE))?)
        } else {
            None
        };
        let mut runner = Self {
            specs,
            small,
            arm64: None,
        };
        for cell in cells {
            if let Place::Small { kernel, .. } = &cell.place
                && kernel.architecture == "arm64"
                && runner.arm64.is_none()
            {
                runner.arm64 = Some(Programs::arm64(*kernel, &cache("arm64"))?);
            }
        }
        Ok(runner)
    }

    pub(super) fn run(&self, cell: &Cell) -> Result<Run> {
        let began = Instant::now();
        say(&format!("\nCell `{}`", cell.name));
        let directory = cache(&format!("cell-{}", cell.name));
        fs::create_dir_all(&directory)?;
        let (architecture, outcome) = match &cell.place {
            Place::Here => (std::env::consts::ARCH, self.here()?),
            Place::Debian {
                kernel,
                suite,
                cgroups,
                specs,
            } => {
                let outcome = self.debian(*kernel, suite, *cgroups, specs, &directory)?;
                ("x86_64", outcome)
            }
            Place::Small { kernel, small } => {
                let is_arm64 = kernel.architecture == "arm64";
                let outcome = self.small(*kernel, small, &directory)?;
                (if is_arm64 { "aarch64" } else { "x86_64" }, outcome)
            }
        };
        for failed in &outcome.failed {
            say(&format!("`{}` failed: {failed}", cell.name));
        }
        Ok(Run {
            cell: cell.name.to_owned(),
            kernel: outcome.kernel,
            architecture: architecture.to_owned(),
            sshd: outcome.sshd,
            cgroups: outcome.cgroups,
            promise: outcome.promise,
            passed: outcome.passed,
            failed: outcome.failed,
            seconds: began.elapsed().as_secs_f64().round(),
        })
    }

    fn here(&self) -> Result<Outcome> {
        let specs = self.program_of_specs()?;
        let mut command = as_root("env");
        command.arg("VCTL_TEST_REQUIRE=1").args(specs::toolchain());
        command.arg(format!("RUST_TEST_THREADS={}", specs::threads()));
        command.arg(&specs.executable).args(SPECS);
        let (_, printed) = run_and_read(&mut command)?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let version = Command::new("/usr/sbin/sshd").arg("-V").output()?;
        let (passed, failed) = results(&printed);
        Ok(Outcome {
            kernel: kernel.trim().to_owned(),
            sshd: openssh(&String::from_utf8_lossy(&version.stderr)),
            cgroups: cgroups(&fs::read_to_string("/proc/self/mounts")?),
            promise: promise(SPECS),
            passed,
            failed,
        })
    }

    fn debian(
        &self,
        series: Series,
        suite: &str,
        cgroups: Cgroups,
        specs: &[&str],
        directory: &Path,
    ) -> Result<Outcome> {
        let kernel = kernel(series)?;
        let release = tree::release(suite, &cache("trees"))?;
        let built = self.specs.as_deref().unwrap_or_default();
        each_filter_matches(&self.program_of_specs()?.executable, specs)?;
        let programs = directory.join("programs.cpio");
        fs::write(&programs, tree::programs(built, cgroups, specs, directory)?)?;
        let guest = Guest {
            kernel: &kernel,
            architecture: series.architecture,
            archives: &[release, programs.clone()],
            arguments: "",
            clock: Clock::Instructions,
            directory,
        };
        let console = guest.run()?;
        fs::remove_file(programs)?;
        let (passed, failed) = results(&console);
        Ok(Outcome {
            kernel: value(&console, "kernel").unwrap_or_default().to_owned(),
            sshd: openssh(value(&console, "sshd").unwrap_or_default()),
            cgroups: Some(cgroups),
            promise: promise(specs),
            passed,
            failed,
        })
    }

    fn small(&self, series: Series, small: &Small, directory: &Path) -> Result<Outcome> {
        let kernel = kernel(series)?;
        let programs = match series.architecture {
            "arm64" => self.arm64.as_ref(),
            _ => self.small.as_ref(),
        };
        let programs = programs.context("the programs of the guest were not built")?;
        let outcome = small.run(&kernel, series.architecture, programs, directory)?;
        if !outcome.missing.is_empty() {
            say(&outcome.console);
        }
        Ok(Outcome {
            kernel: outcome.release,
            sshd: None,
            cgroups: None,
            promise: small.promise.to_owned(),
            passed: outcome.found,
            failed: outcome.missing,
        })
    }

    fn program_of_specs(&self) -> Result<&Built> {
        let built = self.specs.iter().flatten();
        let mut specs = built.filter(|built| built.is_test && built.name == "specs");
        specs.next().context("the specs were not built")
    }
}

/// Returns a place below `target` whose parent exists.
fn cache(name: &str) -> PathBuf {
    Path::new(CACHE).join(name)
}

fn kernel(series: Series) -> Result<Kernel> {
    let name = format!("{}-{}", series.suite, series.architecture);
    Kernel::fetch(series, &cache(&format!("linux-{name}")))
}

/// Without this check a renamed spec would leave the matrix.
fn each_filter_matches(program: &Path, filters: &[&str]) -> Result<()> {
    let output = Command::new(program).arg("--list").output()?;
    let listed = String::from_utf8(output.stdout)?;
    for filter in filters {
        let is_named = listed.lines().any(|line| line.contains(filter));
        anyhow::ensure!(is_named, "no spec has the name `{filter}`");
    }
    Ok(())
}

/// Counts the specs that passed, and returns those that failed with their first lines.
fn results(printed: &str) -> (usize, Vec<String>) {
    let tests = || {
        printed
            .lines()
            .filter_map(|line| line.strip_prefix("test "))
    };
    let passed = tests().filter(|line| line.ends_with(" ... ok")).count();
    let mut failed: Vec<_> = tests()
        .filter_map(|line| Some(line.strip_suffix(" ... FAILED")?.to_owned()))
        .collect();
    for excerpt in failures::excerpts(printed) {
        say(&excerpt);
    }
    // A program that crashed printed no result.
    if !printed.contains("\ntest result: ") {
        failed.push("the specs did not end".to_owned());
    }
    (passed, failed)
}

/// Names the groups of specs, and single specs by their whole name.
fn promise(specs: &[&str]) -> String {
    let names = specs.iter().map(|name| name.trim_end_matches("::"));
    let groups = names.map(|name| name.split_once("::").map_or(name, |(group, _)| group));
    let mut groups: Vec<_> = groups.collect();
    groups.dedup();
    format!("specs: {}", groups.join(", "))
}

/// Returns `9.2` of `OpenSSH_9.2, OpenSSL 3.0.22`.
fn openssh(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("OpenSSH_")?;
    let version = rest.split([',', ' ', 'p']).next()?;
    Some(version.to_owned())
}

/// Returns the layout that these mounts show.
fn cgroups(mounts: &str) -> Option<Cgroups> {
    let kinds = || mounts.lines().filter_map(|line| line.split(' ').nth(2));
    match (
        kinds().any(|kind| kind == "cgroup2"),
        kinds().any(|kind| kind == "cgroup"),
    ) {
        (true, false) => Some(Cgroups::Unified),
        (true, true) => Some(Cgroups::Hybrid),
        (false, true) => Some(Cgroups::V1),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{openssh, promise, results};

    #[test]
    fn a_console_without_a_result_is_a_failure() {
        let printed = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n";
        let (passed, failed) = results(printed);
        assert_eq!(passed, 1);
        assert_eq!(failed, ["a::c", "the specs did not end"]);
        let ended = format!("{printed}\ntest result: FAILED. 1 passed; 1 failed\n");
        assert_eq!(results(&ended).1, ["a::c"]);
    }

    #[test]
    fn the_version_of_sshd_is_read_from_both_releases() {
        assert_eq!(
            openssh("OpenSSH_9.2, OpenSSL 3.0.22 25 Aug 2026").as_deref(),
            Some("9.2")
        );
        assert_eq!(
            openssh("OpenSSH_10.0p2 Debian-7, OpenSSL").as_deref(),
            Some("10.0")
        );
        assert_eq!(openssh("sshd: not found"), None);
    }

    #[test]
    fn a_group_of_specs_is_named_once() {
        let specs = ["attribution::a", "attribution::b", "exit::"];
        assert_eq!(promise(&specs), "specs: attribution, exit");
    }
}
