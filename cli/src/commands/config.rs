//! `vctl config`

use std::io::Write as _;

use clap::Subcommand;

use crate::args::{Output, TEMPLATE};
use crate::config;
use crate::error::Stop;
use crate::globals::Globals;
use crate::render::{Screen, settings};

/// Show the settings in effect, and where each of them comes from
///
/// As a file that would set the same, with the source of each value behind it: an option, an
/// environment variable, a line of a file, or the default. Asks no server.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl config                                     What is in effect here
  vctl config -o json                             The same for programs
  vctl config example > ~/.config/vctl/config.yaml    A file to begin with, all commented out")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,

    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a file with every key and its default, commented out
    Example,
}

pub(crate) fn run(args: &ConfigArgs, globals: &Globals) -> Result<(), Stop> {
    if let Some(ConfigCommand::Example) = args.command {
        let mut screen = Screen::for_people();
        write!(screen, "{}", config::example())?;
        return Ok(screen.flush()?);
    }
    let loaded = globals.load()?;
    let mut screen = match args.output {
        Output::Table => Screen::for_people(),
        Output::Json => Screen::for_programs(),
    };
    match args.output {
        Output::Table => settings::write(&mut screen, &loaded)?,
        Output::Json => settings::write_json(&mut screen, &loaded)?,
    }
    Ok(screen.flush()?)
}
