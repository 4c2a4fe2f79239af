//! The credentials of an enrolment, and the steps to install them on the host.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;

use crate::centre::context::Context;
use crate::centre::host_identity::{Credentials, HostIdentity, agent_config};
use crate::commands::duration_arg::{humane, within};
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::{Screen, notice};

/// Options of the commands that create credentials.
#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// Lifetime of the wrapping token: unwrap the secret id within this time, 1m to 72h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = wrap_ttl)]
    wrap_ttl: Duration,

    /// Lifetime of the secret id; the agent replaces it before it expires
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = secret_id_ttl)]
    secret_id_ttl: Duration,

    /// Write role id and wrapped secret id to a new JSON file instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the host's agent.yaml to a new file instead of printing it
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
}

/// A host, and the files that its credentials go to.
pub(super) struct Installation<'a> {
    args: &'a InstallArgs,
    host: &'a HostName,
    /// Name in the host's agent.yaml until the new credentials are installed, if it has another one.
    former: Option<&'a HostName>,
    agent_config: String,
    out: Option<(&'a Path, File)>,
}

impl<'a> Installation<'a> {
    /// Creates the files, so that a credential is only created if it can be stored.
    pub(super) fn prepare(
        args: &'a InstallArgs,
        host: &'a HostName,
        former: Option<&'a HostName>,
        config: &Config,
    ) -> Result<Self, Stop> {
        let agent_config = agent_config::text(host, config);
        let out = match &args.out {
            Some(path) => Some((&**path, create(path, 0o600)?)),
            None => None,
        };
        if let Some(path) = &args.agent_config {
            let mut file = create(path, 0o644)?;
            let written = file.write_all(agent_config.as_bytes());
            let written = written.and_then(|()| file.sync_all());
            written.map_err(|error| unwritable(path, &error))?;
        }
        Ok(Self {
            args,
            host,
            former,
            agent_config,
            out,
        })
    }

    /// Creates the identity with one more secret id, and writes or prints it.
    pub(super) async fn deliver(
        mut self,
        context: &Context,
        config: &Config,
        identity: &HostIdentity<'_>,
        enrolment: &Enrolment,
        screen: &mut Screen,
    ) -> Result<(), Stop> {
        identity.create(enrolment, self.args.secret_id_ttl).await?;
        let credentials = identity.credentials(enrolment, self.args.wrap_ttl).await?;
        let Some((path, mut file)) = self.out.take() else {
            return self.print(screen, enrolment, &credentials, config);
        };
        let addr = &context.settings().vault.addr;
        self.write(&mut file, addr, enrolment, &credentials)
            .map_err(|error| unwritable(path, &error))?;
        let (host, path) = (self.host, path.display());
        writeln!(
            screen,
            "host `{host}` is enrolled; copy `{path}` to it, and to no other host"
        )?;
        if let Some(former) = self.former {
            writeln!(
                screen,
                "In /etc/vctl/agent.yaml of the host, change `host: {former}` to `host: {host}`."
            )?;
        }
        Ok(())
    }

    fn print(
        &self,
        screen: &mut Screen,
        enrolment: &Enrolment,
        credentials: &Credentials,
        config: &Config,
    ) -> Result<(), Stop> {
        let host = self.host;
        let within = humane(credentials.wrapped.ttl);
        // The agent compares this key with the name of its AppRole.
        let rename = self.former.map_or_else(String::new, |_| {
            format!("\x20 sed -i 's/^host:.*/host: {host}/' /etc/vctl/agent.yaml\n")
        });
        writeln!(
            screen,
            "host `{host}` is enrolled. Run on the host, as root, within {within}:\n\n\
             \x20 install -d -m 0700 /etc/vctl && umask 077\n\
             \x20 echo {} > /etc/vctl/role_id\n\
             \x20 echo {} > /etc/vctl/secret_id\n\
             {rename}\
             \x20 systemctl restart vctl-collect vctl-node-agent\n\n\
             The secret id can be unwrapped only once: the agent does that and replaces it with the secret id. If the\n\
             agent reports that it was already unwrapped, the secret id may be stolen: vctl host revoke {host}\n\n\
             The AppRole is `{enrolment}`; an older vctl-agent, which does not ask Vault, needs `host: {enrolment}`.",
            credentials.role_id,
            credentials.wrapped.token.expose()
        )?;
        match &self.args.agent_config {
            Some(path) => writeln!(
                screen,
                "Copy `{}` to /etc/vctl/agent.yaml on the host.",
                path.display()
            )?,
            None => write!(
                screen,
                "Write to /etc/vctl/agent.yaml, if the file does not exist yet:\n\n{}",
                self.agent_config
            )?,
        }
        for (setting, from, to) in agent_config::authorities(config) {
            notice::note(&format!(
                "copy `{}` to `{to}` on the host: `{setting}` of its agent.yaml names it",
                from.display()
            ));
        }
        Ok(())
    }

    fn write(
        &self,
        file: &mut File,
        addr: &str,
        enrolment: &Enrolment,
        credentials: &Credentials,
    ) -> std::io::Result<()> {
        let value = serde_json::json!({
            "host": self.host,
            "approle": enrolment.approle(),
            "vault_addr": addr,
            "role_id": credentials.role_id,
            "wrapped_secret_id": credentials.wrapped.token.expose(),
            "wrap_ttl_s": credentials.wrapped.ttl.as_secs(),
            "agent_config": self.agent_config,
        });
        writeln!(file, "{value:#}")?;
        file.sync_all()
    }
}

fn create(path: &Path, mode: u32) -> Result<File, Stop> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options.open(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Stop {
    let message = format!("cannot write `{}`", path.display());
    CliError::new(Exit::Failure, message)
        .caused_by(error)
        .into()
}

fn wrap_ttl(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_mins(1), Duration::from_hours(72))
}

fn secret_id_ttl(text: &str) -> Result<Duration, String> {
    // Vault shortens a longer time, unless its mount is tuned.
    within(text, Duration::from_mins(1), Duration::from_hours(32 * 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_of_vaults_limits_is_refused() {
        for (text, seconds) in [("1m", 60), ("90m", 5400), ("1h", 3600), ("3d", 259_200)] {
            assert_eq!(wrap_ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "59s", "4d", "-1h", "1", "h", "99999999999999999d"] {
            assert!(wrap_ttl(text).is_err(), "{text}");
        }
    }
}
