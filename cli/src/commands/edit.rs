//! `vctl edit`

use std::net::IpAddr;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::Stop;
use crate::inventory;
use crate::inventory::HostState;
use crate::inventory::change::{Change, Jump, jump, name};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Change what the inventory says of a host
///
/// A new name is carried into the jumps that lead through the host, and into its last report; what is
/// on record of it keeps the old name, and so does its identity in Vault: enrol it anew.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl edit web-1 --dc incheon --user ubuntu
  vctl edit web-1 --jump edge-1             Reached through edge-1; `--jump direct` ends that
  vctl edit web-1 --name www-1              Another name
  vctl edit web-1 --state maintenance       Shown as such, and not counted as unhealthy")]
pub(crate) struct EditArgs {
    /// The whole name of the host; asked on a terminal
    #[arg(add = completion::host())]
    host: Option<String>,

    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// Its new name
    #[arg(long, value_parser = name)]
    name: Option<String>,

    /// Its data centre
    #[arg(long, add = completion::data_centre())]
    dc: Option<String>,

    /// The address to dial
    #[arg(long)]
    ip: Option<IpAddr>,

    /// The port of its sshd
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Whom to log in as
    #[arg(long, value_name = "NAME", add = completion::login_user())]
    user: Option<String>,

    /// The host through which it is reached, or `direct`
    #[arg(long, value_name = "HOST", value_parser = jump, add = completion::host())]
    jump: Option<Jump>,

    /// Its operational state
    #[arg(long, value_enum)]
    state: Option<HostState>,

    /// Its further addresses, in place of those that it has; may be given several times
    #[arg(long = "extra-ip", value_name = "IP")]
    extra_ips: Vec<IpAddr>,

    /// It has no further addresses
    #[arg(long, conflicts_with = "extra_ips")]
    clear_extra_ips: bool,

    /// The role of Vault that signs for it
    #[arg(long, value_name = "ROLE", add = completion::ca_role())]
    ca_role: Option<String>,

    /// Its tags, in place of those that it has; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// It has no tags
    #[arg(long, conflicts_with = "tags")]
    clear_tags: bool,
}

pub(crate) fn run(args: &EditArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    let change = args.change.change();
    let name = context::run(globals, async |context| {
        // Before a host is chosen: the choice must not turn out to be of no use.
        let mut client = super::to_change(context).await?;
        let name = match &args.host {
            Some(name) => name.clone(),
            None => super::chosen(context, interaction).await?,
        };
        inventory::store_edit::edit(&mut client, &name, &change).await?;
        Ok(name)
    })?;
    notice::note(&match &change.name {
        Some(new) if *new != name => format!(
            "`{name}` is `{new}` now; if its agent has an identity: `vctl host revoke {name}` and `vctl host enroll {new}`"
        ),
        _ => format!("`{name}` is changed"),
    });
    Ok(())
}

impl ChangeArgs {
    fn change(&self) -> Change {
        let list =
            |items: &[IpAddr], clear: bool| (clear || !items.is_empty()).then(|| items.to_vec());
        Change {
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
