//! `vctl man`

use std::io::Write as _;
use std::path::PathBuf;

use clap::CommandFactory as _;

use crate::args::{Cli, TEMPLATE};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::render::{Screen, sanitize};

/// Print the manual page of vctl, or write those of all its commands
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl man | man -l -                       Read it
  vctl man --to /usr/share/man/man1         Write vctl.1, vctl-list.1 and so on")]
pub(crate) struct ManArgs {
    /// The directory for the pages, which must exist
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Result<(), Stop> {
    if let Some(directory) = &args.to {
        let written = clap_mangen::generate_to(Cli::command(), directory);
        return written.map_err(|error| {
            let directory = sanitize::text(directory.display().to_string());
            let message = format!("cannot write manual pages to `{directory}`");
            CliError::new(Exit::Failure, message)
                .caused_by(&error)
                .into()
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    let mut screen = Screen::for_programs();
    screen.write_all(&page)?;
    Ok(screen.flush()?)
}
