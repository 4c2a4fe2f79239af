//! The credentials of an enrolment, and the steps to install them on the host.

use std::fs::{self, File, OpenOptions};
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
    out: Option<NewFile<'a>>,
    /// The written agent.yaml.
    agent_config_file: Option<NewFile<'a>>,
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
        let new = |path: &'a Option<PathBuf>, mode| {
            let path = path.as_deref();
            path.map(|path| NewFile::create(path, mode)).transpose()
        };
        let out = new(&args.out, 0o600)?;
        let mut agent_config_file = new(&args.agent_config, 0o644)?;
        if let Some(file) = &mut agent_config_file {
            file.write(&agent_config)?;
        }
        Ok(Self {
            args,
            host,
            former,
            agent_config,
            out,
            agent_config_file,
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
        if let Some(file) = self.agent_config_file.take() {
            file.keep();
        }
        let Some(mut file) = self.out.take() else {
            self.print(screen, enrolment, &credentials)?;
            note_authorities(config);
            return Ok(());
        };
        let addr = &context.settings().vault.addr;
        file.write(&self.document(addr, enrolment, &credentials))?;
        let (host, path) = (self.host, file.path.display());
        writeln!(
            screen,
            "host `{host}` is enrolled; copy `{path}` to it, and to no other host"
        )?;
        if let Some(former) = self.former {
            writeln!(
                screen,
                "In /etc/vctl/agent.yaml of the host, write `host: {host}`: its name was `{former}`."
            )?;
        }
        file.keep();
        note_authorities(config);
        Ok(())
    }

    fn print(
        &self,
        screen: &mut Screen,
        enrolment: &Enrolment,
        credentials: &Credentials,
    ) -> Result<(), Stop> {
        let host = self.host;
        let within = humane(credentials.wrapped.ttl);
        // The agent compares this key with the name of its AppRole.
        let rename = self.former.map_or_else(String::new, |_| {
            format!("\x20 {}\n", set_host(host, "/etc/vctl/agent.yaml"))
        });
        // The agent reads it when it starts.
        match &self.args.agent_config {
            Some(path) => writeln!(
                screen,
                "Copy `{}` to /etc/vctl/agent.yaml on the host.\n",
                path.display()
            )?,
            None => write!(
                screen,
                "Write to /etc/vctl/agent.yaml on the host, if the file does not exist yet; `install -d -m 0700 /etc/vctl`\n\
                 creates the directory:\n\n{}\n",
                self.agent_config
            )?,
        }
        writeln!(
            screen,
            "host `{host}` is enrolled. Run on the host, as root, within {within}:\n\n\
             \x20 install -d -m 0700 /etc/vctl && umask 077\n\
             \x20 echo {} > /etc/vctl/role_id\n\
             \x20 echo {} > /etc/vctl/secret_id\n\
             {rename}\
             \x20 systemctl daemon-reload\n\
             \x20 systemctl enable vctl-collect\n\
             \x20 systemctl enable vctl-node-agent    # if it is installed\n\
             \x20 systemctl restart vctl-collect vctl-node-agent\n\n\
             The secret id can be unwrapped only once: the agent does that and replaces it with the secret id. If the\n\
             agent reports that it was already unwrapped, the secret id may be stolen: vctl host revoke {host}\n\n\
             The AppRole is `{enrolment}`; an older vctl-agent, which does not ask Vault, needs `host: {enrolment}`.",
            credentials.role_id,
            credentials.wrapped.token.expose()
        )?;
        Ok(())
    }

    /// Returns the JSON document of `--out`.
    fn document(&self, addr: &str, enrolment: &Enrolment, credentials: &Credentials) -> String {
        let value = serde_json::json!({
            "host": self.host,
            "approle": enrolment.approle(),
            "vault_addr": addr,
            "role_id": credentials.role_id,
            "wrapped_secret_id": credentials.wrapped.token.expose(),
            "wrap_ttl_s": credentials.wrapped.ttl.as_secs(),
            "agent_config": self.agent_config,
        });
        format!("{value:#}\n")
    }
}

fn note_authorities(config: &Config) {
    for (setting, from, to) in agent_config::authorities(config) {
        notice::note(&format!(
            "copy `{}` to `{to}` on the host: `{setting}` of its agent.yaml names it",
            from.display()
        ));
    }
}

/// Returns the shell command that sets the key `host`, which the file may not have.
fn set_host(host: &HostName, path: &str) -> String {
    format!("sed -i '/^host:/d' {path}; printf '\\nhost: %s\\n' '{host}' >> {path}")
}

/// A file that did not exist before. It is removed unless it is kept, so that the same command works again.
struct NewFile<'a> {
    path: &'a Path,
    file: File,
    is_kept: bool,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path, mode: u32) -> Result<Self, Stop> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let file = options
            .open(path)
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path,
            file,
            is_kept: false,
        })
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        let written = self.file.write_all(text.as_bytes());
        let written = written.and_then(|()| self.file.sync_all());
        written.map_err(|error| unwritable(self.path, &error))
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(self.path);
        }
    }
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
    fn the_step_sets_the_host_with_or_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        let host = "www-1".parse().unwrap();
        for (before, after) in [
            (
                "host: web-1\nmode: strict\n",
                "mode: strict\n\nhost: www-1\n",
            ),
            ("mode: strict", "mode: strict\nhost: www-1\n"),
        ] {
            fs::write(&path, before).unwrap();
            let step = set_host(&host, path.to_str().unwrap());
            let status = std::process::Command::new("sh")
                .args(["-c", &step])
                .status();
            assert!(status.unwrap().success());
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn an_unused_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web-1.json");
        drop(NewFile::create(&path, 0o600).unwrap());
        assert!(!path.exists());
        NewFile::create(&path, 0o600).unwrap().keep();
        assert!(path.exists());
        assert!(NewFile::create(&path, 0o600).is_err());
        assert!(path.exists());
    }

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
