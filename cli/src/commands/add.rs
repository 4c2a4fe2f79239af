//! `vctl add`

use std::net::IpAddr;

use super::inventory_change;
use crate::centre::context;
use crate::completion;
use crate::config::Config;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::inventory;
use crate::inventory::HostState;
use crate::inventory::change::{NewHost, name};
use crate::ui::ask::{Interaction, line};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Add a host to the inventory
///
/// If you leave out the name or the address, vctl asks for it on a terminal. Other values that you leave
/// out come from the configuration: the data centre from `dc_rules`, the user from `ssh_default_user` and
/// the CA role from `ca_role`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl add web-1 --ip 10.40.0.7              Use defaults for all other values
  vctl add db-1 --ip 10.0.3.9 --jump web-1   Connect through the jump host web-1
  vctl add                                   Ask for the name and the address")]
pub(crate) struct AddArgs {
    /// Name of the host: a-z, 0-9, `.`, `_` and `-`
    #[arg(value_parser = name)]
    host: Option<String>,

    /// IP address to connect to
    #[arg(long)]
    ip: Option<IpAddr>,

    /// Port of sshd
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// User to log in as
    #[arg(long, value_name = "NAME", add = completion::login_user())]
    user: Option<String>,

    /// Data centre of the host
    #[arg(long, add = completion::data_centre())]
    dc: Option<String>,

    /// Jump host to connect through
    #[arg(long, value_name = "HOST", value_parser = name, add = completion::host())]
    jump: Option<String>,

    /// Additional IP address; repeat the option for several
    #[arg(long = "extra-ip", value_name = "IP")]
    extra_ips: Vec<IpAddr>,

    /// Vault role that signs certificates for this host
    #[arg(long, value_name = "ROLE", add = completion::ca_role())]
    ca_role: Option<String>,

    /// Operational state
    #[arg(long, value_enum, default_value = "active")]
    state: HostState,

    /// Tag to find the host by; repeat the option for several
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

pub(crate) fn run(args: &AddArgs, globals: &Globals) -> Result<(), Stop> {
    let config = globals.load()?.config;
    let interaction = globals.interaction();
    let missing = args.missing();
    if let Some(missing) = missing {
        let hint = "give both: `vctl add HOST --ip IP`";
        interaction.require(&format!("`{missing}` is missing"), hint)?;
    }
    let host = context::run(globals, async |context| {
        // Before the questions: without this right the answers would be useless.
        let client = inventory_change::connect_for_changes(context).await?;
        let host = args.complete(&config, interaction).await?;
        inventory::store_edit::add(&client, &host).await?;
        Ok(host)
    })?;
    notice::note(&format!("added `{}` to the inventory", host.name));
    Ok(())
}

impl AddArgs {
    /// Returns the argument that is missing.
    fn missing(&self) -> Option<&'static str> {
        match (&self.host, self.ip) {
            (None, _) => Some("HOST"),
            (_, None) => Some("--ip"),
            _ => None,
        }
    }

    async fn complete(&self, config: &Config, interaction: Interaction) -> Result<NewHost, Stop> {
        let name = match &self.host {
            Some(host) => host.clone(),
            None => asked(interaction, "Name of the host: ", name).await?,
        };
        let ip = match self.ip {
            Some(ip) => ip,
            None => asked(interaction, "IP address: ", str::parse::<IpAddr>).await?,
        };
        let host = NewHost::with_defaults(name, ip, config);
        Ok(NewHost {
            dc: self.dc.clone().unwrap_or(host.dc),
            ssh_port: self.port,
            ssh_user: self.user.clone().unwrap_or(host.ssh_user),
            jump_via: self.jump.clone(),
            extra_ips: self.extra_ips.clone(),
            ca_role: self.ca_role.clone().unwrap_or(host.ca_role),
            state: self.state,
            tags: self.tags.clone(),
            ..host
        })
    }
}

/// Repeats the question until the answer is valid.
async fn asked<T, E: std::fmt::Display>(
    interaction: Interaction,
    question: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Stop> {
    loop {
        match read(line(interaction, question).await?.trim()) {
            Ok(answer) => return Ok(answer),
            Err(error) => notice::note(&error.to_string()),
        }
    }
}
