//! `vctl fleet`: the state of hosts and their agents.

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::fleet;
use crate::fleet::model::{FleetHost, sort};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, records};

/// Show the state of hosts and their agents, problems first
///
/// Lists every host of the inventory that is not retired, with the last report of its heartbeat
/// (`vctl-agent node`) and its collector. Counters start at zero when the host boots.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl fleet                  List all hosts, those with problems first
  vctl fleet --unhealthy      List only hosts with problems
  vctl fleet --check          For monitoring: one line and status 1 on problems
  vctl fleet -o json | jq     For programs: docs/fleet-json.md",
after_help = "\
States:
  2 machines       two machines used this host's credential within ten minutes:
                   the credential was copied
  contradicted N   logins of the last 7 days that contradict their certificate
                   or access row, or whose certificate cannot be read
  silent           no heartbeat for ten minutes, or no heartbeat at all although
                   the collector ships
  never reported   enrolled more than an hour ago, and has never reported
  collector down   the collector ran after the boot, and does not answer now
  not recording    recorded before, but no collector has run since the boot
  lost N           at least N events lost: the ring was full, the probe was not
                   loaded, or a record was unreadable
  dropped N        events dropped because the spool reached its size limit
  unstamped N      logins that were stamped late, or not at all
  clock T ahead    clock differs from the database's by 30 s or more; or behind
  behind by T      the oldest event that has not arrived is over ten minutes old
  secret id ...    credential for Vault has expired, or expires within a week
  ill              the host itself reports another problem
  no agent         has never reported: run `vctl host enroll`, install the agent
Hosts in state maintenance or broken come last and do not fail `--check`.")]
pub(crate) struct FleetArgs {
    /// Only hosts with problems; not those without an agent
    #[arg(long)]
    unhealthy: bool,

    /// Print nothing and exit 0 if all is well; else print one line and exit 1
    #[arg(long, conflicts_with_all = ["unhealthy", "output"])]
    check: bool,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &FleetArgs, globals: &Globals) -> Result<(), Stop> {
    let mut hosts = context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Ro).await?;
        let hosts = crate::fleet::store::hosts(&client)
            .await
            .map_err(PgError::from)?;
        Ok(hosts)
    })?;
    sort(&mut hosts);
    if args.check {
        return check(&hosts);
    }
    if args.unhealthy {
        hosts.retain(|host| !host.findings().is_empty());
    }
    if hosts.is_empty() && args.output.is_for_people() {
        notice::note(if args.unhealthy {
            "no host has a problem"
        } else {
            "the inventory is empty"
        });
        return Ok(());
    }
    let kind = crate::fleet::json::Fleet;
    Ok(records::print(
        args.output,
        &kind,
        &hosts,
        fleet::table::write,
    )?)
}

fn check(hosts: &[FleetHost]) -> Result<(), Stop> {
    match fleet::table::verdict(hosts) {
        None => Ok(()),
        Some(verdict) => Err(CliError::new(Exit::Failure, verdict).into()),
    }
}
