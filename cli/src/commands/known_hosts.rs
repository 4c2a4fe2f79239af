//! `vctl known-hosts`

use std::io::Write as _;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::Stop;
use crate::openssh::{self, KnownHostsQuery};
use crate::ssh::KnownHostsFiles;
use crate::ssh_ca;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Print the known keys of a host, as lines of known_hosts
///
/// For `KnownHostsCommand` of ssh_config(5), which `vctl ssh-config` writes: the keys that are known by the
/// name of the inventory, and the authority of Vault, whose certificates are believed.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  vctl known-hosts web-1")]
pub(crate) struct KnownHostsArgs {
    /// The name of a host
    #[arg(value_name = "HOST", value_parser = openssh::name, add = completion::host())]
    host: String,

    /// Why `ssh` asks: its token %I
    #[arg(
        long = "for",
        value_name = "WHY",
        value_enum,
        ignore_case = true,
        default_value = "HOSTNAME"
    )]
    occasion: KnownHostsQuery,
}

pub(crate) fn run(args: &KnownHostsArgs, globals: &Globals) -> Result<(), Stop> {
    // A host is known by its name alone: addresses are given to others.
    if args.occasion == KnownHostsQuery::Address {
        return Ok(());
    }
    // A configuration that cannot be used is no reason to go on without the authority.
    globals.load()?;
    let known = KnownHostsFiles::of_this_person().read();
    let authorities = match args.occasion {
        // Vault is not asked for the order: without any known key, certificates come first anyway.
        KnownHostsQuery::Order | KnownHostsQuery::Address => Vec::new(),
        KnownHostsQuery::Hostname => {
            let asking = context::run(globals, async |context| {
                Ok(ssh_ca::published(context.vault().settings()).await?)
            });
            match asking {
                Ok(authorities) => authorities,
                // What is known here is known all the same.
                Err(Stop::Error(error)) => {
                    notice::note(&format!("Vault vouches for no host now: {}", error.message));
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
