//! `vctl agent`: keeps a token valid in files, for other programs.

use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Group, User};
use sd_notify::NotifyState;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file::Access;
use crate::login::token_renewal::{Sink, TokenEvent, TokenKeeper};
use crate::login::{self, CachedToken, Login};
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, time};

/// Maximum wait for an answer of Vault. It is short because a token may live for a few seconds only.
const ANSWER: Duration = Duration::from_secs(3);

/// Keep a token valid, and write it to files for other programs
///
/// Renews the token of `vctl login`, or logs in by AppRole; it ignores `VAULT_TOKEN`. When a token expires
/// and vctl has no new one yet, vctl removes the files: a file never holds an expired token. `vctl agent` never
/// prompts. If only a person can log in again, it exits with status 77. It supports systemd: readiness,
/// status and watchdog.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl agent                   Keep a valid token in ~/.vctl/token-sink
  vctl agent --sink /run/app/token --no-default-sink
  vctl agent --sink /run/app/token --owner app --mode 0400
  vctl agent --once            Write a valid token once, and exit
  VAULT_TOKEN=$(cat ~/.vctl/token-sink) vault kv get kv/services/foo")]
pub(crate) struct AgentArgs {
    /// File to write the token to; repeat the option for several
    #[arg(long, value_name = "PATH")]
    sink: Vec<PathBuf>,

    /// Do not write the default file: key `sink_path`, ~/.vctl/token-sink
    #[arg(long, requires = "sink")]
    no_default_sink: bool,

    /// Permissions of the files, in octal
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    mode: u32,

    /// Owner of the files, by name or number; needs root
    #[arg(long, value_name = "USER")]
    owner: Option<String>,

    /// Group of the files, by name or number
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Write a valid token, and exit
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &AgentArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let access = args.access()?;
    let done = context::run_without_store(async {
        let mut login = Login::new(&loaded, Interaction::Never);
        login.answer_within(ANSWER);
        let mut sinks: Vec<Sink> = Vec::new();
        let default = (!args.no_default_sink).then(|| login.sink());
        if default.is_some() && loaded.config.sink_path.is_none() {
            login.state().make()?;
        }
        for path in default.into_iter().chain(args.sink.iter().cloned()) {
            if !sinks.iter().any(|sink| sink.path == path) {
                sinks.push(Sink { path, access });
            }
        }
        login::note_if_env_token_is_ignored();
        if args.once {
            let token = login.valid_login().await?;
            return sinks
                .iter()
                .try_for_each(|sink| Ok(sink.write(&token.token)?));
        }
        tokio::select! {
            done = keep_valid(&login, &sinks) => done,
            () = watchdog() => Ok(()),
        }
    });
    match done {
        // A signal is the normal way to stop a daemon.
        Err(Stop::Interrupted) => Ok(()),
        other => other,
    }
}

async fn keep_valid(login: &Login<'_>, sinks: &[Sink]) -> Result<(), Stop> {
    let mut keeper = TokenKeeper::new(login);
    let mut first = true;
    loop {
        let event = match keeper.next().await {
            Ok(event) => event,
            Err(error) => {
                // The token in the files expires soon, and this process will not be there to remove it.
                remove_all(sinks);
                return Err(error);
            }
        };
        match event {
            TokenEvent::Valid(token) => {
                for sink in sinks {
                    match sink.write(&token.token) {
                        // An error at start is a wrong setting, and ends the agent; a later one may be temporary.
                        Err(error) if first => return Err(error.into()),
                        Err(error) => notice::note(&error.one_line()),
                        Ok(()) => {}
                    }
                }
                report(&token, sinks, first);
                first = false;
            }
            TokenEvent::Invalid => {
                remove_all(sinks);
                notice::note(
                    "the token has expired; its files are removed until there is a new token",
                );
                notify(&[NotifyState::Status("no token")]);
            }
        }
    }
}

fn remove_all(sinks: &[Sink]) {
    for sink in sinks {
        if let Err(error) = sink.remove() {
            notice::note(&error.one_line());
        }
    }
}

fn report(token: &CachedToken, sinks: &[Sink], first: bool) {
    let left = token.life.left(jiff::Timestamp::now());
    let status = match left {
        Some(left) => format!("token valid for {}", time::left(left)),
        None => "token valid for ever".to_owned(),
    };
    notify(&[NotifyState::Status(&status)]);
    if first {
        let paths: Vec<String> = sinks
            .iter()
            .map(|sink| sink.path.display().to_string())
            .collect();
        notice::done(&format!("{status}, in {}", paths.join(", ")));
        notify(&[NotifyState::Ready]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Fails without systemd, where it does not matter.
    let _ = sd_notify::notify(states);
}

/// Notifies the watchdog of systemd. It runs in the thread of the renewal, so that a stuck renewal stops it.
async fn watchdog() {
    let Some(every) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(every / 3);
    loop {
        tick.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

impl AgentArgs {
    fn access(&self) -> Result<Access, CliError> {
        let unknown = |what: &str, name: &str| {
            CliError::new(
                Exit::Usage,
                format!("there is no {what} `{name}` on this machine"),
            )
        };
        let owner = |name: &String| match name.parse() {
            Ok(number) => Ok(number),
            Err(_) => match User::from_name(name) {
                Ok(Some(user)) => Ok(user.uid.as_raw()),
                _ => Err(unknown("user", name)),
            },
        };
        let group = |name: &String| match name.parse() {
            Ok(number) => Ok(number),
            Err(_) => match Group::from_name(name) {
                Ok(Some(group)) => Ok(group.gid.as_raw()),
                _ => Err(unknown("group", name)),
            },
        };
        Ok(Access {
            mode: self.mode,
            owner: self.owner.as_ref().map(owner).transpose()?,
            group: self.group.as_ref().map(group).transpose()?,
        })
    }
}

/// Permissions in octal. Others have none, and the group has no write permission.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| "not an octal number".to_owned())?;
    match mode {
        _ if mode & !0o777 != 0 => Err("only the nine permission bits are allowed".to_owned()),
        _ if mode & 0o022 != 0 => Err("only the owner may have write permission".to_owned()),
        _ if mode & 0o007 != 0 => Err("others would have read permission".to_owned()),
        _ if mode & 0o111 != 0 => Err("execute permission makes no sense for a token".to_owned()),
        _ => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_has_no_permissions_for_others() {
        for good in ["0600", "600", "0400", "0640", "0440"] {
            assert!(mode(good).is_ok(), "{good}");
        }
        for bad in [
            "0644", "0660", "0604", "0700", "4600", "u=rw", "", "-1", "0x1",
        ] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }
}
