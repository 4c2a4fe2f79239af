//! `vctl`, on the workstation: access to servers, and what was done with it.

mod args;
mod globals;
mod config;
mod commands;
mod login;
mod keep;
mod inventory;
mod ssh;
mod child;
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
mod error;
mod centre_error;
mod exit_code;
#[cfg(test)]
mod fixture;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use error::Stop;
use exit_code::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // As with the rest of the output, a reader that went away is no failure.
            let _ = help_or_error.print();
            let is_error = help_or_error.use_stderr();
            return if is_error { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let globals = &cli.globals;
    let done = match cli.command {
        Command::Agent(args) => commands::agent::run(&args, globals),
        Command::Audit(args) => commands::audit::run(&args, globals),
        Command::Exec(args) => commands::exec::run(&args, globals),
        Command::Fleet(args) => commands::fleet::run(&args, globals),
        Command::Host(args) => commands::host::run(&args, globals),
        Command::Login(args) => commands::login::run(&args, globals),
        Command::Logout(args) => commands::logout::run(&args, globals),
        Command::Migrate(args) => commands::migrate::run(&args, globals),
        Command::NodeAgent(args) => commands::node_agent::run(&args),
        Command::Prune(args) => commands::prune::run(&args, globals),
        Command::Retention(args) => commands::retention::run(&args, globals),
        Command::Session(args) => commands::session::run(&args, globals),
        Command::Ssh(args) => commands::ssh::run(&args, globals),
        Command::Token(args) => commands::token::run(&args, globals),
    };
    match done {
        Ok(()) | Err(Stop::ReaderGone) => Exit::Success,
        Err(Stop::Interrupted) => Exit::Interrupted,
        Err(Stop::Child(code)) => return code.into(),
        Err(Stop::Error(error)) => {
            render::notice::error(&error);
            error.exit
        }
    }
    .into()
}
