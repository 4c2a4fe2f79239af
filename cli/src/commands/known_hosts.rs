//! `vctl known-hosts`: host keys for OpenSSH's `KnownHostsCommand`.

use std::io::Write as _;

use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::openssh::{self, KnownHostsQuery};
use crate::ssh::KnownHostsFiles;
use crate::ssh_ca;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Print the known keys of a host in known_hosts format
///
/// `vctl ssh-config` sets this command as `KnownHostsCommand` of ssh_config(5). It prints the known keys
/// of the host under its inventory name, and the SSH CA of Vault as `@cert-authority`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  vctl known-hosts web-1")]
pub(crate) struct KnownHostsArgs {
    /// Name of a host
    #[arg(value_name = "HOST", value_parser = openssh::name, add = completion::host())]
    host: String,

    /// Reason of the query, `%I` of ssh_config(5)
    #[arg(
        long = "for",
        value_name = "REASON",
        value_enum,
        ignore_case = true,
        default_value = "HOSTNAME"
    )]
    occasion: KnownHostsQuery,

    /// Type of the shown host key, `%t` of ssh_config(5): a plain key needs no SSH CA
    #[arg(long, value_name = "TYPE")]
    key_type: Option<String>,
}

pub(crate) fn run(args: &KnownHostsArgs, globals: &Globals) -> Result<(), Stop> {
    // A host is known by its name alone: another host may get its address later.
    if args.occasion == KnownHostsQuery::Address {
        return Ok(());
    }
    // A wrong configuration is an error: without the CA, ssh would refuse hosts for another reason.
    globals.load()?;
    let known = KnownHostsFiles::of_this_person().read();
    // `ssh` ignores CAs for a plain key. An installed configuration of an earlier vctl does not pass the type.
    let shows_certificate = args.key_type.as_deref().is_none_or(openssh::is_certificate);
    let authorities = match args.occasion {
        // No request to Vault here: without a known key, ssh prefers certificates anyway.
        KnownHostsQuery::Order | KnownHostsQuery::Address => Vec::new(),
        KnownHostsQuery::Hostname if !shows_certificate => Vec::new(),
        KnownHostsQuery::Hostname => {
            let asking = context::run(globals, async |context| {
                Ok(ssh_ca::published(context.vault().settings()).await?)
            });
            match asking {
                Ok(authorities) => authorities,
                // The keys of known_hosts do not need Vault.
                Err(Stop::Error(error)) => {
                    notice::note(&format!(
                        "host certificates are not checked, because the SSH CA cannot be read from Vault: {}",
                        error.one_line()
                    ));
                    Vec::new()
                }
                Err(stop) => return Err(stop),
            }
        }
    };
    let mut screen = Screen::for_programs();
    openssh::write_known_hosts(&mut screen, &args.host, &known, &authorities)?;
    Ok(screen.flush()?)
}
