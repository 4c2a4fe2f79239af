//! `vctl whoami`: the identity of the token in Vault.

use std::io::Write as _;

use vctl_common::person::Person;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::doctor::token;
use crate::error::Stop;
use crate::login::whoami;
use crate::login::whoami::VaultIdentity;
use crate::ui::Screen;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;

/// Show your name, login, policies and groups in Vault
///
/// Asks Vault about the token of the last login, or the one in `VAULT_TOKEN`, and never starts a login.
/// Shows only groups that the token's policies allow to read.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl whoami                           Show your identity in Vault
  vctl whoami -o name                   Print only the name
  vctl whoami -o json | jq .policies    For programs: docs/whoami-json.md")]
pub(crate) struct WhoamiArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &WhoamiArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let session = context::run_without_store(async {
        let session = token::ask(&loaded, globals.interaction()).await?;
        let groups = match &session.info.entity_id {
            Some(entity) => session.vault.groups_of(entity).await?,
            None => Some(Vec::new()),
        };
        Ok((session, groups))
    })?;
    let (token::Session { info, method, .. }, groups) = session;
    let identity = VaultIdentity {
        vault_addr: loaded.config.vault_addr.clone(),
        namespace: loaded.config.vault_namespace.clone(),
        name: Person::new(info.display_name.as_str()).name().to_owned(),
        machine: token::is_machine_token(&info, &loaded.config.approle_mount),
        method,
        ttl: info.ttl,
        renewable: info.renewable,
        display_name: info.display_name,
        policies: info.policies,
        groups,
    };
    let mut screen = Screen::for_format(args.output);
    if args.output.is_for_people() {
        let layout = screen.layout(false);
        whoami::write(&mut screen, &identity, layout)?;
    } else {
        whoami::write_for_programs(&mut screen, args.output, &identity)?;
    }
    Ok(screen.flush()?)
}
