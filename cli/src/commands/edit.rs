//! `vctl edit`: changes a host of the inventory.

use std::net::IpAddr;

use super::inventory_change;
use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;

use crate::inventory::HostState;
use crate::inventory::change::{HostChange, Jump, jump, name};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Change a host of the inventory
///
/// A new name also changes the jump hosts of other hosts, the last report, and the records of an enrolled host.
/// The identity in Vault keeps the old name until you run `vctl host rename`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, override_usage = "vctl edit [OPTIONS] [HOST]", before_help = "\
Examples:
  vctl edit web-1 --dc incheon --user ubuntu
  vctl edit web-1 --jump edge-1         Connect through the jump host edge-1
  vctl edit web-1 --jump direct         Connect without a jump host
  vctl edit web-1 --name www-1          Rename the host
  vctl edit web-1 --state maintenance   Do not count the host as unhealthy")]
pub(crate) struct EditArgs {
    /// Exact name of the host; without it, choose one on a terminal
    #[arg(add = completion::host())]
    host: Option<String>,

    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// New name of the host
    #[arg(long, value_parser = name)]
    name: Option<String>,

    /// Data centre of the host
    #[arg(long, add = completion::data_centre())]
    dc: Option<String>,

    /// IP address to connect to
    #[arg(long)]
    ip: Option<IpAddr>,

    /// Port of sshd
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// User to log in as
    #[arg(long, value_name = "NAME", add = completion::login_user())]
    user: Option<String>,

    /// Jump host to connect through, or `direct`
    #[arg(long, value_name = "HOST", value_parser = jump, add = completion::host())]
    jump: Option<Jump>,

    /// Operational state
    #[arg(long, value_enum)]
    state: Option<HostState>,

    /// Additional IP address, replacing the present ones; repeat for several
    #[arg(long = "extra-ip", value_name = "IP")]
    extra_ips: Vec<IpAddr>,

    /// Remove all additional addresses
    #[arg(long, conflicts_with = "extra_ips")]
    clear_extra_ips: bool,

    /// Vault role that signs certificates for this host
    #[arg(long, value_name = "ROLE", add = completion::ca_role())]
    ca_role: Option<String>,

    /// Tag, replacing the present ones; repeat for several
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Remove all tags
    #[arg(long, conflicts_with = "tags")]
    clear_tags: bool,
}

pub(crate) fn run(args: &EditArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    let change = args.change.change();
    let notice = context::run(globals, async |context| {
        // Before the host is chosen: without this right the choice would be useless.
        let mut client = inventory_change::connect_for_changes(context).await?;
        let name = match &args.host {
            Some(name) => name.clone(),
            None => inventory_change::choose_host(context, interaction).await?,
        };
        let renamed = inventory_change::change_host(context, &mut client, &name, &change).await?;
        Ok(renamed.unwrap_or_else(|| format!("changed `{name}`")))
    })?;
    notice::note(&notice);
    Ok(())
}

impl ChangeArgs {
    fn change(&self) -> HostChange {
        let list =
            |items: &[IpAddr], clear: bool| (clear || !items.is_empty()).then(|| items.to_vec());
        HostChange {
            name: self.name.clone(),
            dc: self.dc.clone(),
            ip: self.ip,
            ssh_port: self.port,
            ssh_user: self.user.clone(),
            jump: self.jump.clone(),
            extra_ips: list(&self.extra_ips, self.clear_extra_ips),
            ca_role: self.ca_role.clone(),
            state: self.state,
            tags: (self.clear_tags || !self.tags.is_empty()).then(|| self.tags.clone()),
        }
    }
}
