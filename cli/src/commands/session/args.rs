//! The arguments of `vctl session`.

use std::env;
use std::path::PathBuf;

use clap::ValueHint;

use super::end::EndArgs;
use super::export::ExportArgs;
use super::search_args::SearchArgs;
use crate::completion;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::model::{Event, Filter, History, SessionName};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::moment;
use crate::ui::moment::Moment;

/// Show the commands that ran in SSH sessions
///
/// Without a serial or session id, lists the sessions, newest first. Reads the central store, which needs
/// a login and the Vault policy `vctl-auditor`. With `--local`, reads the spool of this host.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, help_template = TEMPLATE, before_help = "\
Examples:
  vctl session --user albert --since 2d     List the sessions of a person
  vctl session 7341                         Show sessions of certificate 7341
  vctl session 0193f3a1-...                 Show one session
  vctl session 7341 --tree                  Show processes as a tree
  vctl session 7341 --html page.html        Write a page for a browser
  vctl session 7341 --open                  Open that page in a browser
  vctl session --grep 'rm -rf' --since 7d   Find programs by their arguments
  vctl session --path passwd --root         Find programs by their file and user
  vctl session 7341 --failed                Find programs that failed
  vctl session --follow                     Show all sessions as they happen
  vctl session --live                       List the sessions that run now
  vctl session end 0193f3a1-7c4e            End one of them
  vctl session -n 0 -o csv > sessions.csv   Export all for a spreadsheet
  vctl session export --follow              Send events to a SIEM
  vctl session --local                      Read the records of this host
  vctl session 7341 -o json | jq            For programs: docs/session-json.md")]
#[command(group(clap::ArgGroup::new("events").multiple(true).args(["named", "follow", "grep", "path", "exit", "failed", "root"])))]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    pub(super) command: Option<SessionCommand>,

    /// Serial of a certificate, or session id; the beginning of an id is enough if it is
    /// unique
    #[arg(value_name = "SERIAL|SESSION ID", add = completion::session())]
    pub(super) named: Option<SessionName>,

    /// List sessions; the default without a serial or id
    #[arg(long, conflicts_with_all = ["named", "grep", "path", "exit", "failed", "root"])]
    list: bool,

    /// List the sessions that run now, on all hosts, with the last command of each
    #[arg(long, conflicts_with_all = ["named", "list", "local", "follow", "grep", "path", "exit", "failed", "root", "since", "until", "limit"])]
    pub(super) live: bool,

    /// Only sessions on hosts with this text in their name
    #[arg(long, conflicts_with = "local", add = completion::host())]
    host: Option<String>,

    /// Only sessions of this person: `albert`, or the full display name `oidc-albert`
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    #[arg(long, value_name = "TIME", help = format!("Only sessions opened at this time or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only sessions opened before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    #[command(flatten)]
    pub(super) search: SearchArgs,

    /// Read the spool of this host instead of the central store
    #[arg(long)]
    pub(super) local: bool,

    // Not `env` of clap: an option needs `--local`, and a variable does not. clap ignores `requires` beside an argument
    // that conflicts with `--local`.
    /// With `--local`: directory of the spool [env: VCTL_SPOOL_DIR] [default: /var/lib/vctl/spool]
    #[arg(long, value_name = "DIR", requires = "local", conflicts_with_all = ["live", "host"], value_hint = ValueHint::DirPath)]
    spool: Option<PathBuf>,

    /// With `--local`: file of trusted user CAs, to verify names [env: VCTL_TRUSTED_CA_KEYS]
    /// [default: `TrustedUserCAKeys` of `sshd -T`]
    #[arg(long, value_name = "FILE", requires = "local", conflicts_with_all = ["live", "host"], value_hint = ValueHint::FilePath)]
    trusted_ca_keys: Option<PathBuf>,

    /// Show processes as a tree, children below their parents
    #[arg(long, requires = "named", conflicts_with_all = ["json", "follow"])]
    pub(super) tree: bool,

    /// Show events as they happen, until the given sessions end. Without a serial or id, show all sessions that
    /// are open or that start. `--since` also shows sessions that were opened since that time
    #[arg(long, short, conflicts_with = "list")]
    pub(super) follow: bool,

    /// Write one session as a page for a browser: timeline, processes, search. `-` is standard
    /// output. Does not replace an existing file without `--force`
    #[arg(long, value_name = "FILE", requires = "named", conflicts_with_all = ["tree", "follow", "json"])]
    pub(super) html: Option<PathBuf>,

    /// Replace an existing file of `--html`
    #[arg(long, requires = "html")]
    pub(super) force: bool,

    /// Open the page in a browser; without `--html` it is a file in `~/.vctl/pages`
    #[arg(long, requires = "named", conflicts_with_all = ["tree", "follow", "json", "grep", "path", "exit", "failed", "root"])]
    pub(super) open: bool,

    /// Same as `-o json`; with `--follow`, one object a line
    #[arg(long, conflicts_with = "output")]
    pub(super) json: bool,

    /// Output format; `csv` and `name` are for lists, `--follow` has `table` and `jsonl`
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,

    /// Do not shorten anything: show all recorded fields and all processes
    #[arg(long)]
    pub(super) full: bool,

    /// Also show programs that sshd and PAM ran at login and logout. JSON always contains them
    /// in `login_events`
    #[arg(long, requires = "events")]
    pub(super) login_work: bool,

    /// Maximum number of sessions; 0 lists all [default: 20]
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "follow")]
    limit: Option<usize>,
}

/// Returns the path in an environment variable.
fn path_of(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum SessionCommand {
    End(EndArgs),
    Export(Box<ExportArgs>),
}

impl SessionArgs {
    /// Returns the directory of the spool.
    pub(super) fn spool(&self) -> PathBuf {
        let given = self.spool.clone();
        let spool = given.or_else(|| path_of("VCTL_SPOOL_DIR"));
        spool.unwrap_or_else(|| PathBuf::from("/var/lib/vctl/spool"))
    }

    /// Returns the file of trusted user CAs, unless `sshd -T` names them.
    pub(super) fn trusted_ca_keys(&self) -> Option<PathBuf> {
        let given = self.trusted_ca_keys.clone();
        given.or_else(|| path_of("VCTL_TRUSTED_CA_KEYS"))
    }

    /// Returns the maximum number of lines of a list; 0 is no limit.
    ///
    /// # Errors
    /// The sessions of one serial or id are shown, all of them.
    pub(super) fn limit(&self) -> Result<usize, CliError> {
        if self.limit.is_some() && self.named.is_some() && !self.search.is_wanted() {
            let message = "`--limit` is for lists and for searches of programs";
            let hint = "the session id shows one session of a serial";
            return Err(CliError::new(Exit::Usage, message).hint(hint));
        }
        Ok(self.limit.unwrap_or(20))
    }

    /// Returns the output format.
    ///
    /// # Errors
    /// The selected view cannot be printed in that format.
    pub(super) fn format(&self) -> Result<OutputFormat, CliError> {
        let format = if self.json {
            OutputFormat::Json
        } else {
            self.output
        };
        let is_list = self.named.is_none() && !self.search.is_wanted() && !self.follow;
        let (what, others): (_, &[OutputFormat]) = if self.tree {
            ("`--tree`", &[])
        } else if self.html.is_some() {
            ("`--html`", &[])
        } else if self.open {
            ("`--open`", &[])
        } else if self.follow {
            // With `--follow`, `--json` also means one object a line.
            ("`--follow`", &[OutputFormat::Json, OutputFormat::Jsonl])
        } else if self.search.is_wanted() {
            (
                if self.search.has_grep() {
                    "matches of `--grep`"
                } else {
                    "a search for programs"
                },
                &[OutputFormat::Json, OutputFormat::Jsonl, OutputFormat::Yaml],
            )
        } else if !is_list {
            (
                "a timeline",
                &[OutputFormat::Json, OutputFormat::Jsonl, OutputFormat::Yaml],
            )
        } else {
            return Ok(format);
        };
        if format.is_for_people() || others.contains(&format) {
            return Ok(format);
        }
        let message = format!("{what} cannot be printed as `{}`", format.word());
        let formats = [OutputFormat::Table, OutputFormat::Wide]
            .iter()
            .chain(others);
        let formats: Vec<String> = formats.map(|one| format!("`{}`", one.word())).collect();
        let hint = format!("use {}", formats.join(", "));
        Err(CliError::new(Exit::Usage, message).hint(hint))
    }

    /// Returns the part of a session that is shown to people.
    pub(super) fn for_display(&self, history: History) -> History {
        if self.login_work {
            history
        } else {
            history.of_user()
        }
    }

    /// Returns whether an event is shown to people.
    pub(super) fn shows(&self, event: &Event) -> bool {
        self.login_work || event.event.phase.is_users()
    }

    pub(super) fn filter(&self) -> Filter {
        Filter {
            host: self.host.clone(),
            user: self.user.clone(),
            since: self.since.map(|Moment(since)| since),
            until: self.until.map(|Moment(until)| until),
        }
    }
}
