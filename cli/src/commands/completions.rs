//! `vctl completions`

use std::io::Write as _;

use clap_complete::Shell;

use crate::completion;
use crate::error::Stop;
use crate::ui::Screen;
use crate::ui::help::{self, TEMPLATE};

/// Print the completion script of a shell
///
/// With `--hosts` the shell asks vctl at each Tab. Hosts, data centres, sessions and people come from files that earlier
/// commands wrote into ~/.vctl; no server is asked. The script fits this version of vctl, so a shell should read it at
/// each start.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  echo 'source <(vctl completions bash --hosts)' >> ~/.bashrc
  echo 'source <(vctl completions zsh --hosts)' >> ~/.zshrc
  echo 'vctl completions fish --hosts | source' >> ~/.config/fish/config.fish
  vctl completions bash > /etc/bash_completion.d/vctl
  vctl completions zsh > \"${fpath[1]}/_vctl\"")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,

    /// Also complete hosts, sessions and other names of this inventory
    #[arg(long)]
    hosts: bool,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Stop> {
    // First whole, then written: the generator takes a pipe that was closed for a bug.
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
