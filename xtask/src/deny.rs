//! `cargo xtask deny`: checks licences, sources and advisories of dependencies, by `deny.toml`.

use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};

use crate::command::{self, cargo, say};
use crate::third_party::{CARRIED, Carried};

/// A newer version may have other rules, so it is updated deliberately.
const VERSION: &str = "0.20.2";
/// The second has its own lock file, as the probe is built for another target.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "agent-ebpf/Cargo.toml"];
/// `cargo deny fetch db` has no time limit, and a firewall may drop its packets.
const FETCH_SECONDS: &str = "60";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install cargo-deny first if it is missing, which takes some minutes
    #[arg(long)]
    install: bool,
    /// Fail if the advisory database cannot be reached, instead of a note
    #[arg(long)]
    require_advisories: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !succeeds(cargo(&["deny", "--version"])) {
        if !options.install {
            bail!("cargo-deny is missing: `cargo xtask deny --install` builds it in some minutes");
        }
        command::run(&mut cargo(&[
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            VERSION,
        ]))?;
    }
    for manifest in MANIFESTS {
        check(manifest, &["bans", "licenses", "sources"])?;
    }
    // Only the advisory database is fetched, and only here; the checks above need no network.
    let mut fetch = Command::new("timeout");
    fetch.args([FETCH_SECONDS, "cargo", "deny", "fetch", "db"]);
    if !succeeds(fetch) {
        return unchecked(options.require_advisories);
    }
    for manifest in MANIFESTS {
        check(manifest, &["advisories"])?;
    }
    for carried in CARRIED {
        advisories_of(carried, carried.version)?;
    }
    Ok(())
}

fn unchecked(is_required: bool) -> Result<()> {
    const REASON: &str =
        "the database (github.com/rustsec/advisory-db) cannot be reached from here";
    ensure!(!is_required, "advisories are not checked: {REASON}");
    say(&format!(
        "NOT CHECKED: advisories; {REASON}. All else is in order."
    ));
    Ok(())
}

/// Checks a carried crate as if it came from the registry: cargo-deny looks up no advisory for a
/// crate in a directory.
fn advisories_of(carried: &Carried, version: &str) -> Result<()> {
    let manifest = carried.scratch_manifest(version)?;
    let mut deny = cargo(&["deny", "--config", "deny.toml", "--manifest-path"]);
    command::run(deny.arg(manifest).args(["check", "advisories"]))
}

fn check(manifest: &str, what: &[&str]) -> Result<()> {
    let flags = ["deny", "--locked", "--manifest-path", manifest];
    command::run(cargo(&flags).arg("check").args(what))
}

fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_needs_the_advisories() {
        unchecked(false).unwrap();
        let error = unchecked(true).unwrap_err().to_string();
        assert!(error.contains("advisories are not checked"), "{error}");
        let release = include_str!("../../.github/workflows/release.yml");
        assert!(release.contains("cargo xtask deny --install --require-advisories\n"));
    }
}
