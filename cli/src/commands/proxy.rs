//! `vctl proxy`

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::openssh::{self, ProxyRequest, SshProgress};
use crate::ui::form::Output;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Carry the bytes of an `ssh` to a host, and be its agent
///
/// For `ProxyCommand` of ssh_config(5), which `vctl ssh-config` writes. The host is reached as by
/// `vctl ssh`, and the certificate is given to that one `ssh`, for that one connection, once it is
/// recorded. Nothing is ever asked.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  ssh -o ProxyCommand='vctl proxy %n %p' -o IdentityAgent=~/.vctl/ssh/agent.sock web-1")]
pub(crate) struct ProxyArgs {
    /// The exact name or address of a host of the inventory
    #[arg(value_name = "HOST", add = completion::host())]
    host: String,

    /// The port there
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// As whom `ssh` will log in, by default whom the inventory says
    #[arg(long, value_name = "USER", add = completion::login_user())]
    user: Option<String>,
}

pub(crate) fn run(args: &ProxyArgs, globals: &Globals) -> Result<(), Stop> {
    if openssh::passes_descriptor() {
        let handed = openssh::hand_over();
        return handed.map_err(|error| {
            let message = "cannot hand a connection to `ssh` (`ProxyUseFdpass`)";
            CliError::new(Exit::Failure, message)
                .caused_by(&error)
                .into()
        });
    }
    let request = ProxyRequest {
        host: args.host.clone(),
        port: args.port,
        user: args.user.clone(),
    };
    let told = SshProgress::default();
    let done = context::run_with_own_signals(globals, async |context, loaded| {
        Box::pin(openssh::run_proxy(context, &loaded.config, &request, &told)).await
    });
    let Err(Stop::Error(error)) = done else {
        return done;
    };
    // Before `ssh` is told, as it then ends us.
    notice::error(&error, Output::Table);
    told.end_with(&error);
    Err(Stop::Child(error.exit as u8))
}
