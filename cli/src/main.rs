//! `vctl`, on the workstation: access to servers, and what was done with it.

mod args;
mod commands;
mod config;
mod login;
mod keep;
mod child;
mod moment;
mod context;
mod source;
mod host_identity;
mod migrations;
mod local;
mod store;
mod view;
mod probes;
mod render;
mod linux;
mod private_file;
mod error;
mod centre_error;
mod exit_code;
mod timing;
#[cfg(test)]
mod fixture;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

use args::{Cli, Command};
use error::Stop;
use exit_code::Exit;
use login::Interaction;

fn main() -> ExitCode {
    let start = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // As with the rest of the output, a reader that went away is no failure.
            let _ = help_or_error.print();
            let is_error = help_or_error.use_stderr();
            return if is_error { Exit::Usage } else { Exit::Success }.into();
        }
    };
    if cli.debug_timing {
        timing::begin();
    }
    let code = match run(cli.command) {
        Ok(()) | Err(Stop::ReaderGone) => Exit::Success.into(),
        Err(Stop::Interrupted) => Exit::Interrupted.into(),
        Err(Stop::Child(code)) => code.into(),
        Err(Stop::Error(error)) => {
            render::notice::error(&error);
            error.exit.into()
        }
    };
    // Nothing can be done when stderr is closed.
    let _ = timing::report(&mut io::stderr().lock(), start);
    code
}

fn run(command: Command) -> Result<(), Stop> {
    let interaction = Interaction::of_process(false);
    match command {
        Command::Audit(args) => commands::audit::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args, &config::load(), interaction),
        Command::Fleet(args) => commands::fleet::run(&args),
        Command::Host(args) => commands::host::run(&args),
        Command::Migrate(args) => commands::migrate::run(&args),
        Command::NodeAgent(args) => commands::node_agent::run(&args),
        Command::Prune(args) => commands::prune::run(&args),
        Command::Retention(args) => commands::retention::run(&args),
        Command::Session(args) => commands::session::run(&args),
        Command::Status(args) => commands::status::run(&args, &config::load()?, interaction),
    }
}
