//! The arguments of `vctl session`.

use std::path::PathBuf;

use crate::completion;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::model::{Event, Filter, History, SessionName};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::moment;
use crate::ui::moment::Moment;

/// Show what was done inside SSH sessions
///
/// Without a serial or session id, lists the sessions, newest first. Reads the central store, for
/// which one logs in and needs the Vault policy `vctl-auditor`; with `--local` this host's own spool.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl session --user albert --since 2d   List the sessions of a person
  vctl session 7341                       Timeline of every session of certificate 7341
  vctl session 0193f3a1-...               Timeline of one session
  vctl session 7341 --tree                Processes with their children, durations, results
  vctl session 7341 --html page.html      The same as a page for a browser
  vctl session 7341 --open                That page, opened in the browser
  vctl session --grep 'rm -rf' --since 7d  Who started that, newest first
  vctl session --follow                   Every session from now on, as it happens
  vctl session 7341 -o json | jq          Everything, for programs (docs/session-json.md)
  vctl session -n 0 -o csv > sessions.csv  All sessions, for a spreadsheet
  vctl session --local                    What this host recorded itself, without any server")]
pub(crate) struct SessionArgs {
    /// Certificate serial, or session id, as `--list` prints them; the beginning of an id is enough if no other
    /// session begins so
    #[arg(value_name = "SERIAL|SESSION ID", add = completion::session())]
    pub(super) named: Option<SessionName>,

    /// List sessions; the default when none is named
    #[arg(long, conflicts_with = "named")]
    list: bool,

    /// Only sessions on hosts with this in their name
    #[arg(long, conflicts_with = "local", add = completion::host())]
    host: Option<String>,

    /// Only sessions of this person: `albert`, or the whole display name `oidc-albert`
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    #[arg(long, value_name = "TIME", help = format!("Only sessions opened then or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only sessions opened before
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Show only programs with this in arguments or path; case counts, a blank is also the border
    /// between arguments
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["tree", "follow", "html"])]
    pub(super) grep: Option<String>,

    /// Read this host's own spool instead of the central store
    #[arg(long)]
    pub(super) local: bool,

    /// Directory of the spool
    #[arg(
        long,
        value_name = "DIR",
        env = "VCTL_SPOOL_DIR",
        default_value = "/var/lib/vctl/spool"
    )]
    pub(super) spool: PathBuf,

    /// With `--local`, file of the CAs whose user certificates prove a name; without it the file that
    /// `sshd -T` names as `TrustedUserCAKeys`
    #[arg(long, value_name = "FILE", env = "VCTL_TRUSTED_CA_KEYS")]
    pub(super) trusted_ca_keys: Option<PathBuf>,

    /// Show processes below the process that started them
    #[arg(long, requires = "named", conflicts_with_all = ["json", "follow"])]
    pub(super) tree: bool,

    /// Show events as they happen: of the named sessions until they are closed, without a name of every session that
    /// is open or arrives, however short; with `--since` also of those opened since
    #[arg(long, short, conflicts_with = "list")]
    pub(super) follow: bool,

    /// Write one session as a self-contained page for a browser: timeline, processes, search. With `--full`
    /// every process is in it. `-` writes to standard output; a file that exists is kept unless `--force` is given
    #[arg(long, value_name = "FILE", requires = "named", conflicts_with_all = ["tree", "follow", "json"])]
    pub(super) html: Option<PathBuf>,

    /// Replace the file of `--html`
    #[arg(long, requires = "html")]
    pub(super) force: bool,

    /// Open the page of one session in a browser; without `--html` it is a file in `~/.vctl/pages`
    #[arg(long, requires = "named", conflicts_with_all = ["tree", "follow", "json", "grep"])]
    pub(super) open: bool,

    /// The same as `-o json`; with `--follow` one object a line
    #[arg(long, conflicts_with = "output")]
    pub(super) json: bool,

    /// Form of the output; `csv` and `name` are for lists, and `--follow` has `table` and `jsonl`
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t)]
    output: Form,

    /// Cut nothing, and show every recorded field and every process
    #[arg(long)]
    pub(super) full: bool,

    /// Show also the programs that sshd and PAM ran at login and logout, marked as such. JSON always has
    /// them, in `login_events`
    #[arg(long)]
    pub(super) login_work: bool,

    /// List at most this many sessions; 0 lists all
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value_t = 20,
        conflicts_with = "follow"
    )]
    pub(super) limit: usize,
}

impl SessionArgs {
    /// Returns the form of the output.
    ///
    /// # Errors
    /// What is shown cannot be printed in that form.
    pub(super) fn form(&self) -> Result<Form, CliError> {
        let form = if self.json { Form::Json } else { self.output };
        let is_list = self.named.is_none() && self.grep.is_none() && !self.follow;
        let (what, others): (_, &[Form]) = if self.tree {
            ("`--tree`", &[])
        } else if self.html.is_some() {
            ("`--html`", &[])
        } else if self.open {
            ("`--open`", &[])
        } else if self.follow {
            // `--json` of `--follow` is one object a line, too.
            ("`--follow`", &[Form::Json, Form::Jsonl])
        } else if self.grep.is_some() {
            (
                "matches of `--grep`",
                &[Form::Json, Form::Jsonl, Form::Yaml],
            )
        } else if !is_list {
            ("a timeline", &[Form::Json, Form::Jsonl, Form::Yaml])
        } else {
            return Ok(form);
        };
        if form.is_for_people() || others.contains(&form) {
            return Ok(form);
        }
        let message = format!("{what} cannot be printed as `{}`", form.word());
        let forms = [Form::Table, Form::Wide].iter().chain(others);
        let forms: Vec<String> = forms.map(|form| format!("`{}`", form.word())).collect();
        let hint = format!("use {}", forms.join(", "));
        Err(CliError::new(Exit::Usage, message).hint(hint))
    }

    /// Returns what is to be shown of a session to people.
    pub(super) fn chosen(&self, history: History) -> History {
        if self.login_work {
            history
        } else {
            history.of_user()
        }
    }

    /// Says whether an event is to be shown to people.
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
