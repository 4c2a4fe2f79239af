//! `vctl add`

use std::net::IpAddr;

use crate::args::TEMPLATE;
use crate::completion;
use crate::config::Config;
use crate::context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;
use crate::inventory::HostState;
use crate::inventory::change::{NewHost, dc_of, name};
use crate::login::{Interaction, line};
use crate::render::notice;
use crate::store;

/// Add a host to the inventory
///
/// What is left out is asked on a terminal, or taken from the configuration: the data centre from
/// `dc_rules`, the user from `ssh_default_user`, the CA role from `ca_role`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl add web-1 --ip 10.40.0.7                 With what the configuration says of the rest
  vctl add db-1 --ip 10.0.3.9 --jump web-1      Reached through another
  vctl add                                      Asks")]
pub(crate) struct AddArgs {
    /// Its name: a-z, 0-9, `.`, `_` and `-`
    #[arg(value_parser = name)]
    host: Option<String>,

    /// The address to dial
    #[arg(long)]
    ip: Option<IpAddr>,

    /// The port of its sshd
    #[arg(long, value_name = "N", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Whom to log in as
    #[arg(long, value_name = "NAME", add = completion::login_user())]
    user: Option<String>,

    /// Its data centre
    #[arg(long, add = completion::data_centre())]
    dc: Option<String>,

    /// The host through which it is reached
    #[arg(long, value_name = "HOST", value_parser = name, add = completion::host())]
    jump: Option<String>,

    /// Another address of it; may be given several times
    #[arg(long = "extra-ip", value_name = "IP")]
    extra_ips: Vec<IpAddr>,

    /// The role of Vault that signs for it
    #[arg(long, value_name = "ROLE", add = completion::ca_role())]
    ca_role: Option<String>,

    /// Its operational state
    #[arg(long, value_enum, default_value = "active")]
    state: HostState,

    /// A word to find it by; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

pub(crate) fn run(args: &AddArgs, globals: &Globals) -> Result<(), Stop> {
    let config = globals.load()?.config;
    let interaction = globals.interaction();
    let host = context::run_without_store(args.complete(&config, interaction))?;
    context::run(globals, async |context| {
        let client = super::to_change(context).await?;
        store::inventory_edit::add(&client, &host).await
    })?;
    notice::note(&format!("`{}` is in the inventory now", host.name));
    Ok(())
}

impl AddArgs {
    async fn complete(&self, config: &Config, interaction: Interaction) -> Result<NewHost, Stop> {
        let (name, ip) = match (&self.host, self.ip) {
            (Some(name), Some(ip)) => (name.clone(), ip),
            (host, ip) if interaction == Interaction::Allowed => {
                let host = match host {
                    Some(host) => host.clone(),
                    None => asked("Name of the host: ", name).await?,
                };
                let ip = match ip {
                    Some(ip) => ip,
                    None => asked("Its address: ", str::parse::<IpAddr>).await?,
                };
                (host, ip)
            }
            (host, _) => {
                let missing = if host.is_none() { "HOST" } else { "--ip" };
                let message = format!("`{missing}` is missing, and there is no terminal to ask on");
                let hint = "say both: `vctl add HOST --ip IP`";
                return Err(CliError::new(Exit::Usage, message).hint(hint).into());
            }
        };
        let rules = config.dc_rules.iter();
        let rules = rules.map(|rule| (&*rule.name, &rule.prefixes[..]));
        let dc = || dc_of(rules, ip).unwrap_or("unknown").to_owned();
        Ok(NewHost {
            dc: self.dc.clone().unwrap_or_else(dc),
            ssh_port: self.port,
            ssh_user: self
                .user
                .clone()
                .unwrap_or_else(|| config.ssh_default_user.clone()),
            jump_via: self.jump.clone(),
            extra_ips: self.extra_ips.clone(),
            ca_role: self
                .ca_role
                .clone()
                .unwrap_or_else(|| config.ca_role.clone()),
            state: self.state,
            tags: self.tags.clone(),
            name,
            ip,
        })
    }
}

/// Asks until the answer can be read.
async fn asked<T, E: std::fmt::Display>(
    question: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Stop> {
    loop {
        match read(line(question).await?.trim()) {
            Ok(answer) => return Ok(answer),
            Err(error) => notice::note(&error.to_string()),
        }
    }
}
