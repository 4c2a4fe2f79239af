//! `vctl completions`

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::{Cli, TEMPLATE};
use crate::error::Stop;
use crate::render::Screen;

/// Print what a shell needs to complete commands and options
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl completions bash > /etc/bash_completion.d/vctl
  vctl completions zsh > \"${fpath[1]}/_vctl\"
  vctl completions fish > ~/.config/fish/completions/vctl.fish")]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Stop> {
    // First whole, then written: the generator takes a pipe that was closed for a bug.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vctl", &mut script);
    let mut screen = Screen::for_programs();
    screen.write_all(&script)?;
    Ok(screen.flush()?)
}
