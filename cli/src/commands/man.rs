//! `vctl man`

use std::io::{self, Write as _};
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
    let page = page()?;
    let mut screen = Screen::for_programs();
    screen.write_all(&page)?;
    Ok(screen.flush()?)
}

fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_says_of_each_option_what_it_does() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        let mut options = page.split("\n.TP\n").skip(1);
        assert!(options.clone().count() > 10);
        let silent = options.find(|option| option.trim_end().lines().count() < 2);
        assert_eq!(silent, None);
    }

    #[test]
    fn no_two_commands_say_the_same_of_themselves() {
        let mut command = Cli::command();
        command.build();
        let mut left = vec![&command];
        let mut said = BTreeSet::new();
        while let Some(command) = left.pop() {
            let about = command.get_about().map(ToString::to_string);
            assert!(said.insert(about), "{}", command.get_name());
            left.extend(
                command
                    .get_subcommands()
                    .filter(|one| one.get_name() != "help"),
            );
        }
        assert!(said.len() > 30);
    }
}
