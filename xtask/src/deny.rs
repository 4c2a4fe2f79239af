//! `cargo xtask deny`: licences, sources and known holes of what we depend on, by `deny.toml`.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{self, cargo, say};
use crate::third_party::{CARRIED, Carried};

/// Newer ones may judge by other rules; a change is ours to make.
const VERSION: &str = "0.20.2";
/// The second has a lock file of its own, as the probe is built for another target.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "agent-ebpf/Cargo.toml"];
/// `cargo deny fetch db` has no time limit of its own, and a firewall may drop what it sends.
const FETCH_SECONDS: &str = "60";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install cargo-deny first where it is missing, which takes some minutes
    #[arg(long)]
    install: bool,
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
    // Only the database is fetched, and only here: what was checked above needs no network.
    let mut fetch = Command::new("timeout");
    fetch.args([FETCH_SECONDS, "cargo", "deny", "fetch", "db"]);
    if !succeeds(fetch) {
        say(
            "NOT CHECKED: advisories. The database (github.com/rustsec/advisory-db) cannot be reached \
             from here; all else is in order.",
        );
        return Ok(());
    }
    for manifest in MANIFESTS {
        check(manifest, &["advisories"])?;
    }
    for carried in CARRIED {
        advisories_of(carried, carried.version)?;
    }
    Ok(())
}

/// Judges a carried crate as the registry's: cargo-deny looks up no advisory for a crate in a directory.
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
