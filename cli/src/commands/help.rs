//! `vctl help`: manual pages on the terminal.

use std::io::Write as _;

use vctl_common::manual;

use crate::completion;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::overview;
use crate::ui::Screen;
use crate::ui::help::{TEMPLATE, root};

/// Print the manual page of a command
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl help                   List all commands
  vctl help ssh               Print the manual page of `vctl ssh`
  vctl help ca ssh-rotate     Print the manual page of a subcommand
  vctl help session | less    Read a page in a pager")]
pub(crate) struct HelpArgs {
    /// Command, and its subcommand
    #[arg(value_name = "COMMAND", add = completion::command())]
    command: Vec<String>,
}

/// Wider lines are hard to read.
const WIDEST: usize = 100;

pub(crate) fn run(args: &HelpArgs) -> Result<(), Stop> {
    let mut root = root();
    root.build();
    let mut command = &root;
    for word in &args.command {
        let below = command.find_subcommand(word);
        command = below.ok_or_else(|| unknown(word, command))?;
    }
    let mut screen = Screen::for_people();
    if args.command.is_empty() {
        write!(screen, "{}", root.render_help().ansi())?;
    } else {
        let name = command.get_display_name().unwrap_or_default().to_owned();
        let mut pages = manual::pages(root, &crate::manual::program()).into_iter();
        let width = screen.layout(false).width.unwrap_or(80).min(WIDEST);
        if let Some(page) = pages.find(|page| page.name == name) {
            write!(screen, "{}", page.to_text(width))?;
        }
    }
    Ok(screen.flush()?)
}

fn unknown(word: &str, parent: &clap::Command) -> CliError {
    let path = parent.get_bin_name().unwrap_or("vctl");
    let message = format!("`{path}` has no command `{word}`");
    let hint = match overview::nearest(word, parent) {
        Some(name) => {
            let words = path.strip_prefix("vctl").unwrap_or_default();
            let command = ["vctl help", words, " ", &name].concat();
            format!("`{command}` explains a similar command")
        }
        None => format!("`{path} --help` lists the commands"),
    };
    CliError::new(Exit::Usage, message).hint(hint)
}
