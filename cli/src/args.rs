//! The command line. The arguments of each command are in the command's file.

use std::ffi::OsString;

use clap::{ArgMatches, Args as _, CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::config::globals::Globals;
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

/// Declares the commands, each with its name, and a function that finds the description of one by its name.
macro_rules! commands {
    ($($name:literal => $variant:ident($arguments:ty),)*) => {
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $(#[command(name = $name)] $variant($arguments),)*
        }

        impl Command {
            /// Returns the function that adds the arguments of the command `name` to an empty command.
            fn description_of(name: &str) -> Option<fn(clap::Command) -> clap::Command> {
                match name {
                    $($name => Some(<$arguments as clap::Args>::augment_args),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    "add" => Add(commands::add::AddArgs),
    "agent" => Agent(commands::agent::AgentArgs),
    "audit" => Audit(Box<commands::audit::AuditArgs>),
    "ca" => Ca(commands::ca::CaArgs),
    "cache" => Cache(commands::cache::CacheArgs),
    "config" => Config(commands::config::ConfigArgs),
    "completions" => Completions(commands::completions::CompletionsArgs),
    "dbedit" => Dbedit(commands::dbedit::DbeditArgs),
    "delete" => Delete(commands::delete::DeleteArgs),
    "doctor" => Doctor(commands::doctor::DoctorArgs),
    "edit" => Edit(commands::edit::EditArgs),
    "exec" => Exec(commands::exec::ExecArgs),
    "fleet" => Fleet(commands::fleet::FleetArgs),
    "help" => Help(commands::help::HelpArgs),
    "host" => Host(commands::host::HostArgs),
    "known-hosts" => KnownHosts(commands::known_hosts::KnownHostsArgs),
    "list" => List(commands::list::ListArgs),
    "login" => Login(commands::login::LoginArgs),
    "logout" => Logout(commands::logout::LogoutArgs),
    "man" => Man(commands::man::ManArgs),
    "mcp" => Mcp(commands::mcp::McpArgs),
    "migrate" => Migrate(commands::migrate::MigrateArgs),
    "node-agent" => NodeAgent(commands::node_agent::NodeAgentArgs),
    "proxy" => Proxy(commands::proxy::ProxyArgs),
    "prune" => Prune(commands::prune::PruneArgs),
    "rbac" => Rbac(Box<commands::rbac::RbacArgs>),
    "retention" => Retention(commands::retention::RetentionArgs),
    "revoke" => Revoke(commands::revoke::RevokeArgs),
    "session" => Session(Box<commands::session::SessionArgs>),
    "ssh" => Ssh(Box<commands::ssh::SshArgs>),
    "ssh-agent" => SshAgent(commands::ssh_agent::SshAgentArgs),
    "ssh-config" => SshConfig(commands::ssh_config::SshConfigArgs),
    "status" => Status(commands::status::StatusArgs),
    "sync" => Sync(commands::sync::SyncArgs),
    "token" => Token(commands::token::TokenArgs),
    "trust-ca" => TrustCa(Box<commands::trust_ca::TrustCaArgs>),
    "version" => Version(commands::version::VersionArgs),
    "whoami" => Whoami(commands::whoami::WhoamiArgs),
}

/// Returns the whole command line, with the help of `vctl`.
pub(crate) fn command() -> clap::Command {
    overview::described(Cli::command())
}

/// Parses a command line. Help and errors come from the whole command line, and are described by [`overview`].
pub(crate) fn matches_of(words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    match matches_of_one(words) {
        Some(matches) => Ok(matches),
        None => command().try_get_matches_from(words),
    }
}

/// Parses a command line with the description of its own command only. To describe all the others takes longer than
/// everything else before the first request.
///
/// Returns `None` for anything but a valid command line that begins with the name of a command.
fn matches_of_one(words: &[OsString]) -> Option<ArgMatches> {
    let name = words.get(1)?.to_str()?.to_owned();
    let describe = Command::description_of(&name)?;
    let vctl = Globals::augment_args(clap::Command::new("vctl"));
    // One of ours is named `help`.
    let vctl = vctl.disable_help_subcommand(true);
    let vctl = vctl.subcommand(describe(clap::Command::new(name)));
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
    fn one_command_is_parsed_as_by_the_whole_parser() {
        for (line, is_valid) in [
            ("vctl proxy web-1 22", true),
            ("vctl proxy -v --user=root web-1 22", true),
            (
                "vctl known-hosts --for HOSTNAME --key-type ssh-ed25519 web-1",
                true,
            ),
            ("vctl list -o json --no-input", true),
            ("vctl ssh -L 80:h:80 web-1 -- ls -l", true),
            ("vctl audit --failed -o json", true),
            ("vctl rbac frobnicate", false),
            ("vctl cache --help", false),
            ("vctl session 7341 --tree", true),
            ("vctl proxy", false),
            ("vctl proxy web-1 0", false),
            ("vctl proxy --help", false),
            ("vctl list --help", false),
            ("vctl list --no-such-option", false),
            ("vctl known-hosts a/b", false),
            ("vctl -v proxy web-1 22", false),
            ("vctl lsit", false),
            ("vctl", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let one = matches_of_one(&words);
            assert_eq!(one.is_some(), is_valid, "{line}");
            let Some(one) = one else { continue };
            let whole = command().try_get_matches_from(&words).unwrap();
            let read = |matches| format!("{:?}", Cli::from_arg_matches(matches).unwrap());
            assert_eq!(read(&one), read(&whole), "{line}");
        }
    }

    fn is_valid(line: &str) -> bool {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        matches_of(&words).is_ok()
    }

    #[test]
    fn an_option_without_effect_is_refused() {
        for (line, option) in [
            ("vctl revoke --krl F", "--yes"),
            ("vctl revoke --krl F", "--wait 2h"),
            ("vctl revoke albert --dry-run", "--wait 2h"),
            ("vctl migrate --status", "--ssh-mount ssh"),
            ("vctl list --route web-1", "--all-ips"),
            ("vctl ca ssh-rotate --plan", "--parallel 4"),
            ("vctl trust-ca --script", "--yes"),
            ("vctl trust-ca --cloud-init", "--yes"),
            ("vctl session", "--login-work"),
            ("vctl session --live", "--login-work"),
            ("vctl session --grep x", "--list"),
            ("vctl session --failed", "--list"),
            ("vctl session 7341", "--spool /x"),
            ("vctl session --live", "--spool /x"),
            ("vctl session --host web-1", "--spool /x"),
            ("vctl session", "--trusted-ca-keys /x"),
            ("vctl session --live", "--trusted-ca-keys /x"),
            ("vctl session --host web-1", "--trusted-ca-keys /x"),
            ("vctl session --list", "--login-work"),
        ] {
            assert!(is_valid(line), "{line}");
            assert!(!is_valid(&format!("{line} {option}")), "{line} {option}");
        }
        for line in [
            "vctl revoke albert --krl F --yes --wait 2h",
            "vctl migrate --ssh-mount ssh",
            "vctl list --all-ips",
            "vctl ca ssh-rotate --next --yes --parallel 4",
            "vctl trust-ca --root / --yes",
            "vctl session 7341 --login-work",
            "vctl session --follow --login-work",
            "vctl session --local --spool /x --trusted-ca-keys /y",
            "vctl session --path passwd --login-work -n 3",
        ] {
            assert!(is_valid(line), "{line}");
        }
    }

    #[test]
    fn each_command_is_found_by_its_name() {
        for one in command().get_subcommands() {
            let described = Command::description_of(one.get_name()).unwrap();
            let described = described(clap::Command::new(one.get_name().to_owned()));
            let ids = |command: &clap::Command| {
                let ids = command
                    .get_arguments()
                    .map(|argument| argument.get_id().clone());
                ids.collect::<Vec<_>>()
            };
            assert_eq!(ids(&described), ids(one), "{}", one.get_name());
            let words = ["vctl", one.get_name()].map(OsString::from);
            let whole = command().try_get_matches_from(&words);
            assert_eq!(
                matches_of_one(&words).is_some(),
                whole.is_ok(),
                "{}",
                one.get_name()
            );
        }
    }
}
