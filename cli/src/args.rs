//! The command line. The arguments of each command are in the command's file.

use std::ffi::OsString;

use clap::{ArgMatches, Args as _, CommandFactory as _, Parser, Subcommand};

use crate::centre::globals::Globals;
use crate::commands::add::AddArgs;
use crate::commands::agent::AgentArgs;
use crate::commands::audit::AuditArgs;
use crate::commands::ca::CaArgs;
use crate::commands::cache::CacheArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::dbedit::DbeditArgs;
use crate::commands::delete::DeleteArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::edit::EditArgs;
use crate::commands::exec::ExecArgs;
use crate::commands::fleet::FleetArgs;
use crate::commands::help::HelpArgs;
use crate::commands::host::HostArgs;
use crate::commands::known_hosts::KnownHostsArgs;
use crate::commands::list::ListArgs;
use crate::commands::login::LoginArgs;
use crate::commands::logout::LogoutArgs;
use crate::commands::man::ManArgs;
use crate::commands::mcp::McpArgs;
use crate::commands::migrate::MigrateArgs;
use crate::commands::node_agent::NodeAgentArgs;
use crate::commands::proxy::ProxyArgs;
use crate::commands::prune::PruneArgs;
use crate::commands::rbac::RbacArgs;
use crate::commands::retention::RetentionArgs;
use crate::commands::revoke::RevokeArgs;
use crate::commands::session::SessionArgs;
use crate::commands::ssh::SshArgs;
use crate::commands::ssh_agent::SshAgentArgs;
use crate::commands::ssh_config::SshConfigArgs;
use crate::commands::status::StatusArgs;
use crate::commands::sync::SyncArgs;
use crate::commands::token::TokenArgs;
use crate::commands::trust_ca::TrustCaArgs;
use crate::commands::version::VersionArgs;
use crate::commands::whoami::WhoamiArgs;
use crate::overview;
use crate::ui::format::ErrorFormat;

/// Short-lived SSH access to servers through Vault, and a record of each session
#[derive(Debug, Parser)]
#[command(
    name = "vctl",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Add(AddArgs),
    Agent(AgentArgs),
    Audit(Box<AuditArgs>),
    Ca(CaArgs),
    Cache(CacheArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Dbedit(DbeditArgs),
    Delete(DeleteArgs),
    Doctor(DoctorArgs),
    Edit(EditArgs),
    Exec(ExecArgs),
    Fleet(FleetArgs),
    Help(HelpArgs),
    Host(HostArgs),
    KnownHosts(KnownHostsArgs),
    List(ListArgs),
    Login(LoginArgs),
    Logout(LogoutArgs),
    Man(ManArgs),
    Mcp(McpArgs),
    Migrate(MigrateArgs),
    NodeAgent(NodeAgentArgs),
    Proxy(ProxyArgs),
    Prune(PruneArgs),
    Rbac(Box<RbacArgs>),
    Retention(RetentionArgs),
    Revoke(RevokeArgs),
    Session(Box<SessionArgs>),
    Ssh(Box<SshArgs>),
    SshAgent(SshAgentArgs),
    SshConfig(SshConfigArgs),
    Status(StatusArgs),
    Sync(SyncArgs),
    Token(TokenArgs),
    TrustCa(Box<TrustCaArgs>),
    Version(VersionArgs),
    Whoami(WhoamiArgs),
}

/// Returns the whole command line, with the help of `vctl`.
pub(crate) fn command() -> clap::Command {
    overview::described(Cli::command())
}

/// Parses a command line that `ssh` runs for each connection. Describing all other commands would take a third of the
/// time of such a process.
///
/// Returns `None` for other commands, and for anything but a valid command line: the parser of [`command`] explains it.
pub(crate) fn matches_of_ssh(words: &[OsString]) -> Option<ArgMatches> {
    let name = words.get(1)?.to_str()?;
    let described = match name {
        "proxy" => ProxyArgs::augment_args(clap::Command::new("proxy")),
        "known-hosts" => KnownHostsArgs::augment_args(clap::Command::new("known-hosts")),
        _ => return None,
    };
    let vctl = Globals::augment_args(clap::Command::new("vctl")).subcommand(described);
    vctl.try_get_matches_from(words).ok()
}

/// Returns the format of errors for this command line: JSON if a command was asked for JSON.
pub(crate) fn error_format_of(matches: &ArgMatches) -> ErrorFormat {
    let output = matches.try_get_raw("output").ok().flatten();
    let is_json =
        output.is_some_and(|mut words| words.any(|word| word == "json" || word == "jsonl"));
    let json = matches.try_get_one::<bool>("json");
    if is_json || matches!(json, Ok(Some(true))) {
        return ErrorFormat::Json;
    }
    match matches.subcommand() {
        Some((_, matches)) => error_format_of(matches),
        None => ErrorFormat::Text,
    }
}

/// Like [`error_format_of`], for a command line that could not be parsed.
pub(crate) fn error_format_of_words(words: impl Iterator<Item = OsString>) -> ErrorFormat {
    let words: Vec<OsString> = words.take_while(|word| word != "--").collect();
    let is_json = |word: &OsString| {
        [
            "--json",
            "--output=json",
            "-ojson",
            "--output=jsonl",
            "-ojsonl",
        ]
        .iter()
        .any(|w| word == w)
    };
    let pair = |pair: &[OsString]| {
        (pair[0] == "-o" || pair[0] == "--output") && (pair[1] == "json" || pair[1] == "jsonl")
    };
    if words.iter().any(is_json) || words.windows(2).any(pair) {
        ErrorFormat::Json
    } else {
        ErrorFormat::Text
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn a_command_line_of_ssh_is_parsed_as_by_the_whole_parser() {
        for (line, is_short) in [
            ("vctl proxy web-1 22", true),
            ("vctl proxy --user root web-1 2222", true),
            ("vctl proxy -v --user=root web-1 22", true),
            (
                "vctl known-hosts --for HOSTNAME --key-type ssh-ed25519 web-1",
                true,
            ),
            ("vctl known-hosts --for order web-1", true),
            ("vctl known-hosts web-1 --no-input", true),
            ("vctl proxy", false),
            ("vctl proxy web-1 0", false),
            ("vctl proxy --help", false),
            ("vctl known-hosts --for NEVER web-1", false),
            ("vctl known-hosts a/b", false),
            ("vctl -v proxy web-1 22", false),
            ("vctl list", false),
            ("vctl", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let short = matches_of_ssh(&words);
            assert_eq!(short.is_some(), is_short, "{line}");
            let Some(short) = short else { continue };
            let whole = command().try_get_matches_from(&words).unwrap();
            let read = |matches| format!("{:?}", Cli::from_arg_matches(matches).unwrap());
            assert_eq!(read(&short), read(&whole), "{line}");
        }
    }
}
