//! `vctl host`

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

use super::lifetime::{humane, within};
use crate::args::TEMPLATE;
use crate::completion;
use crate::context::{self, Context};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;
use crate::host_identity::{Credentials, Found, HostIdentity, NotEnded};
use crate::render::{Screen, notice};

/// Give a host an identity of its own, or take it away
///
/// Needs the policy `vctl-enroll`. Who has it can make any right in the database there is.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl host enroll web-1                          Make the identity of a host of the inventory
  vctl host enroll web-2 --create --ip 10.0.0.7   The same, and put it into the inventory
  vctl host enroll web-1 --out web-1.json         For automation that brings it to the host
  vctl host revoke web-1                          End all that the host may do, now")]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    command: HostCommand,

    /// Where AppRoles are mounted in Vault [default: key approle_mount, approle]
    #[arg(long, global = true, value_name = "MOUNT")]
    approle_mount: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum HostCommand {
    Enroll(EnrollArgs),
    Revoke(RevokeArgs),
}

/// Make the identity of a host, and say what to do there
///
/// Enrolling a host again changes nothing of its identity and gives it one more secret id. After
/// `vctl host revoke` it makes a new identity: what the host had before stays useless.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct EnrollArgs {
    /// Its name in the inventory
    #[arg(add = completion::host())]
    host: HostName,

    /// Put it into the inventory, where it is not there yet
    #[arg(long, requires = "ip")]
    create: bool,

    /// Address for `--create`
    #[arg(long, value_name = "ADDR", requires = "create")]
    ip: Option<IpAddr>,

    /// Data centre for `--create`
    #[arg(
        long,
        value_name = "NAME",
        default_value = "unknown",
        requires = "create",
        add = completion::data_centre()
    )]
    dc: String,

    /// How long the wrapped secret id waits to be opened, 1m to 72h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = wrap_ttl)]
    wrap_ttl: Duration,

    /// How long the secret id lives; the agent makes itself a new one before that
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = secret_id_ttl)]
    secret_id_ttl: Duration,

    /// Write role id and wrapped secret id into a new file, as JSON, instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// End all that a host may do in Vault and Postgres
///
/// Its secret ids, opened or not, its tokens and its database logins are of no use from then on, also
/// after the host is enrolled again. What it recorded and its place in the inventory stay.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct RevokeArgs {
    /// Its name
    #[arg(add = completion::host())]
    host: HostName,
}

pub(crate) fn run(args: &HostArgs, globals: &Globals) -> Result<(), Stop> {
    let mut screen = Screen::for_people();
    let host = match &args.command {
        HostCommand::Enroll(args) => &args.host,
        HostCommand::Revoke(args) => &args.host,
    };
    let config = globals.load()?.config;
    let mount = args.approle_mount.as_ref().unwrap_or(&config.approle_mount);
    context::run(globals, async |context| {
        let identity = HostIdentity::new(context.vault(), mount, host);
        let identity = identity.ok_or_else(|| reserved(host))?;
        match &args.command {
            HostCommand::Enroll(args) => enroll(context, args, &identity, &mut screen).await,
            HostCommand::Revoke(args) => revoke(context, args, &identity, &mut screen).await,
        }
    })?;
    Ok(screen.flush()?)
}

async fn enroll(
    context: &Context,
    args: &EnrollArgs,
    identity: &HostIdentity<'_>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let host = &args.host;
    in_inventory(context, args).await?;
    // Before anything is made: a secret id that cannot be kept is worse than none.
    let out = match &args.out {
        Some(path) => Some((path, create(path)?)),
        None => None,
    };
    let enrolment = current(identity, host).await?;
    // Before it is made too: one that is waited for in vain is seen by `vctl fleet`, the other is not.
    note_enrolled(context, host, true).await?;
    identity.make(&enrolment, args.secret_id_ttl).await?;
    let credentials = identity.credentials(&enrolment, args.wrap_ttl).await?;
    if let Some((path, mut file)) = out {
        let addr = &context.settings().vault.addr;
        write(&mut file, host, addr, &enrolment, &credentials)
            .map_err(|error| unwritable(path, &error))?;
        let path = path.display();
        writeln!(
            screen,
            "host `{host}` is enrolled; `{path}` is for it alone"
        )?;
        return Ok(());
    }
    print(screen, args, &enrolment, &credentials)
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
        ended(host, identity.unmake(&found.enrolment).await)?;
    }
    Ok(identity.next())
}

async fn revoke(
    context: &Context,
    args: &RevokeArgs,
    identity: &HostIdentity<'_>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let host = &args.host;
    let found = identity.enrolments().await?;
    let mut enrolments: Vec<_> = found.iter().map(|found| &found.enrolment).collect();
    // Its logins may outlive its roles, where an older vctl was cut off.
    let older = Enrolment::without_generation(host);
    if !enrolments.contains(&&older) {
        enrolments.push(&older);
    }
    let mut left = Vec::new();
    for enrolment in enrolments {
        left.extend(identity.unmake(enrolment).await);
    }
    ended(host, left)?;
    note_enrolled(context, host, false).await.inspect_err(|_| {
        notice::note(&format!(
            "Vault has ended `{host}`; the inventory still says that it is enrolled"
        ));
    })?;
    if found.is_empty() {
        let message = format!("host `{host}` is not enrolled");
        return Err(CliError::new(Exit::NotFound, message).into());
    }
    for found in &found {
        let logins = logins(context, &found.enrolment).await?;
        if !logins.is_empty() {
            return Err(outlived(host, &logins));
        }
    }
    writeln!(screen, "host `{host}` may do nothing any more")?;
    for Found { enrolment, .. } in &found {
        writeln!(
            screen,
            "ended: AppRole `{enrolment}` with its secret ids, its database roles, their logins and connections"
        )?;
    }
    Ok(())
}

/// Returns an error that names the parts of a host's identity that may still work.
fn ended(host: &HostName, left: Vec<NotEnded>) -> Result<(), Stop> {
    let parts: Vec<_> = left.iter().map(|left| left.part.clone()).collect();
    let Some(first) = left.into_iter().next() else {
        return Ok(());
    };
    let message = format!(
        "host `{host}` is not wholly revoked; not ended: {}",
        parts.join(", ")
    );
    let cause = CliError::from(first.error);
    let mut error = CliError::new(cause.exit, message);
    error.causes = [vec![cause.message], cause.causes].concat();
    let hint = format!("run `vctl host revoke {host}` again when the cause is gone");
    Err(error.hint(cause.hint.unwrap_or(hint)).into())
}

/// Returns the database logins of an enrolment that Postgres still has, by what Vault names them.
async fn logins(context: &Context, enrolment: &Enrolment) -> Result<Vec<String>, Stop> {
    let client = context.connect(&context.pool(DbRole::Rw)?).await?;
    let rows = client
        .query(include_str!("host_logins.sql"), &[&enrolment.approle()])
        .await
        .map_err(PgError::from)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn outlived(host: &HostName, logins: &[String]) -> Stop {
    let names: Vec<_> = logins.iter().map(|login| format!("`{login}`")).collect();
    let message = format!(
        "host `{host}` is revoked in Vault, and Postgres still has logins of it: {}",
        names.join(", ")
    );
    CliError::new(Exit::Failure, message)
        .hint("end them as a superuser of Postgres: alter role \"LOGIN\" nologin")
        .into()
}

/// A host that is not in the inventory could ship, and nobody would know where from.
async fn in_inventory(context: &Context, args: &EnrollArgs) -> Result<(), Stop> {
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
    let sql = "insert into vctl.servers (hostname, ip, dc) values ($1::text, $2, $3) \
               on conflict (hostname) do nothing";
    client
        .execute(sql, &[&host, &ip, &args.dc])
        .await
        .map_err(PgError::from)?;
    notice::note(&format!("put `{host}` into the inventory"));
    Ok(())
}

/// Writes down that a host is waited for, or is not.
async fn note_enrolled(context: &Context, host: &HostName, enrolled: bool) -> Result<(), Stop> {
    let client = context.connect(&context.pool(DbRole::Rw)?).await?;
    let sql = "update vctl.servers set enrolled_at = case when $2 then now() end \
               where hostname = $1::text";
    client
        .execute(sql, &[&host.as_str(), &enrolled])
        .await
        .map_err(PgError::from)?;
    Ok(())
}

fn print(
    screen: &mut Screen,
    args: &EnrollArgs,
    enrolment: &Enrolment,
    credentials: &Credentials,
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
         The second opens once: the agent does it and keeps the secret id in its place. Where the agent\n\
         says that it was opened before, somebody else may have it: vctl host revoke {host}\n\n\
         Its AppRole is `{enrolment}`; a vctl-agent that does not ask Vault for it needs `host: {enrolment}`.",
        credentials.role_id,
        credentials.wrapped.token.expose()
    )?;
    Ok(())
}

fn write(
    file: &mut File,
    host: &HostName,
    addr: &str,
    enrolment: &Enrolment,
    credentials: &Credentials,
) -> std::io::Result<()> {
    let value = serde_json::json!({
        "host": host,
        "approle": enrolment.approle(),
        "vault_addr": addr,
        "role_id": credentials.role_id,
        "wrapped_secret_id": credentials.wrapped.token.expose(),
        "wrap_ttl_s": credentials.wrapped.ttl.as_secs(),
    });
    writeln!(file, "{value:#}")?;
    file.sync_all()
}

fn create(path: &Path) -> Result<File, Stop> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Stop {
    let message = format!("cannot write `{}`", path.display());
    CliError::new(Exit::Failure, message)
        .caused_by(error)
        .into()
}

fn reserved(host: &HostName) -> Stop {
    let message =
        format!("`{host}` cannot be enrolled: `vctl-` is kept for AppRoles of people and jobs");
    CliError::new(Exit::Usage, message)
        .hint("give the host another name in the inventory")
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
