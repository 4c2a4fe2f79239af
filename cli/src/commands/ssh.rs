//! `vctl ssh`: logs in to a host, or runs a command on it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::ssh::{
    self, ConnectionUse, Destination, Endpoint, Forwards, HostSelector, LocalForward, PtyWish,
    RemoteForward, SocksForward, SshRequest, UnknownKeys,
};
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;

/// Log in to a host, or run a command on it
///
/// vctl creates a key for this connection only, and never writes it to disk. Vault signs it, and vctl
/// writes the access-log row before it offers the certificate to a host. HOST is a name or an address. On
/// a terminal, a part of a name is enough; vctl then asks before it runs a command. vctl connects directly or
/// through the jump hosts of the inventory.
///
/// The exit status is that of the command: 128 plus the signal's number if a signal ended it, 255 if the
/// connection failed or was lost, 76 if a host key is not the expected one.
///
/// Escape sequences, at the beginning of a line on a terminal: `~.` disconnects, also if the connection
/// hangs; `~^Z` suspends vctl; `~?` lists all.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ssh                                Choose a host, and open a shell
  vctl ssh web-1                          Open a shell on web-1
  vctl ssh web-1 systemctl status nginx   Run a command
  vctl ssh root@web-1                     Log in as root
  tar c site | vctl ssh web-1 -- tar x    Use standard input and output
  vctl ssh -t web-1 -- htop               Run a command that needs a terminal
  vctl ssh --server 10.0.0.7 -- uptime    In scripts: exact host, no prompts
  vctl ssh root@192.0.2.1:2222            A host that is not in the inventory")]
pub(crate) struct SshArgs {
    /// Name or address, or user@HOST[:port]. On a terminal, a part of a name is enough; without HOST, choose from a list
    #[arg(value_name = "HOST", value_parser = Destination::parse, conflicts_with = "server", add = completion::destination())]
    host: Option<Destination>,

    /// Exact name or address of the host; never prompt
    #[arg(long, value_name = "HOST", add = completion::host())]
    server: Option<String>,

    /// User to log in as, instead of the inventory's user
    #[arg(short = 'l', value_name = "USER", add = completion::login_user())]
    login: Option<String>,

    /// Port to connect to, instead of the inventory's port
    #[arg(short = 'p', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Allocate a terminal for a command; `-tt` even if there is no local terminal
    #[arg(short = 't', action = clap::ArgAction::Count, conflicts_with = "no_terminal")]
    terminal: u8,

    /// Do not allocate a terminal
    #[arg(short = 'T')]
    no_terminal: bool,

    /// Forward the local authentication agent to the host
    #[arg(short = 'A')]
    agent: bool,

    /// Forward a local port to HOST:PORT, resolved on the remote host
    #[arg(short = 'L', value_name = "[BIND:]PORT:HOST:PORT")]
    local: Vec<LocalForward>,

    /// Forward a port of the remote host to HOST:PORT, resolved on this machine
    #[arg(short = 'R', value_name = "[BIND:]PORT:HOST:PORT")]
    remote: Vec<RemoteForward>,

    /// Serve a SOCKS5 proxy on a local port; the remote host opens the connections
    #[arg(short = 'D', value_name = "[BIND:]PORT")]
    proxy: Vec<SocksForward>,

    /// Forward standard input and output to HOST:PORT, opened by the remote host
    #[arg(short = 'W', value_name = "HOST:PORT", conflicts_with_all = ["command", "terminal", "no_command"])]
    stdio: Option<Endpoint>,

    /// Do not run a command: only forward ports
    #[arg(short = 'N', conflicts_with_all = ["command", "terminal"])]
    no_command: bool,

    /// Print only errors, and a notice if Postgres is unreachable
    #[arg(long, short)]
    quiet: bool,

    /// Mount of the CA that signs. `vctl ca ssh-rotate` tests a new CA with it.
    #[arg(long, value_name = "MOUNT", hide = true)]
    ca_mount: Option<String>,

    /// Command for the host's shell; words are joined with spaces, `--` is optional
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &SshArgs, globals: &Globals) -> Result<(), Stop> {
    let destination = match (&args.host, &args.server) {
        (Some(destination), _) => destination.clone(),
        (None, Some(server)) => HostSelector::Exact(server.clone()).into(),
        (None, None) => HostSelector::Any.into(),
    };
    let interaction = match args.server {
        Some(_) => Interaction::Never,
        None => globals.interaction(),
    };
    let pty = match (args.no_terminal, args.terminal) {
        (true, _) => PtyWish::Never,
        (false, 0) => PtyWish::Auto,
        (false, 1) => PtyWish::Wanted,
        (false, _) => PtyWish::Forced,
    };
    let destination = if args.command.is_empty() {
        destination
    } else {
        destination.for_command()
    };
    let request = SshRequest {
        destination: destination.or_rather(args.login.as_deref(), args.port),
        what: match &args.stdio {
            Some(to) => ConnectionUse::Stdio(to.clone()),
            None if args.no_command => ConnectionUse::Ports,
            None => ConnectionUse::Session {
                pty,
                command: joined(&args.command),
            },
        },
        forwards: Forwards {
            local: args.local.clone(),
            remote: args.remote.clone(),
            proxies: args.proxy.clone(),
            agent: args.agent,
        },
        interaction,
        quiet: args.quiet,
        mount: args.ca_mount.clone(),
        unknown_keys: UnknownKeys::Ask(interaction),
    };
    context::run_with_own_signals(globals, async |context, loaded| {
        Box::pin(ssh::run(context, &loaded.config, &request)).await
    })
}

/// Joins the words to one line for the remote shell, as OpenSSH does.
fn joined(words: &[OsString]) -> Option<Vec<u8>> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.clone().into_vec()).collect();
    (!words.is_empty()).then(|| words.join(&b' '))
}
