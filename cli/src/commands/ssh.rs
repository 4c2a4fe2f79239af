//! `vctl ssh`

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::Stop;
use crate::ssh::{
    self, ConnectionUse, Destination, Endpoint, Forwards, HostSelector, LocalForward, PtyWish,
    RemoteForward, SocksForward, SshRequest,
};
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;

/// Log in to a host, or run a command there
///
/// The key is made for this connection and never written down; Vault signs it, and that it is used is
/// recorded before any host sees it. A host is found by its name, one of its addresses or a part of
/// its name, and reached directly or through its jump hosts. The exit status is that of the command: 128
/// and the signal's number when a signal ended it, 255 when SSH did not come about or broke off, 76 when a
/// host key is not the one it should be.
///
/// With a terminal there, what is typed at the beginning of a line may be for vctl: `~.` ends the connection, also
/// one that hangs, `~^Z` puts it into the background, `~?` lists these.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ssh                                    Choose a host, and get a shell
  vctl ssh web-1                              A shell
  vctl ssh web-1 systemctl status nginx       A command, and its exit status
  vctl ssh root@web-1                         As another user than the inventory's
  tar c site | vctl ssh web-1 -- tar x        Bytes, both ways, as they are
  vctl ssh -t web-1 -- htop                   A command that needs a terminal
  vctl ssh --server 10.0.0.7 -- uptime        In a script: that host or an error, never a question
  vctl ssh root@192.0.2.1:2222                A host that is not in the inventory")]
pub(crate) struct SshArgs {
    /// Name, address or part of the name of a host, or user@HOST[:port]; without one, choose
    #[arg(value_name = "HOST", value_parser = Destination::parse, conflicts_with = "server", add = completion::destination())]
    host: Option<Destination>,

    /// The exact name or address of a host; nothing is ever asked
    #[arg(long, value_name = "HOST", add = completion::host())]
    server: Option<String>,

    /// Log in as this user, instead of the inventory's
    #[arg(short = 'l', value_name = "USER", add = completion::login_user())]
    login: Option<String>,

    /// Connect to this port, instead of the inventory's
    #[arg(short = 'p', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Ask for a terminal also for a command; twice, also without one here
    #[arg(short = 't', action = clap::ArgAction::Count, conflicts_with = "no_terminal")]
    terminal: u8,

    /// Ask for no terminal
    #[arg(short = 'T')]
    no_terminal: bool,

    /// Let programs there use the keys of the agent here
    #[arg(short = 'A')]
    agent: bool,

    /// Forward a local port to HOST:PORT, resolved on the remote host
    #[arg(short = 'L', value_name = "[BIND:]PORT:HOST:PORT")]
    local: Vec<LocalForward>,

    /// Forward a remote port to HOST:PORT, resolved here
    #[arg(short = 'R', value_name = "[BIND:]PORT:HOST:PORT")]
    remote: Vec<RemoteForward>,

    /// Serve a SOCKS5 proxy at a local port; the remote host makes the connections
    #[arg(short = 'D', value_name = "[BIND:]PORT")]
    proxy: Vec<SocksForward>,

    /// Connect standard input and output to HOST:PORT, as the remote host reaches it
    #[arg(short = 'W', value_name = "HOST:PORT", conflicts_with_all = ["command", "terminal", "no_command"])]
    stdio: Option<Endpoint>,

    /// Run nothing there: for the ports alone
    #[arg(short = 'N', conflicts_with_all = ["command", "terminal"])]
    no_command: bool,

    /// Say nothing but errors, and whether Postgres is away
    #[arg(long, short)]
    quiet: bool,

    /// Have the CA at this mount sign: `vctl ca ssh-rotate` proves one that is to come
    #[arg(long, value_name = "MOUNT", hide = true)]
    ca_mount: Option<String>,

    /// The command, given to the host's shell; its words are joined with spaces, and `--` is not needed
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
    };
    context::run_with_own_signals(globals, async |context, loaded| {
        Box::pin(ssh::run(context, &loaded.config, &request)).await
    })
}

/// As OpenSSH hands words on: they are one line for the shell there.
fn joined(words: &[OsString]) -> Option<Vec<u8>> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.clone().into_vec()).collect();
    (!words.is_empty()).then(|| words.join(&b' '))
}
