//! The software bill of materials of each program (CycloneDX), written by cargo-cyclonedx.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::VERSION;
use crate::command::{self, cargo};

/// A newer version may write another format.
const TOOL: &str = "0.5.9";

/// The programs, and the directories of their packages.
const PROGRAMS: [(&str, &str); 2] = [("vctl", "cli"), ("vctl-agent", "agent")];

/// cargo-cyclonedx writes a file with this name into each package of the workspace.
const NAME: &str = "release.cdx";

/// Writes the bills of both programs, or returns the missing ones with the reason.
pub(super) fn write(out: &Path) -> Result<Vec<String>> {
    let bill = |program: &str| format!("{program}-{VERSION}.cdx.json");
    if !is_installed() {
        let reason = format!(
            "cargo-cyclonedx is missing: `cargo install cargo-cyclonedx --locked --version {TOOL}`"
        );
        let absent = PROGRAMS.map(|(program, _)| format!("{} ({reason})", bill(program)));
        return Ok(absent.to_vec());
    }
    let mut cyclonedx = cargo(&["cyclonedx", "--format", "json", "--target", "all"]);
    cyclonedx.args(["--override-filename", NAME, "--quiet"]);
    command::run(&mut cyclonedx)?;
    for (program, directory) in PROGRAMS {
        let written = Path::new(directory).join(format!("{NAME}.json"));
        fs::copy(&written, out.join(bill(program)))
            .with_context(|| format!("cargo-cyclonedx wrote no `{}`", written.display()))?;
    }
    for entry in [
        ".",
        "agent",
        "cli",
        "common",
        "common/redact",
        "tests",
        "xtask",
    ] {
        let _ = fs::remove_file(Path::new(entry).join(format!("{NAME}.json")));
    }
    Ok(Vec::new())
}

fn is_installed() -> bool {
    let mut version: Command = cargo(&["cyclonedx", "--version"]);
    let quiet = version.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
