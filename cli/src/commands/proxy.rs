//! `vctl proxy`: `ProxyCommand` of OpenSSH, and the agent of that `ssh`.

use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::openssh::{self, ProxyRequest, SshProgress};
use crate::ui::format::ErrorFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Connect `ssh` to a host, and serve as its agent (ProxyCommand)
///
/// `vctl ssh-config` sets this command as `ProxyCommand` of ssh_config(5). It reaches the host like
/// `vctl ssh`, writes the access-log row, and gives the certificate to this one `ssh` for this one
/// connection. It never prompts.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  ssh -o ProxyCommand='vctl proxy %n %p' \\
      -o IdentityAgent=~/.vctl/ssh/agent.sock web-1")]
pub(crate) struct ProxyArgs {
    /// Exact name or address of a host of the inventory
    #[arg(value_name = "HOST", add = completion::host())]
    host: String,

    /// Port of sshd
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// User that `ssh` logs in as [default: user of the inventory]
    #[arg(long, value_name = "USER", add = completion::login_user())]
    user: Option<String>,
}

pub(crate) fn run(args: &ProxyArgs, globals: &Globals) -> Result<(), Stop> {
    if openssh::passes_descriptor() {
        let handed = openssh::hand_over();
        return handed.map_err(|error| {
            let message = "cannot pass a connection to `ssh` (`ProxyUseFdpass`)";
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
    // Before the error is sent to `ssh`, which then ends this process.
    notice::error(&error, ErrorFormat::Text);
    told.end_with(&error);
    Err(Stop::Child(error.exit as u8))
}
