//! `vctl`: short-lived SSH access to servers, and the records of sessions.

mod args;
mod argv;
mod commands;
mod mcp;
mod trust_store;
mod ca_rotation;
mod revoke;
mod status;
mod doctor;
mod trust_ca;
mod export;
mod audit;
mod session;
mod fleet;
mod enrolled;
mod retention;
mod migrations;
mod openssh;
mod ssh;
mod manual;
mod overview;
mod completion;
mod rbac;
mod inventory;
mod ssh_ca;
mod child;
mod centre;
mod login;
mod config;
mod files;
mod ui;
mod process;
mod error;
mod exit_code;
#[cfg(test)]
mod fixture;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::FromArgMatches as _;
use vctl_common::charset;

use args::{Cli, Command};
use config::globals::Globals;
use error::{CliError, Stop};
use exit_code::Exit;
use ui::format::ErrorFormat;
use ui::{logging, timing};

fn main() -> ExitCode {
    let start = Instant::now();
    ui::help::set_root(args::command);
    error::name_places_by(config::placed);
    if completion::answer() {
        return Exit::Success.into();
    }
    charset::set_from_environment();
    ui::notice::escape_panics();
    let words = argv::rewritten();
    let parsed = args::matches_of(&words).and_then(|matches| {
        let error_format = args::error_format_of(&matches);
        Ok((Cli::from_arg_matches(&matches)?, error_format))
    });
    let (cli, error_format) = match parsed {
        Ok(parsed) => parsed,
        Err(mut help_or_error) => {
            let words = words.iter().map(|word| word.to_string_lossy().into_owned());
            let words: Vec<String> = words.collect();
            overview::suggest(&mut help_or_error, &args::command(), &words);
            let is_error = help_or_error.use_stderr();
            if is_error && args::error_format_of_words(env::args_os()) == ErrorFormat::Json {
                ui::notice::error(&CliError::usage(&help_or_error), ErrorFormat::Json);
            } else if is_error {
                ui::notice::usage(&help_or_error);
            } else {
                // A reader that has exited is not a failure, as for all output.
                let printed = if is_error {
                    help_or_error.print()
                } else {
                    print(&help_or_error)
                };
                match printed.map_err(Stop::from) {
                    Err(Stop::Error(error)) if !is_error => {
                        ui::notice::error(&error, ErrorFormat::Text);
                        return error.exit.into();
                    }
                    _ => {}
                }
            }
            return if is_error { Exit::Usage } else { Exit::Success }.into();
        }
    };
    logging::start(cli.globals.verbose, cli.globals.debug_timing);
    let code = match run(cli.command, &cli.globals) {
        Ok(()) | Err(Stop::ReaderGone) => Exit::Success.into(),
        Err(Stop::Interrupted) => Exit::Interrupted.into(),
        Err(Stop::Child(code)) => code.into(),
        Err(Stop::Error(error)) => {
            ui::notice::error(&error, error_format);
            error.exit.into()
        }
    };
    // Ignored: stderr may be closed.
    let _ = timing::report(&mut io::stderr().lock(), start);
    code
}

fn print(help: &clap::Error) -> io::Result<()> {
    let mut screen = ui::Screen::for_people();
    write!(screen, "{}", help.render().ansi())?;
    screen.flush()
}

fn run(command: Command, globals: &Globals) -> Result<(), Stop> {
    match command {
        Command::Add(args) => commands::add::run(&args, globals),
        Command::Agent(args) => commands::agent::run(&args, globals),
        Command::Audit(args) => commands::audit::run(&args, globals),
        Command::Ca(args) => commands::ca::run(&args, globals),
        Command::Cache(args) => commands::cache::run(&args, globals),
        Command::Config(args) => commands::config::run(&args, globals),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Dbedit(args) => commands::dbedit::run(&args, globals),
        Command::Delete(args) => commands::delete::run(&args, globals),
        Command::Doctor(args) => commands::doctor::run(&args, globals),
        Command::Edit(args) => commands::edit::run(&args, globals),
        Command::Exec(args) => commands::exec::run(&args, globals),
        Command::Fleet(args) => commands::fleet::run(&args, globals),
        Command::Help(args) => commands::help::run(&args),
        Command::Host(args) => commands::host::run(&args, globals),
        Command::KnownHosts(args) => commands::known_hosts::run(&args, globals),
        Command::List(args) => commands::list::run(&args, globals),
        Command::Login(args) => commands::login::run(&args, globals),
        Command::Logout(args) => commands::logout::run(&args, globals),
        Command::Man(args) => commands::man::run(&args),
        Command::Mcp(args) => commands::mcp::run(&args, globals),
        Command::Migrate(args) => commands::migrate::run(&args, globals),
        Command::NodeAgent(args) => commands::node_agent::run(&args),
        Command::Proxy(args) => commands::proxy::run(&args, globals),
        Command::Prune(args) => commands::prune::run(&args, globals),
        Command::Rbac(args) => commands::rbac::run(&args, globals),
        Command::Retention(args) => commands::retention::run(&args, globals),
        Command::Revoke(args) => commands::revoke::run(&args, globals),
        Command::Session(args) => commands::session::run(&args, globals),
        Command::Ssh(args) => commands::ssh::run(&args, globals),
        Command::SshAgent(args) => commands::ssh_agent::run(&args, globals),
        Command::SshConfig(args) => commands::ssh_config::run(&args, globals),
        Command::Status(args) => commands::status::run(&args, globals),
        Command::Sync(args) => commands::sync::run(&args, globals),
        Command::Token(args) => commands::token::run(&args, globals),
        Command::TrustCa(args) => commands::trust_ca::run(&args, globals),
        Command::Version(args) => commands::version::run(&args),
        Command::Whoami(args) => commands::whoami::run(&args, globals),
    }
}
