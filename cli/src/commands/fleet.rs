//! `vctl fleet`

use std::io::Write as _;

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::fleet;
use crate::fleet::model::{FleetHost, sort};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// Show the state of the hosts and their agents, problems first
///
/// Every host of the inventory that is not retired, by what its heartbeat (`vctl-agent node`) and its
/// collector last said. Counters are since the host was booted.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl fleet                  All hosts, silent and lossy ones first
  vctl fleet --unhealthy      Only those that need a look
  vctl fleet --check          Nothing and 0 when all is well; else one line why, and 1
  vctl fleet -o json | jq     For programs (docs/fleet-json.md)",
after_help = "\
The words under STATE:
  2 machines       two machines use the credential of this host, within ten minutes: it was copied
  contradicted N   logins of the last 7 days that do not fit their certificates or access rows, or
                   have a certificate that cannot be read
  silent           no heartbeat for ten minutes, or none ever though its collector ships
  never reported   enrolled more than an hour ago, and nothing was ever heard of it
  collector down   its collector has run since the boot, and does not answer now
  not recording    it has recorded before, and no collector has run since the boot
  lost N           the kernel's ring was full, a probe was away or a record unreadable: at least N events
  dropped N        the spool gave them up at its cap
  unstamped N      logins that were stamped late, or not at all
  clock T ahead    its clock differs from the database's by 30 seconds or more (or: behind)
  behind by T      its oldest event that has not arrived is older than ten minutes
  secret id ...    its credential for Vault has expired, or does within a week
  ill              none of these, but it says itself that something is wrong
  no agent         nothing was ever heard of it: `vctl host enroll` and an agent would change that
A host in maintenance or broken is shown behind the others and does not fail `--check`.")]
pub(crate) struct FleetArgs {
    /// Leave out hosts that are well, and those without an agent
    #[arg(long)]
    unhealthy: bool,

    /// Print nothing when all is well, else one line why; exit with 1 then
    #[arg(long, conflicts_with_all = ["unhealthy", "output"])]
    check: bool,

    /// How to print
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(crate) fn run(args: &FleetArgs, globals: &Globals) -> Result<(), Stop> {
    let mut hosts = context::run(globals, async |context| {
        let client = context.connect(&context.pool(DbRole::Ro)?).await?;
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
    if !args.output.is_for_people() {
        let mut screen = Screen::for_programs();
        records::write(&mut screen, args.output, &crate::fleet::json::Fleet, &hosts)?;
        return Ok(screen.flush()?);
    }
    if hosts.is_empty() {
        notice::note(if args.unhealthy {
            "no host needs a look"
        } else {
            "no host is in the inventory"
        });
        return Ok(());
    }
    let mut screen = Screen::for_people();
    let layout = screen.layout(args.output == Form::Wide);
    fleet::table::write(&mut screen, &hosts, layout)?;
    Ok(screen.flush()?)
}

fn check(hosts: &[FleetHost]) -> Result<(), Stop> {
    match fleet::table::verdict(hosts) {
        None => Ok(()),
        Some(verdict) => Err(CliError::new(Exit::Failure, verdict).into()),
    }
}
