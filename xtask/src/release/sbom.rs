//! The software bill of materials of each program (CycloneDX), written by cargo-cyclonedx.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{VERSION, tag};
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
    cyclonedx.args([
        "--spec-version",
        "1.5",
        "--quiet",
        "--override-filename",
        NAME,
    ]);
    // Without it, the bill has the time of this run and a random number.
    cyclonedx.env("SOURCE_DATE_EPOCH", tag::commit_time(Path::new("."))?);
    command::run(&mut cyclonedx)?;
    let here = std::env::current_dir()?;
    for (program, directory) in PROGRAMS {
        let written = Path::new(directory).join(format!("{NAME}.json"));
        let text = fs::read_to_string(&written)
            .with_context(|| format!("cargo-cyclonedx wrote no `{}`", written.display()))?;
        fs::write(out.join(bill(program)), without_directory(&text, &here))?;
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

/// Replaces the directory of this clone, which the reader of a bill does not have.
fn without_directory(text: &str, here: &Path) -> String {
    text.replace(&format!("file://{}", here.display()), "file:///vctl")
}

fn is_installed() -> bool {
    let mut version: Command = cargo(&["cyclonedx", "--version"]);
    let quiet = version.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_has_no_path_of_the_machine_that_wrote_it() {
        let text = r#"{"bom-ref": "path+file:///home/a/vctl/cli#vctl@0.1.0"}"#;
        let text = without_directory(text, Path::new("/home/a/vctl"));
        assert_eq!(text, r#"{"bom-ref": "path+file:///vctl/cli#vctl@0.1.0"}"#);
    }
}
