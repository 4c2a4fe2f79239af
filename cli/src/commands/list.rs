//! `vctl list`

use std::io::Write as _;
use std::time::SystemTime;

use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::json::Hosts;
use crate::inventory::lookup::{Directory, Source};
use crate::inventory::table::Detail;
use crate::inventory::{Host, HostState, order};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// List the hosts of the inventory, by data centre
///
/// With HOST, lists the hosts that `vctl ssh HOST` would find: the host of that name, else the hosts with that
/// address, else those with it in their name.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", help_template = TEMPLATE, before_help = "\
Examples:
  vctl list                       All hosts that are not retired
  vctl list --dc seoul --wide     Those of one data centre, with every column
  vctl list 10.0.0.7              Whose address that is
  vctl list --route web-1         Through whom it is reached
  vctl list -o name | wc -l       For scripts; see also -o json (docs/inventory-json.md)",
after_help = "\
The words under LIVE:
  up       its agent reported within ten minutes
  stale    its agent has reported, and not lately
  up~      it has no agent, and `vctl sync` has reached its SSH port
  down     it has no agent, and `vctl sync` has never reached its SSH port
  ?        Postgres is away, and the host is one that was kept: `vctl cache`
Behind them stands what its operators say, unless it is simply in use: maintenance, broken, retired.")]
pub(crate) struct ListArgs {
    /// Only the hosts that `vctl ssh HOST` would find
    #[arg(conflicts_with = "route", add = completion::host())]
    host: Option<String>,

    /// Only hosts of this data centre
    #[arg(long, value_name = "DC", add = completion::data_centre())]
    dc: Option<String>,

    /// Show the way to this host instead, outermost jump first
    #[arg(long, value_name = "HOST", conflicts_with_all = ["dc", "all"], add = completion::host())]
    route: Option<String>,

    /// Also hosts that are retired
    #[arg(long)]
    all: bool,

    /// Show every address, not only how many more there are
    #[arg(long)]
    all_ips: bool,

    /// The same as `-o wide`
    #[arg(long, conflicts_with = "output")]
    wide: bool,

    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
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
        let directory = Directory::new(context)?;
        let source = directory.open().await?;
        // One round trip: the connection sends both before it waits.
        let (hosts, now) = tokio::join!(self.hosts(&source), source.clock());
        Ok((hosts?, now?))
    }

    async fn hosts(&self, source: &Source<'_>) -> Result<Vec<Host>, Stop> {
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
            wide: self.wide || self.output == Form::Wide,
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
