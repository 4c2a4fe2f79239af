//! `vctl host enroll`: creates the Vault identity of a host, and prints how to install it.

use std::net::IpAddr;

use vctl_common::centre::DbRole;
use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;

use super::install::{InstallArgs, Installation};
use super::refusal::{check_all_removed, check_not_former};
use crate::centre::context::Context;
use crate::centre::host_identity::HostIdentity;
use crate::completion;
use crate::config::{Config, Loaded};
use crate::enrolled;
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

    #[command(flatten)]
    install: InstallArgs,
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
    check_not_former(context, host).await?;
    ensure_in_inventory(context, &loaded.config, args).await?;
    let install = Installation::prepare(&args.install, host, None, &loaded.config)?;
    let enrolment = current(identity, host).await?;
    // Before the identity is created: `vctl fleet` then shows a host that never reports.
    enrolled::store_edit::note_enrolled(context, host, true).await?;
    install
        .deliver(context, &loaded.config, identity, &enrolment, screen)
        .await
}

/// Returns the enrolment that gets the secret id: the existing one, or a new one.
pub(super) async fn current(
    identity: &HostIdentity<'_>,
    host: &HostName,
) -> Result<Enrolment, Stop> {
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
    if enrolled::store::is_in_inventory(context, &args.host).await? {
        return Ok(());
    }
    let Some(ip) = args.ip.filter(|_| args.create) else {
        let message = format!("host `{host}` is not in the inventory");
        let hint = format!("vctl host enroll {host} --create --ip ADDR");
        return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
    };
    let client = context.connect_as(DbRole::Rw).await?;
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
