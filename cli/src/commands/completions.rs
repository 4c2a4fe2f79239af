//! `vctl completions`: scripts for the shells.

use std::io::Write as _;

use clap_complete::Shell;

use crate::completion;
use crate::error::Stop;
use crate::ui::Screen;
use crate::ui::help::{self, TEMPLATE};

/// Print a completion script for your shell
///
/// With `--hosts`, the shell runs vctl at each Tab, which also completes hosts, data centres, sessions and
/// people. These names come from files that earlier commands wrote to ~/.vctl; vctl does not connect to a
/// server. The script belongs to this version of vctl, so let the shell load it at each start.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  echo 'source <(vctl completions bash --hosts)' >> ~/.bashrc
  echo 'source <(vctl completions zsh --hosts)' >> ~/.zshrc
  echo 'vctl completions fish --hosts | source' >> ~/.config/fish/config.fish
  vctl completions bash > /etc/bash_completion.d/vctl
  vctl completions zsh > \"${fpath[1]}/_vctl\"")]
pub(crate) struct CompletionsArgs {
    /// Shell to print the script for
    shell: Shell,

    /// Also complete hosts, sessions and other names
    #[arg(long)]
    hosts: bool,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Stop> {
    // Generated before it is written: the generator panics on a closed pipe.
    let mut script = Vec::new();
    if args.hosts {
        completion::write_registration(args.shell, &mut script)?;
    } else {
        clap_complete::generate(args.shell, &mut help::root(), "vctl", &mut script);
    }
    let mut screen = Screen::for_programs();
    screen.write_all(&script)?;
    Ok(screen.flush()?)
}
