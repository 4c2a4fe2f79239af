//! `vctl version`: prints the version.

use std::io::Write as _;

use crate::error::Stop;
use crate::ui;
use crate::ui::help::TEMPLATE;

/// Print the version of vctl
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  vctl version      Same as `vctl --version`")]
pub(crate) struct VersionArgs {}

pub(crate) fn run(_: &VersionArgs) -> Result<(), Stop> {
    Ok(writeln!(
        ui::stdout(),
        "vctl {}",
        env!("CARGO_PKG_VERSION")
    )?)
}
