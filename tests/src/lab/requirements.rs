//! Checks whether this machine can run a lab, and returns the exact reason if it cannot.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The checks of the kernel only. The lab itself creates the conditions for the other checks.
const KERNEL_CHECKS: &[&str] = &["kernel", "btf", "bpf", "pid_namespace", "lockdown"];

/// Programs under test, from the build.
#[derive(Clone, Debug)]
pub struct Programs {
    pub agent: PathBuf,
    pub vctl: PathBuf,
    /// Programs that only the tests use.
    pub directory: PathBuf,
}

impl Programs {
    /// Finds the programs in the directory of the running program, or in `VCTL_BIN_DIR`.
    pub fn find() -> Result<Self> {
        let directory = directory_of_programs()?;
        let programs = Self {
            agent: directory.join("vctl-agent"),
            vctl: directory.join("vctl"),
            directory,
        };
        for program in [&programs.agent, &programs.vctl] {
            let built = program.exists();
            ensure!(
                built,
                "`{}` is not built: run `cargo xtask test`",
                program.display()
            );
        }
        Ok(programs)
    }
}

/// Returns the directory of the programs: that of the running program, or `VCTL_BIN_DIR`.
pub(crate) fn directory_of_programs() -> Result<PathBuf> {
    let directory = match std::env::var_os("VCTL_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => beside(&std::env::current_exe()?),
    };
    directory
        .canonicalize()
        .with_context(|| format!("`{}` is not a directory", directory.display()))
}

/// A test binary is in `deps`, below the directory of the programs.
fn beside(program: &Path) -> PathBuf {
    let directory = program.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") {
        directory.parent().unwrap_or(directory).to_owned()
    } else {
        directory.to_owned()
    }
}

/// Returns the reason when this machine cannot run a lab.
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("this needs root; `cargo xtask` gets it with sudo".to_owned());
    }
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(error) => return Some(format!("{error:#}")),
    };
    let tools = ["ssh", "scp", "sftp", "ssh-keygen", "useradd", "userdel"];
    if let Some(tool) = tools.iter().find(|tool| !installed(tool)) {
        return Some(format!("`{tool}` is not installed"));
    }
    bpf_problem(&programs).unwrap_or_else(|error| Some(format!("{error:#}")))
}

/// Returns true when a program is in one of Debian's directories for programs.
pub fn installed(program: &str) -> bool {
    let directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
    directories
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}

/// Asks the agent whether the probe can run on this kernel.
fn bpf_problem(programs: &Programs) -> Result<Option<String>> {
    // A mistake in this machine's own configuration must not affect the check.
    let config = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let output = Command::new(&programs.agent)
        .args(["check", "-o", "json", "--config"])
        .arg(config.path())
        .output()
        .context("cannot run `vctl-agent check`")?;
    let report: Report = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("`vctl-agent check` printed no report: {}", said.trim())
    })?;
    Ok(report.of_the_kernel())
}

#[derive(Deserialize)]
struct Report {
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    id: String,
    status: String,
    seen: String,
    fix: Option<String>,
}

impl Report {
    /// Returns failed checks that a lab cannot fix by itself.
    fn of_the_kernel(&self) -> Option<String> {
        let of_the_kernel = |id: &str| KERNEL_CHECKS.contains(&id);
        let failed = self
            .findings
            .iter()
            .filter(|finding| finding.status == "fail" && of_the_kernel(&finding.id));
        let reasons: Vec<_> = failed
            .map(|finding| match &finding.fix {
                Some(fix) => format!("{} ({fix})", finding.seen),
                None => finding.seen.clone(),
            })
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Starts a part that a spec needs. Skips the spec when `missing` names a part that is not installed.
pub fn start_or_skip<T>(missing: Option<String>, start: impl FnOnce() -> Result<T>) -> Option<T> {
    if let Some(why) = missing {
        skip(&why);
        return None;
    }
    Some(start().unwrap_or_else(|error| panic!("{error:?}")))
}

/// Reports a part of a spec that needs a program which is not a package of the distribution, so that CI does not have
/// it. It is not a failure: tests/README.md lists these parts.
pub fn exempt(why: &str) {
    let thread = std::thread::current();
    let spec = thread.name().unwrap_or("a spec");
    let _ = writeln!(std::io::stderr(), "exempt: {spec}: {why}");
}

/// Reports that a spec cannot run here. With `VCTL_TEST_REQUIRE` this is a failure.
///
/// Written without libtest, which hides the output of a spec that passes.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("VCTL_TEST_REQUIRE").is_none(),
        "must not be skipped, but it cannot run: {why}"
    );
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let spec = thread.name().unwrap_or("a spec");
    let _ = writeln!(std::io::stderr(), "skipped ({count}): {spec}: {why}");
}
