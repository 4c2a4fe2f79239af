//! `vctl host enroll`: an identity for a host, and what its administrator does with it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vctl_common::centre::DbRole;
use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;

use super::{ended, note_enrolled};
use crate::centre::context::Context;
use crate::centre::host_identity::{Credentials, HostIdentity, agent_config};
use crate::commands::duration_arg::{humane, within};
use crate::completion;
use crate::config::{Config, Loaded};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::change::NewHost;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Make the identity of a host, and say what to do there
///
/// Enrolling a host again changes nothing of its identity and gives it one more secret id. After
/// `vctl host revoke` it makes a new identity: what the host had before stays useless.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
pub(super) struct EnrollArgs {
    /// Its name in the inventory
    #[arg(add = completion::host())]
    host: HostName,

    /// Put it into the inventory, where it is not there yet
    #[arg(long, requires = "ip")]
    create: bool,

    /// Address for `--create`
    #[arg(long, value_name = "ADDR", requires = "create")]
    ip: Option<IpAddr>,

    /// Data centre for `--create` [default: as `dc_rules` say]
    #[arg(long, value_name = "NAME", requires = "create", add = completion::data_centre())]
    dc: Option<String>,

    /// User to log in as, for `--create` [default: key ssh_default_user]
    #[arg(long, value_name = "NAME", requires = "create")]
    user: Option<String>,

    /// How long the wrapped secret id waits to be opened, 1m to 72h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = wrap_ttl)]
    wrap_ttl: Duration,

    /// How long the secret id lives; the agent makes itself a new one before that
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = secret_id_ttl)]
    secret_id_ttl: Duration,

    /// Write role id and wrapped secret id into a new file, as JSON, instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the host's agent.yaml into a new file, too, instead of printing it
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
}

impl EnrollArgs {
    pub(super) fn host(&self) -> &HostName {
        &self.host
    }
}

pub(super) async fn run(
    context: &Context,
    loaded: &Loaded,
    args: &EnrollArgs,
    identity: &HostIdentity<'_>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let host = &args.host;
    in_inventory(context, &loaded.config, args).await?;
    let agent_config = agent_config::text(host, &loaded.config);
    // Before anything is made: a secret id that cannot be kept is worse than none.
    let out = match &args.out {
        Some(path) => Some((path, create(path, 0o600)?)),
        None => None,
    };
    if let Some(path) = &args.agent_config {
        let mut file = create(path, 0o644)?;
        let written = file.write_all(agent_config.as_bytes());
        let written = written.and_then(|()| file.sync_all());
        written.map_err(|error| unwritable(path, &error))?;
    }
    let enrolment = current(identity, host).await?;
    // Before it is made too: one that is waited for in vain is seen by `vctl fleet`, the other is not.
    note_enrolled(context, host, true).await?;
    identity.create(&enrolment, args.secret_id_ttl).await?;
    let credentials = identity.credentials(&enrolment, args.wrap_ttl).await?;
    if let Some((path, mut file)) = out {
        let addr = &context.settings().vault.addr;
        write(
            &mut file,
            addr,
            &agent_config,
            &enrolment,
            &credentials,
            host,
        )
        .map_err(|error| unwritable(path, &error))?;
        let path = path.display();
        writeln!(
            screen,
            "host `{host}` is enrolled; `{path}` is for it alone"
        )?;
        return Ok(());
    }
    print(screen, args, &enrolment, &credentials, &loaded.config)
}

/// Returns the enrolment to give a secret id of: the one there is, or a new one.
async fn current(identity: &HostIdentity<'_>, host: &HostName) -> Result<Enrolment, Stop> {
    let found = identity.enrolments().await?;
    let (whole, parts): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.has_approle);
    if let [one] = &*whole {
        notice::note(&format!(
            "`{host}` was enrolled before: what it has stays valid; `vctl host revoke {host}` ends that"
        ));
        return Ok(one.enrolment.clone());
    }
    if !whole.is_empty() {
        let names: Vec<_> = whole
            .iter()
            .map(|found| format!("`{}`", found.enrolment))
            .collect();
        let message = format!(
            "host `{host}` has {} enrolments: {}",
            names.len(),
            names.join(", ")
        );
        let hint = format!("vctl host revoke {host}, then enrol it again");
        return Err(CliError::new(Exit::Failure, message).hint(hint).into());
    }
    // The rest of a revocation that did not finish: its tokens must not find it made whole.
    for found in parts {
        ended(host, identity.revoke(&found.enrolment).await)?;
    }
    Ok(identity.next())
}

/// A host that is not in the inventory could ship, and nobody would know where from.
async fn in_inventory(context: &Context, config: &Config, args: &EnrollArgs) -> Result<(), Stop> {
    let host = args.host.as_str();
    let client = context.connect(&context.pool(DbRole::Ro)?).await?;
    let sql = "select exists (select from vctl.servers where hostname = $1::text)";
    let row = client
        .query_one(sql, &[&host])
        .await
        .map_err(PgError::from)?;
    if row.get(0) {
        return Ok(());
    }
    let Some(ip) = args.ip.filter(|_| args.create) else {
        let message = format!("host `{host}` is not in the inventory");
        let hint = format!("vctl host enroll {host} --create --ip ADDR");
        return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
    };
    let client = context.connect(&context.pool(DbRole::Rw)?).await?;
    let mut new = NewHost::of_settings(host.to_owned(), ip, config);
    if let Some(dc) = &args.dc {
        new.dc.clone_from(dc);
    }
    if let Some(user) = &args.user {
        new.ssh_user.clone_from(user);
    }
    inventory::store_edit::add(&client, &new).await?;
    notice::note(&format!(
        "put `{host}` into the inventory: user `{}`, data centre `{}`",
        new.ssh_user, new.dc
    ));
    Ok(())
}

fn print(
    screen: &mut Screen,
    args: &EnrollArgs,
    enrolment: &Enrolment,
    credentials: &Credentials,
    config: &Config,
) -> Result<(), Stop> {
    let host = &args.host;
    let within = humane(credentials.wrapped.ttl);
    writeln!(
        screen,
        "host `{host}` is enrolled. There, as root, within {within}:\n\n\
         \x20 install -d -m 0700 /etc/vctl && umask 077\n\
         \x20 echo {} > /etc/vctl/role_id\n\
         \x20 echo {} > /etc/vctl/secret_id\n\
         \x20 systemctl restart vctl-collect vctl-node-agent\n\n\
         The secret id can be unwrapped once: the agent does it and writes the secret id in its place. If the\n\
         agent says that it was unwrapped before, someone else may have it: vctl host revoke {host}\n\n\
         Its AppRole is `{enrolment}`; a vctl-agent that does not ask Vault for it needs `host: {enrolment}`.",
        credentials.role_id,
        credentials.wrapped.token.expose()
    )?;
    match &args.agent_config {
        Some(path) => writeln!(
            screen,
            "Its /etc/vctl/agent.yaml is in `{}`.",
            path.display()
        )?,
        None => write!(
            screen,
            "Its /etc/vctl/agent.yaml, where there is none yet:\n\n{}",
            agent_config::text(host, config)
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
    file: &mut File,
    addr: &str,
    agent_config: &str,
    enrolment: &Enrolment,
    credentials: &Credentials,
    host: &HostName,
) -> std::io::Result<()> {
    let value = serde_json::json!({
        "host": host,
        "approle": enrolment.approle(),
        "vault_addr": addr,
        "role_id": credentials.role_id,
        "wrapped_secret_id": credentials.wrapped.token.expose(),
        "wrap_ttl_s": credentials.wrapped.ttl.as_secs(),
        "agent_config": agent_config,
    });
    writeln!(file, "{value:#}")?;
    file.sync_all()
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
    // More than this Vault cuts off, unless its mount is tuned.
    within(text, Duration::from_mins(1), Duration::from_hours(32 * 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_of_what_vault_takes_is_refused() {
        for (text, seconds) in [("1m", 60), ("90m", 5400), ("1h", 3600), ("3d", 259_200)] {
            assert_eq!(wrap_ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "59s", "4d", "-1h", "1", "h", "99999999999999999d"] {
            assert!(wrap_ttl(text).is_err(), "{text}");
        }
    }
}
