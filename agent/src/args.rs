//! The command line: subcommands, and one flag for each key of the configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::ByteSize;
pub use crate::settings::Settings;

/// Record SSH sessions, with the person behind each command
#[derive(Debug, Parser)]
#[command(
    name = "vctl-agent",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    before_help = "\
Examples:
  vctl-agent setup                Set this host up, after a question
  vctl-agent check                Check this host, with a fix for each problem
  vctl-agent collect              Record sessions, ship to the central store
  vctl-agent collect --local      Record sessions on this host alone
  vctl-agent node --once          Report the state of this host now
  vctl-agent help check           Explain a command",
    help_template = TEMPLATE
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: CliCommand,
}

/// Examples first, as in `vctl`.
pub const TEMPLATE: &str = "\
{about-with-newline}
{before-help}

{usage-heading} {usage}

{all-args}{after-help}";

#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Record sessions until stopped
    ///
    /// Runs in the foreground, as root, and notifies systemd when it is ready. The probe stays pinned
    /// in the kernel after the agent stops, so the next run continues without a gap.
    #[command(before_help = "\
Examples:
  vctl-agent collect                      Record, and ship to the central store
  vctl-agent collect --local              Record on this host alone
  vctl-agent collect --print-config       Show the settings in effect")]
    Collect(CollectArgs),
    /// Open a session for a login; PAM runs this
    ///
    /// For the PAM line `session required pam_exec.so /usr/sbin/vctl-agent stamp`. Accepts
    /// `--config PATH` and the flags of `collect`, and reads the login from the environment that
    /// pam_exec sets.
    #[command(
        disable_help_flag = true,
        before_help = "\
Examples:
  session required pam_exec.so /usr/sbin/vctl-agent stamp    A line of /etc/pam.d/sshd"
    )]
    Stamp {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// Check this host, with a fix for each problem
    ///
    /// The check shows whether the host has what the agent needs, and changes nothing.
    /// The exit status is 0 if no check fails (warnings are not failures), otherwise 1.
    #[command(before_help = "\
Examples:
  vctl-agent check                        All requirements, with a fix for each problem
  vctl-agent check -o name                Only the ids of checks that did not pass
  vctl-agent check -o json | jq           For programs (docs/agent-check.md)")]
    Check(CheckArgs),
    /// Set this host up once, or undo that
    ///
    /// Prints each step, asks, and then carries out the steps: units, directories, agent.yaml, the PAM
    /// line. A second run changes nothing. If a step fails, the steps before it are undone. `--undo`
    /// restores the host to its state before the first setup.
    #[command(before_help = "\
Examples:
  vctl-agent setup                        Record sessions on this host alone
  vctl-agent setup --enroll web-1.json    Also ship them (vctl host enroll web-1 --out web-1.json)
  vctl-agent setup --strict               Refuse logins that cannot be stamped
  vctl-agent setup --root /mnt --yes      Set up an image that is being built
  vctl-agent setup --undo                 Restore the host")]
    Setup(SetupArgs),
    /// Add, remove or list the PAM lines that stamp logins
    ///
    /// A second run changes nothing. The line is added after the session stack that the distribution
    /// shares between services (`@include common-session`, `session include password-auth`). Without
    /// such a stack it is added where pam_loginuid.so and pam_systemd.so have run before it.
    #[command(subcommand)]
    PamLine(PamLineCommand),
    /// Remove the probe and all its pins from the kernel
    #[command(before_help = "\
Examples:
  vctl-agent detach                       Stop recording until the next `collect`")]
    Detach(DetachArgs),
    /// Report the state of this host every few minutes
    ///
    /// A report goes to the central store and contains load, memory, disk, addresses and the state of
    /// the collector. The host must be in the inventory. Runs in the foreground until it is stopped,
    /// also while the store is unavailable, and logs a line only when its state changes.
    #[command(before_help = "\
Examples:
  vctl-agent node                         Report every five minutes
  vctl-agent node --once                  Report once, then exit")]
    Node(NodeArgs),
    /// Store what hosts published to JetStream
    ///
    /// For a fleet with `ship: jetstream`. Runs in the foreground until it is stopped. Several processes may run at the
    /// same time; each batch is stored once. Creates the stream if it is missing, with `--replicas` and `--max-bytes`.
    #[command(before_help = "\
Examples:
  vctl-agent ingest                                 Store batches in Postgres
  vctl-agent ingest --replicas 3 --max-bytes 50GiB  Also create the stream in a cluster")]
    Ingest(IngestArgs),
    /// Print the name of this machine and its public key for NATS
    ///
    /// Creates the key in `nats_key_file` if there is none. The private key stays on this machine.
    #[command(before_help = "\
Examples:
  vctl-agent nats-key                     Print a line for the list of hosts")]
    NatsKey(NatsKeyArgs),
    /// Write the accounts of a NATS server from a list of hosts
    ///
    /// The list has a line for each host, as `vctl-agent nats-key` prints it. Each host gets an account that publishes
    /// only as this host. With `--out`, the file keeps its content if the list is not valid.
    #[command(before_help = "\
Examples:
  vctl-agent nats-accounts --ingest UABC... hosts                 Print them
  vctl-agent nats-accounts --ingest UABC... --operator UDEF... hosts \\
    --out accounts.conf                                           Write them")]
    NatsAccounts(NatsAccountsArgs),
    /// Print the manual page of a command, or this help
    #[command(before_help = "\
Examples:
  vctl-agent help collect         The page of a command")]
    Help {
        /// The command
        command: Option<String>,
    },
    /// Print the version of vctl-agent
    Version,
    /// Print the manual page, or write the pages of all commands
    #[command(before_help = "\
Examples:
  vctl-agent man | man -l -                   Read it
  vctl-agent man --to /usr/share/man/man8     Write vctl-agent.8, vctl-agent-check.8 and so on")]
    Man {
        /// The directory for the pages, which must exist
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Keep the records on this host only
    ///
    /// Without this flag, the agent also ships them to the Postgres at `db_host`, or with `ship: jetstream` to NATS.
    #[arg(long)]
    pub local: bool,
    /// Print the effective configuration, each value with its source, and exit
    #[arg(long)]
    pub print_config: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check only this host, not Vault, Postgres or NATS
    #[arg(long)]
    pub local: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct SetupArgs {
    /// File that `vctl host enroll HOST --out FILE` wrote
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    pub enroll: Option<PathBuf>,
    /// Refuse logins that cannot be stamped, with `mode: strict` and a strict PAM line
    #[arg(long, conflicts_with = "undo")]
    pub strict: bool,
    /// Directory to use as `/`, such as an image that is being built
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Do not ask before the steps
    #[arg(long)]
    pub yes: bool,
    /// Restore the host to its state before the first setup
    #[arg(long)]
    pub undo: bool,
}

#[derive(Debug, Subcommand)]
pub enum PamLineCommand {
    /// Add the line, unless the service's stack has one already
    Add {
        #[command(flatten)]
        line: PamLineArgs,
        /// Refuse a login that cannot be stamped, whatever `mode` in the configuration says
        #[arg(long)]
        strict: bool,
        /// Program in the line
        #[arg(long, value_name = "PATH", default_value = "/usr/sbin/vctl-agent")]
        program: String,
    },
    /// Remove the line from the service's own file
    Remove(PamLineArgs),
    /// Print the file and the line of each line that needs the program, of all services
    List {
        /// Directory to use as `/`, such as an image that is being built
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct PamLineArgs {
    /// The PAM service of sshd
    #[arg(long, value_name = "NAME", default_value = "sshd", value_parser = service)]
    pub service: String,
    /// Directory to use as `/`, such as an image that is being built
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// Takes the name of a file in a directory.
fn service(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err("expected the name of a file in /etc/pam.d".to_owned());
    }
    Ok(name.to_owned())
}

#[derive(Debug, Args)]
pub struct DetachArgs {
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Copies of the stream in a cluster of NATS servers, if the stream is created
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Size at which the stream accepts no more batches, if the stream is created
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    pub max_bytes: ByteSize,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct NatsKeyArgs {
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct NatsAccountsArgs {
    /// Public key of a `vctl-agent ingest`; may be repeated
    #[arg(long, value_name = "KEY")]
    pub ingest: Vec<String>,
    /// Public key of an operator's NATS user, which may change the stream and remove messages; may be repeated
    #[arg(long, value_name = "KEY")]
    pub operator: Vec<String>,
    /// Accept a list without hosts
    #[arg(long)]
    pub no_hosts: bool,
    /// File with the list
    #[arg(value_name = "FILE")]
    pub list: PathBuf,
    /// File for the accounts, which is replaced; without it they are printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Time between two reports, such as `30s`, `5m` or `1h`
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "5m")]
    pub interval: Duration,
    /// Report once, then exit; the status is 0 also if the host is not in the inventory
    #[arg(long)]
    pub once: bool,
    /// Name of this host in the inventory [default: `host` of the configuration]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    #[command(flatten)]
    pub settings: Settings,
}

/// Reads a time between a second and a day.
fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a number with `s`, `m` or `h` behind it".to_owned()),
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| number.parse::<u64>().ok()).flatten();
    number
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| (1..=86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a time from `1s` to `24h`".to_owned())
}

/// Output format of `check`; the names are those of the `-o` option in vctl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For reading; `text` means the same
    #[default]
    #[value(alias = "text", alias = "wide")]
    Table,
    /// One document
    Json,
    /// One object per line
    Jsonl,
    /// With a heading
    Csv,
    /// The ids of the checks that did not pass, one per line
    Name,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KEYS, TABLE};
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_has_a_flag_for_every_key() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        for name in ["collect", "check", "detach", "node", "ingest"] {
            let help = command
                .find_subcommand_mut(name)
                .unwrap()
                .render_long_help()
                .to_string();
            for key in KEYS {
                assert!(
                    help.contains(&format!("--{} ", key.flag())),
                    "{name} --{}",
                    key.flag()
                );
                for env in (TABLE.env)(key.name) {
                    assert!(help.contains(&env), "{name} {env}");
                }
            }
        }
    }

    #[test]
    fn an_interval_has_a_unit_and_is_between_a_second_and_a_day() {
        for (text, seconds) in [("1s", 1), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(interval(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "0s",
            "25h",
            "-5m",
            "+5m",
            "5 m",
            "1d",
            "5é",
            "99999999999999999999h",
        ] {
            assert!(interval(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_switch_needs_no_value_and_values_are_unchanged() {
        let line = [
            "vctl-agent",
            "detach",
            "--probe-log",
            "--failed-exec",
            "false",
            "--pin-dir=/x",
        ];
        let CliCommand::Detach(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command");
        };
        let expected = [
            ("pin_dir", "/x"),
            ("failed_exec", "false"),
            ("probe_log", "true"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(args.settings.flags, expected);
    }
}
