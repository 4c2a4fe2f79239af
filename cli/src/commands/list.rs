//! `vctl list`: the hosts of the inventory.

use std::io::Write as _;
use std::time::SystemTime;

use crate::centre::context;
use crate::centre::context::Context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::json::Hosts;
use crate::inventory::lookup::{HostLookup, HostSource};
use crate::inventory::table::Detail;
use crate::inventory::{Host, HostState, order};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// List the hosts of the inventory by data centre
///
/// With HOST, lists the hosts that `vctl ssh HOST` would find: the host of that name; if there is none,
/// the hosts with that address; otherwise the hosts with that text in their name.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", help_template = TEMPLATE, before_help = "\
Examples:
  vctl list                     List all hosts that are not retired
  vctl list --dc seoul --wide   List one data centre with all columns
  vctl list 10.0.0.7            Show the host with this address
  vctl list --route web-1       Show the jump hosts of web-1
  vctl list -o name | wc -l     For scripts; `-o json`: docs/inventory-json.md",
after_help = "\
Column LIVE:
  up       the agent reported within the last ten minutes
  stale    the agent reported, but not within the last ten minutes
  up~      no agent; `vctl sync` has reached the SSH port
  down     no agent; `vctl sync` has never reached the SSH port
  ?        Postgres is unreachable; the host comes from the cache (`vctl cache`)
The state follows unless it is active: maintenance, broken or retired.")]
pub(crate) struct ListArgs {
    /// Only the hosts that `vctl ssh HOST` would find
    #[arg(conflicts_with = "route", add = completion::host())]
    host: Option<String>,

    /// Only hosts of this data centre
    #[arg(long, value_name = "DC", add = completion::data_centre())]
    dc: Option<String>,

    /// Show the jump hosts to this host, the first one first
    #[arg(long, value_name = "HOST", conflicts_with_all = ["dc", "all", "all_ips"], add = completion::host())]
    route: Option<String>,

    /// Also list retired hosts
    #[arg(long)]
    all: bool,

    /// Show all addresses, not only the number of additional ones
    #[arg(long)]
    all_ips: bool,

    /// Same as `-o wide`
    #[arg(long, conflicts_with = "output")]
    wide: bool,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &ListArgs, globals: &Globals) -> Result<(), Stop> {
    let (hosts, now) = context::run(globals, async |context| args.read(context).await)?;
    if args.output.is_for_people() {
        return args.show(&hosts, now);
    }
    let mut screen = Screen::for_programs();
    records::write(&mut screen, args.output, &Hosts { now }, &hosts)?;
    Ok(screen.flush()?)
}

impl ListArgs {
    async fn read(&self, context: &Context) -> Result<(Vec<Host>, Option<SystemTime>), Stop> {
        let lookup = HostLookup::new(context)?;
        let source = lookup.open().await?;
        // Both queries are sent before the first answer: one round trip.
        let (hosts, now) = tokio::join!(self.hosts(&source), source.clock());
        Ok((hosts?, now?))
    }

    async fn hosts(&self, source: &HostSource<'_>) -> Result<Vec<Host>, Stop> {
        if let Some(name) = &self.route {
            return Ok(source.route(name).await?.hops);
        }
        let mut hosts = match &self.host {
            Some(query) => source.find(query).await?,
            None => source.hosts().await?,
        };
        if let (Some(query), true) = (&self.host, hosts.is_empty()) {
            let message = format!("no host matches `{query}`");
            let hint = "`vctl list` shows all hosts";
            return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
        }
        let wants_retired = self.all || self.host.is_some();
        hosts.retain(|host| {
            let is_of_dc = self.dc.as_ref().is_none_or(|dc| host.dc == *dc);
            is_of_dc && (wants_retired || host.state != HostState::Retired)
        });
        if let (Some(query), Some(dc), true) = (&self.host, &self.dc, hosts.is_empty()) {
            let message = format!("no host that matches `{query}` is in data centre `{dc}`");
            let hint = format!("`vctl list {query}` shows the data centre of each match");
            return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
        }
        order::sort(&mut hosts);
        Ok(hosts)
    }

    fn show(&self, hosts: &[Host], now: Option<SystemTime>) -> Result<(), Stop> {
        if hosts.is_empty() {
            notice::note(match &self.dc {
                Some(_) => "no host of the inventory is in that data centre",
                None => "the inventory is empty; `vctl sync` and `vctl add` fill it",
            });
            return Ok(());
        }
        let mut screen = Screen::for_people();
        let detail = Detail {
            wide: self.wide || self.output == OutputFormat::Wide,
            all_ips: self.all_ips,
        };
        let layout = screen.layout(detail.wide);
        if self.route.is_some() {
            inventory::table::write_route(&mut screen, hosts, layout)?;
        } else {
            inventory::table::write(&mut screen, hosts, now, detail, layout)?;
        }
        Ok(screen.flush()?)
    }
}
