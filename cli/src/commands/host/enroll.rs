//! `vctl host enroll`: creates the Vault identity of a host, and prints how to install it.

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

use super::record::{check_all_removed, note_enrolled};
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

/// Create the Vault identity of a host, and print how to install it
///
/// If the host is already enrolled, its identity stays and it gets one more secret id. After
/// `vctl host revoke`, vctl creates a new identity; the old credentials stay invalid.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
pub(super) struct EnrollArgs {
    /// Name of the host in the inventory
    #[arg(add = completion::host())]
    host: HostName,

    /// Add the host to the inventory if it is missing
    #[arg(long, requires = "ip")]
    create: bool,

    /// IP address for `--create`
    #[arg(long, value_name = "ADDR", requires = "create")]
    ip: Option<IpAddr>,

    /// Data centre for `--create` [default: from key dc_rules]
    #[arg(long, value_name = "NAME", requires = "create", add = completion::data_centre())]
    dc: Option<String>,

    /// User to log in as, for `--create` [default: key ssh_default_user]
    #[arg(long, value_name = "NAME", requires = "create")]
    user: Option<String>,

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
    ensure_in_inventory(context, &loaded.config, args).await?;
    let agent_config = agent_config::text(host, &loaded.config);
    // Before the secret id is created: it could not be stored otherwise.
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
    // Before the identity is created: `vctl fleet` then shows a host that never reports.
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
            "host `{host}` is enrolled; copy `{path}` to it, and to no other host"
        )?;
        return Ok(());
    }
    print(screen, args, &enrolment, &credentials, &loaded.config)
}

/// Returns the enrolment that gets the secret id: the existing one, or a new one.
async fn current(identity: &HostIdentity<'_>, host: &HostName) -> Result<Enrolment, Stop> {
    let found = identity.enrolments().await?;
    let (whole, parts): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.has_approle);
    if let [one] = &*whole {
        notice::note(&format!(
            "`{host}` is already enrolled: its credentials stay valid until `vctl host revoke {host}`"
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
        let hint = format!("run `vctl host revoke {host}`, then enrol it again");
        return Err(CliError::new(Exit::Failure, message).hint(hint).into());
    }
    // Left over from an interrupted revocation. Completing it would make its old tokens valid again.
    for found in parts {
        check_all_removed(host, identity.revoke(&found.enrolment).await)?;
    }
    Ok(identity.next())
}

/// Checks that the host is in the inventory: otherwise records of an unknown host could arrive.
async fn ensure_in_inventory(
    context: &Context,
    config: &Config,
    args: &EnrollArgs,
) -> Result<(), Stop> {
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
    let mut new = NewHost::with_defaults(host.to_owned(), ip, config);
    if let Some(dc) = &args.dc {
        new.dc.clone_from(dc);
    }
    if let Some(user) = &args.user {
        new.ssh_user.clone_from(user);
    }
    inventory::store_edit::add(&client, &new).await?;
    notice::note(&format!(
        "added `{host}` to the inventory: user `{}`, data centre `{}`",
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
        "host `{host}` is enrolled. Run on the host, as root, within {within}:\n\n\
         \x20 install -d -m 0700 /etc/vctl && umask 077\n\
         \x20 echo {} > /etc/vctl/role_id\n\
         \x20 echo {} > /etc/vctl/secret_id\n\
         \x20 systemctl restart vctl-collect vctl-node-agent\n\n\
         The secret id can be unwrapped only once: the agent does that and replaces it with the secret id. If the\n\
         agent reports that it was already unwrapped, the secret id may be stolen: vctl host revoke {host}\n\n\
         The AppRole is `{enrolment}`; an older vctl-agent, which does not ask Vault, needs `host: {enrolment}`.",
        credentials.role_id,
        credentials.wrapped.token.expose()
    )?;
    match &args.agent_config {
        Some(path) => writeln!(
            screen,
            "Copy `{}` to /etc/vctl/agent.yaml on the host.",
            path.display()
        )?,
        None => write!(
            screen,
            "Write to /etc/vctl/agent.yaml, if the file does not exist yet:\n\n{}",
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
