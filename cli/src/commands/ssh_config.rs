//! `vctl ssh-config`: lines of ssh_config for the hosts of the inventory.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vctl_common::count::counted;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::inventory::lookup::HostLookup;
use crate::inventory::{HostState, order};
use crate::openssh::{self, Include, Paths, SocketDir};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Make ssh, scp, rsync, git and others use vctl
///
/// Prints ssh_config(5) lines for the hosts of the inventory that are not retired. With `--install`, writes
/// them to ~/.vctl/ssh/config and includes that file in ~/.ssh/config. From then on `ssh web-1`, `scp`,
/// `sftp`, `rsync`, `git` and Ansible log in with a certificate that is never on disk, and each connection
/// is recorded. Install again after the inventory has changed.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ssh-config --install       Install; again after the inventory has changed
  vctl ssh-config --uninstall     Remove it
  vctl ssh-config > ssh_config    Review the lines, or use them with `ssh -F`")]
pub(crate) struct SshConfigArgs {
    /// Write ~/.vctl/ssh/config, and include it in ~/.ssh/config
    #[arg(long)]
    install: bool,

    /// Remove both
    #[arg(long, conflicts_with = "install")]
    uninstall: bool,
}

pub(crate) fn run(args: &SshConfigArgs, globals: &Globals) -> Result<(), Stop> {
    let state = StateDir::find();
    let place = SocketDir::of(&state);
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
    // Before the include line: ssh must not include a missing file.
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

/// Refuses to change `~/.ssh/config` if `HOME` belongs to another user.
fn refuse_another_home() -> Result<(), CliError> {
    match home::current().instead {
        None => Ok(()),
        Some(why) => {
            let message = format!("~/.ssh/config is not changed: {why}");
            let hint = "run it as the user who will run `ssh`; for root use `sudo -H`";
            Err(CliError::new(Exit::Config, message).hint(hint))
        }
    }
}

fn text(globals: &Globals, place: &SocketDir) -> Result<String, Stop> {
    let mut hosts = context::run(globals, async |context| {
        HostLookup::new(context)?.open().await?.hosts().await
    })?;
    hosts.retain(|host| host.state != HostState::Retired);
    hosts.sort_by(|one, other| order::by_name(&one.name, &other.name));
    let running = env::current_exe().map_err(|error| {
        CliError::new(Exit::Failure, "cannot find the path of the running vctl").caused_by(&error)
    })?;
    let path = env::var_os("PATH").unwrap_or_default();
    let vctl = lasting_path(&path, &running).unwrap_or(running);
    let paths = Paths {
        vctl: &vctl,
        agent: &place.agent(),
    };
    let rendered = openssh::render(&hosts, paths, refuses_shell_characters())?;
    if !rendered.left_out.is_empty() {
        notice::note(&format!(
            "left out, because the name or user has a character that is special to OpenSSH: {}; \
             use `vctl ssh` for these hosts",
            rendered.left_out.join(", ")
        ));
    }
    Ok(rendered.text)
}

/// Returns the path of `vctl` in `PATH`, if it is the running program. The running program's own path may have a version
/// in it (Homebrew, Nix), and would be gone after an upgrade.
fn lasting_path(path: &OsStr, running: &Path) -> Option<PathBuf> {
    let running = running.canonicalize().ok()?;
    let candidates = env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("vctl"));
    let same = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == running);
    candidates.into_iter().find(same)
}

/// Returns whether the local `ssh` refuses user names with shell characters, as OpenSSH does from 9.6 on
/// and patched older versions do. Only then is it safe to pass the name on: the address of a git
/// submodule, for example, may contain such a name.
fn refuses_shell_characters() -> bool {
    let asking = Command::new("ssh")
        .args(["-G", "-F", "none", "-l", "a'b", "localhost"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asking.is_ok_and(|status| status.code() == Some(255))
}

fn uninstall(place: &SocketDir) -> Result<(), CliError> {
    let removed = include(place)?.remove()?;
    match fs::remove_file(place.config()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(cannot("remove", place, &error));
        }
        _ => {}
    }
    notice::done(if removed {
        "removed vctl from ~/.ssh/config"
    } else {
        "~/.ssh/config does not include vctl"
    });
    Ok(())
}

fn include(place: &SocketDir) -> Result<Include, CliError> {
    let Some(home) = home::dir() else {
        return Err(CliError::new(
            Exit::Config,
            "there is no home directory for `.ssh/config`",
        ));
    };
    let file: PathBuf = home.join(".ssh/config");
    Include::new(file, &place.config())
}

fn cannot(what: &str, place: &SocketDir, error: &io::Error) -> CliError {
    let message = format!("cannot {what} `{}`", place.config().display());
    CliError::new(Exit::Failure, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn link_in_path_is_preferred_to_a_versioned_path() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["vctl-1.0", "bin", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        let running = at("vctl-1.0/vctl");
        fs::write(&running, "").unwrap();
        fs::write(at("other/vctl"), "").unwrap();
        let path = env::join_paths([at("other"), at("bin")]).unwrap();
        assert_eq!(lasting_path(&path, &running), None);
        symlink(&running, at("bin/vctl")).unwrap();
        assert_eq!(lasting_path(&path, &running), Some(at("bin/vctl")));
    }
}
