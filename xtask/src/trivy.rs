//! `cargo xtask trivy`: Trivy's scan of this repository, or of an image before it is published.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::command;

/// Files of builds, published code of others, and made-up secrets that `vctl` must mask.
const SKIPPED: [&str; 3] = ["target", "cli/third_party", "common/redact/corpus"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Scan the image in this file of `docker save` instead of the repository
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Scan for secrets and unsafe configuration only, which needs no database of vulnerabilities
    #[arg(long, conflicts_with = "image")]
    offline: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut version = Command::new("trivy");
    version.arg("--version").stdout(Stdio::null());
    ensure!(
        version.status().is_ok_and(|status| status.success()),
        "trivy is missing: https://trivy.dev/latest/getting-started/installation"
    );
    command::run(&mut scan(options))
}

fn scan(options: &Options) -> Command {
    let mut scan = Command::new("trivy");
    if let Some(image) = &options.image {
        scan.args(["image", "--scanners", "vuln,secret"]);
        scan.arg("--input").arg(image);
    } else {
        let scanners = if options.offline {
            "secret,misconfig"
        } else {
            "vuln,secret,misconfig"
        };
        scan.args(["fs", "--scanners", scanners]);
        if options.offline {
            scan.args(["--offline-scan", "--skip-db-update", "--skip-check-update"]);
        }
        for directory in SKIPPED {
            scan.args(["--skip-dirs", directory]);
        }
    }
    scan.args(["--severity", "HIGH,CRITICAL", "--exit-code", "1"]);
    if options.image.is_none() {
        scan.arg(".");
    }
    scan
}
