//! `vctl man`: writes the manual pages.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueHint;
use vctl_common::manual;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::Screen;
use crate::ui::help::{self, TEMPLATE};

/// Print the manual page of vctl, or write all manual pages
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl man | man -l -                  Read the page of vctl
  vctl man --to /usr/share/man/man1    Write vctl.1, vctl-list.1 and so on")]
pub(crate) struct ManArgs {
    /// Existing directory to write all pages to
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Result<(), Stop> {
    let pages = manual::pages(help::root(), &crate::manual::program());
    let Some(directory) = &args.to else {
        let mut screen = Screen::for_programs();
        if let Some(page) = pages.iter().find(|page| page.name == "vctl") {
            screen.write_all(page.to_roff().as_bytes())?;
        }
        return Ok(screen.flush()?);
    };
    for page in &pages {
        let path = directory.join(page.file_name());
        fs::write(&path, page.to_roff()).map_err(|error| {
            let message = format!("cannot write the manual page `{}`", path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::args;

    #[test]
    fn no_two_commands_have_the_same_summary() {
        let mut command = args::command();
        command.build();
        let mut left = vec![&command];
        let mut said = BTreeSet::new();
        while let Some(command) = left.pop() {
            let about = command.get_about().map(ToString::to_string);
            assert!(said.insert(about), "{}", command.get_name());
            left.extend(command.get_subcommands());
        }
        assert!(said.len() > 30);
    }
}
