//! `vctl`, on the workstation: access to servers, and what was done with it.

mod args;
mod globals;
mod logging;
mod config;
mod commands;
mod moment;
mod context;
mod source;
mod host_identity;
mod migrations;
mod local;
mod store;
mod view;
mod render;
mod linux;
mod private_file;
mod trust_store;
mod error;
mod centre_error;
mod exit_code;
#[cfg(test)]
mod fixture;

use std::env;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Cli, Command, Output};
use error::{CliError, Stop};
use exit_code::Exit;

fn main() -> ExitCode {
    let matches = Cli::command().try_get_matches();
    let parsed = matches.and_then(|matches| {
        let reader = args::reader_of(&matches);
        Ok((Cli::from_arg_matches(&matches)?, reader))
    });
    let (cli, reader) = match parsed {
        Ok(parsed) => parsed,
        Err(help_or_error) => {
            let is_error = help_or_error.use_stderr();
            if is_error && args::reader_meant(env::args_os()) == Output::Json {
                render::notice::error(&CliError::usage(&help_or_error), Output::Json);
            } else {
                // As with the rest of the output, a reader that went away is no failure.
                let _ = help_or_error.print();
            }
            return if is_error { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let globals = &cli.globals;
    logging::start(globals.verbose);
    let done = match cli.command {
        Command::Audit(args) => commands::audit::run(&args, globals),
        Command::Ca(args) => commands::ca::run(&args),
        Command::Config(args) => commands::config::run(&args, globals),
        Command::Fleet(args) => commands::fleet::run(&args, globals),
        Command::Host(args) => commands::host::run(&args, globals),
        Command::Migrate(args) => commands::migrate::run(&args, globals),
        Command::NodeAgent(args) => commands::node_agent::run(&args),
        Command::Prune(args) => commands::prune::run(&args, globals),
        Command::Retention(args) => commands::retention::run(&args, globals),
        Command::Session(args) => commands::session::run(&args, globals),
    };
    match done {
        Ok(()) | Err(Stop::ReaderGone) => Exit::Success,
        Err(Stop::Interrupted) => Exit::Interrupted,
        Err(Stop::Error(error)) => {
            render::notice::error(&error, reader);
            error.exit
        }
    }
    .into()
}
