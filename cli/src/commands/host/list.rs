//! `vctl host list`: the enrolled hosts.

use std::collections::BTreeSet;
use std::io::Write;

use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;
use vctl_common::time::wall_now;

use crate::centre::context;
use crate::centre::host_identity::approles;
use crate::config::globals::Globals;
use crate::enrolled;
use crate::enrolled::json::EnrolledHosts;
use crate::enrolled::model::EnrolledHost;
use crate::error::Stop;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, records};

/// List the enrolled hosts, with their AppRoles and former names
///
/// A host with two AppRoles was renamed: the old credentials are still valid. A host without an AppRole is
/// enrolled in the inventory only. `vctl fleet` shows the state of the agents.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl host list
  vctl host list -o json | jq    For programs: docs/host-json.md")]
pub(super) struct ListArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(args: &ListArgs, globals: &Globals, approle_mount: &str) -> Result<(), Stop> {
    let hosts = context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Ro).await?;
        let mut hosts = enrolled::store::hosts(&client)
            .await
            .map_err(PgError::from)?;
        let names: BTreeSet<HostName> = hosts
            .iter()
            .flat_map(EnrolledHost::names)
            .filter_map(|name| name.parse().ok())
            .collect();
        let found = approles(context.vault(), approle_mount, &names).await?;
        for host in &mut hosts {
            let of_host = host
                .names()
                .filter_map(|name| found.get(&name.parse().ok()?));
            host.approles = of_host.flatten().cloned().collect();
        }
        hosts.retain(EnrolledHost::is_enrolled);
        Ok(hosts)
    })?;
    if hosts.is_empty() && args.output.is_for_people() {
        notice::note("no host is enrolled; `vctl host enroll HOST` creates an identity");
        return Ok(());
    }
    let table = |out: &mut dyn Write, hosts: &[_], layout| {
        enrolled::table::write(out, hosts, wall_now(), layout)
    };
    Ok(records::print(args.output, &EnrolledHosts, &hosts, table)?)
}
