//! `vctl add`

use std::net::IpAddr;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::HostState;
use crate::inventory::change::{NewHost, name};
use crate::ui::ask::{Interaction, line};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

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
    let missing = args.missing();
    if let (Some(missing), Interaction::Never) = (missing, interaction) {
        let message = format!("`{missing}` is missing, and there is no terminal to ask on");
        let hint = "give both: `vctl add HOST --ip IP`";
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    }
    let host = context::run(globals, async |context| {
        // Before anything is asked: the answers must not turn out to be of no use.
        let client = super::to_change(context).await?;
        let host = args.complete(&config).await?;
        inventory::store_edit::add(&client, &host).await?;
        Ok(host)
    })?;
    notice::note(&format!("`{}` is in the inventory now", host.name));
    Ok(())
}

impl AddArgs {
    /// Returns the argument that has to be asked for.
    fn missing(&self) -> Option<&'static str> {
        match (&self.host, self.ip) {
            (None, _) => Some("HOST"),
            (_, None) => Some("--ip"),
            _ => None,
        }
    }

    async fn complete(&self, config: &Config) -> Result<NewHost, Stop> {
        let name = match &self.host {
            Some(host) => host.clone(),
            None => asked("Name of the host: ", name).await?,
        };
        let ip = match self.ip {
            Some(ip) => ip,
            None => asked("Its address: ", str::parse::<IpAddr>).await?,
        };
        let host = NewHost::of_settings(name, ip, config);
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
