//! `vctl ssh-config`

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use vctl_common::count::counted;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::inventory::lookup::Directory;
use crate::inventory::{HostState, order};
use crate::openssh::{self, Include, MeetingPlace, Paths};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, sanitize};

/// Have `ssh` and all that uses it go through vctl
///
/// Prints lines of ssh_config(5) for the hosts of the inventory that are not retired, or keeps them in
/// ~/.vctl/ssh/config and includes that in ~/.ssh/config. From then on `ssh web-1`, `scp`, `sftp`, `rsync`,
/// `git` and Ansible log in with a certificate that is never on disk, and each connection is recorded.
/// When the inventory has changed, install again.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ssh-config --install      From now on, and again after the inventory has changed
  vctl ssh-config --uninstall    As it was before
  vctl ssh-config > ssh_config   To look at it, or for `ssh -F`")]
pub(crate) struct SshConfigArgs {
    /// Write ~/.vctl/ssh/config, and one line into ~/.ssh/config that includes it
    #[arg(long)]
    install: bool,

    /// Take both away
    #[arg(long, conflicts_with = "install")]
    uninstall: bool,
}

pub(crate) fn run(args: &SshConfigArgs, globals: &Globals) -> Result<(), Stop> {
    let state = StateDir::find();
    let place = MeetingPlace::of(&state);
    if args.install || args.uninstall {
        refuse_another_home()?;
    }
    if args.uninstall {
        return Ok(uninstall(&place)?);
    }
    let text = text(globals, &place)?;
    if !args.install {
        let mut screen = Screen::for_programs();
        screen.write_all(text.as_bytes())?;
        return Ok(screen.flush()?);
    }
    place.make(&state)?;
    place.make_for_config(&state)?;
    // What is included is there before it is included.
    private_file::replace(&place.config(), |out| out.write_all(text.as_bytes()))
        .map_err(|error| cannot("write", &place, &error))?;
    let added = include(&place)?.add()?;
    let hosts = text
        .lines()
        .filter(|line| line.starts_with("    HostKeyAlias "))
        .count();
    let what = if added { "now includes" } else { "includes" };
    notice::done(&format!(
        "~/.ssh/config {what} {}, with {}: try `ssh` with the name of one",
        place.config().display(),
        counted(hosts, "host")
    ));
    Ok(())
}

/// Whose `~/.ssh/config` is meant where `HOME` is another user's, only that user can say.
fn refuse_another_home() -> Result<(), CliError> {
    match home::here().instead {
        None => Ok(()),
        Some(why) => {
            let message = format!("~/.ssh/config is not changed: {why}");
            let hint = "run it as the user whose `ssh` goes through vctl; for root: `sudo -H`";
            Err(CliError::new(Exit::Config, message).hint(hint))
        }
    }
}

fn text(globals: &Globals, place: &MeetingPlace) -> Result<String, Stop> {
    let mut hosts = context::run(globals, async |context| {
        Directory::new(context)?.open().await?.hosts().await
    })?;
    hosts.retain(|host| host.state != HostState::Retired);
    hosts.sort_by(|one, other| order::by_name(&one.name, &other.name));
    let vctl = env::current_exe().map_err(|error| {
        CliError::new(Exit::Failure, "cannot find out where vctl is").caused_by(&error)
    })?;
    let paths = Paths {
        vctl: &vctl,
        agent: &place.agent(),
    };
    let rendered = openssh::render(&hosts, paths, refuses_shell_characters())?;
    if !rendered.left_out.is_empty() {
        let names: Vec<String> = rendered.left_out.iter().map(sanitize::text).collect();
        notice::note(&format!(
            "left out, for OpenSSH gives some character of the name or of the user a meaning of its own: {}; \
             `vctl ssh` reaches them",
            names.join(", ")
        ));
    }
    Ok(rendered.text)
}

/// Says whether the `ssh` here takes no user's name that means something to a shell, as from 9.6 on, and
/// in what distributions made of older ones: then the name can be handed on. Such a name comes with
/// the address of a git submodule, for example.
fn refuses_shell_characters() -> bool {
    let asking = Command::new("ssh")
        .args(["-G", "-F", "none", "-l", "a'b", "localhost"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asking.is_ok_and(|status| status.code() == Some(255))
}

fn uninstall(place: &MeetingPlace) -> Result<(), CliError> {
    let removed = include(place)?.remove()?;
    match fs::remove_file(place.config()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(cannot("remove", place, &error));
        }
        _ => {}
    }
    notice::done(if removed {
        "~/.ssh/config is as it was before"
    } else {
        "~/.ssh/config does not include vctl's lines"
    });
    Ok(())
}

fn include(place: &MeetingPlace) -> Result<Include, CliError> {
    let Some(home) = home::dir() else {
        return Err(CliError::new(
            Exit::Config,
            "there is no home directory for `.ssh/config`",
        ));
    };
    let file: PathBuf = home.join(".ssh/config");
    Include::new(file, &place.config())
}

fn cannot(what: &str, place: &MeetingPlace, error: &io::Error) -> CliError {
    let message = format!("cannot {what} `{}`", place.config().display());
    CliError::new(Exit::Failure, message).caused_by(error)
}
