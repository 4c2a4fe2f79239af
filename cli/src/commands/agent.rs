//! `vctl agent`

use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Group, User};
use sd_notify::NotifyState;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file::Access;
use crate::login::token_renewal::{Event, Keeper, Sink};
use crate::login::{CachedToken, Login};
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, time};

/// A token of a few seconds must be replaced within them, so no answer is waited for long.
const ANSWER: Duration = Duration::from_secs(3);

/// Keep a token alive, and write it to files for other programs
///
/// Goes on with the login of `vctl login`, or logs in by AppRole. A file never holds a token that is
/// known to be dead: it is taken away until there is another. Nobody is ever asked anything; when only a
/// person could log in again, it ends with 77. Tells systemd when it is ready, and its watchdog.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl agent                                     Keep ~/.vctl/token-sink
  vctl agent --sink /run/app/token --no-default-sink
  vctl agent --sink /run/app/token --owner app --mode 0400
  vctl agent --once                              Write a good token once, and end
  VAULT_TOKEN=$(cat ~/.vctl/token-sink) vault kv get kv/services/foo")]
pub(crate) struct AgentArgs {
    /// A file to keep the token in; may be given again
    #[arg(long, value_name = "PATH")]
    sink: Vec<PathBuf>,

    /// Leave out the sink of `sink_path`, by default ~/.vctl/token-sink
    #[arg(long, requires = "sink")]
    no_default_sink: bool,

    /// Who may read the sinks
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    mode: u32,

    /// Whose the sinks are, by name or number; takes root
    #[arg(long, value_name = "USER")]
    owner: Option<String>,

    /// Group of the sinks, by name or number
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Write a good token, and end
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
        if args.once {
            let token = login.valid_token().await?;
            return sinks
                .iter()
                .try_for_each(|sink| Ok(sink.write(token.value())?));
        }
        tokio::select! {
            done = keep(&login, &sinks) => done,
            () = watchdog() => Ok(()),
        }
    });
    match done {
        // That is how one ends a daemon.
        Err(Stop::Interrupted) => Ok(()),
        other => other,
    }
}

async fn keep(login: &Login<'_>, sinks: &[Sink]) -> Result<(), Stop> {
    let mut keeper = Keeper::new(login);
    let mut first = true;
    loop {
        let event = match keeper.next().await {
            Ok(event) => event,
            Err(error) => {
                // Whatever they hold is about to end, and nobody will be here to take it away.
                forget(sinks);
                return Err(error);
            }
        };
        match event {
            Event::Good(token) => {
                for sink in sinks {
                    match sink.write(&token.token) {
                        // Who starts us is to see at once what cannot work; later it may pass.
                        Err(error) if first => return Err(error.into()),
                        Err(error) => notice::note(&error.message),
                        Ok(()) => {}
                    }
                }
                tell(&token, sinks, first);
                first = false;
            }
            Event::Dead => {
                forget(sinks);
                notice::note("the token has ended; its files are gone until there is another");
                notify(&[NotifyState::Status("no token")]);
            }
        }
    }
}

fn forget(sinks: &[Sink]) {
    for sink in sinks {
        if let Err(error) = sink.remove() {
            notice::note(&error.message);
        }
    }
}

fn tell(token: &CachedToken, sinks: &[Sink], first: bool) {
    let left = token.life.left(jiff::Timestamp::now());
    let status = match left {
        Some(left) => format!("token good for {}", time::left(left)),
        None => "token good for ever".to_owned(),
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
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// Pings the watchdog of systemd, from the same thread that does the work.
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

/// Who may read, in octal. Not everybody, and nobody may write but the owner.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| "it is no octal number".to_owned())?;
    match mode {
        _ if mode & !0o777 != 0 => Err("it has more than nine bits".to_owned()),
        _ if mode & 0o022 != 0 => Err("others than the owner could replace the token".to_owned()),
        _ if mode & 0o007 != 0 => Err("everybody could read the token".to_owned()),
        _ if mode & 0o111 != 0 => Err("a token is not executed".to_owned()),
        _ => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_never_everybodys() {
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
