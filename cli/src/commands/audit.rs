//! `vctl audit`: the access log.

use std::io::Write as _;
use std::net::IpAddr;

use crate::audit;
use crate::audit::model::{Access, AccessFilter};
use crate::centre::context;
use crate::centre::context::Context;
use crate::commands::audit_export::{self, AccessExportArgs};
use crate::commands::audit_verify::{self, VerifyArgs};
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session;
use crate::session::centre::Store;
use crate::session::model::ListedSession;
use crate::session::text::{header, table};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::moment;
use crate::ui::moment::Moment;
use crate::ui::{Screen, list_limit, notice, records, time};

/// Show the access log: which person connected to which host
///
/// One line for each connection attempt, newest first, whether or not the host accepted it. The database
/// login that wrote the row proves the person; the other columns are what the client reported. Needs the
/// Vault policy `vctl-auditor`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, help_template = TEMPLATE, before_help = "\
Examples:
  vctl audit --since 1d                     List the last day
  vctl audit --user albert --failed         List failed attempts of a person
  vctl audit --host web --detail            Add certificates, clients, sessions
  vctl audit --without-access --since 7d    List logins without a matching row
  vctl audit --follow                       Show accesses as they happen
  vctl audit -n 0 -o csv > audit.csv        Export all rows for a spreadsheet
  vctl audit export --follow                Send accesses to a SIEM
  vctl audit -o jsonl | jq                  For programs: docs/audit-json.md
  vctl audit verify --audit-log audit.log   Compare with the audit log of Vault")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,

    /// Only hosts with this text in their name
    #[arg(long, add = completion::host())]
    host: Option<String>,

    /// Only people with this text in their display name
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    /// Only connections from this address
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,

    #[arg(long, value_name = "TIME", help = format!("Only connections at this time or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only connections before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Only connections that failed or were refused
    #[arg(long, conflicts_with = "without_access")]
    failed: bool,

    /// List logins with certificates of the SSH CA that the access log does not explain: no row (signed without
    /// `vctl ssh`, or the row is lost), or a row, certificate or session that contradicts the login
    #[arg(long, alias = "unasked", conflicts_with = "detail")]
    without_access: bool,

    /// Print each access with all fields: client, serial, command, error, sessions
    #[arg(long)]
    detail: bool,

    /// Show accesses as they begin and end, until Ctrl-C; with --since also the earlier ones
    #[arg(long, short, conflicts_with_all = ["without_access", "detail", "limit"])]
    follow: bool,

    /// Maximum number of entries; 0 lists all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    Export(Box<AccessExportArgs>),
    Verify(VerifyArgs),
}

pub(crate) fn run(args: &AuditArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        Some(AuditCommand::Export(args)) => return audit_export::run(args, globals),
        Some(AuditCommand::Verify(args)) => return audit_verify::run(args, globals),
        None => {}
    }
    if args.follow {
        args.ensure_can_follow()?;
        return context::run(globals, async |context: &Context| {
            audit_export::follow(args.filter(), args.output, Store::new(context)?).await
        });
    }
    context::run(globals, async |context| show(args, context).await)
}

async fn show(args: &AuditArgs, context: &Context) -> Result<(), Stop> {
    let mut store = Store::new(context)?;
    let mut screen = Screen::for_format(args.output);
    let filter = args.filter();
    if args.without_access {
        show_without_access(args, &filter, &mut store, &mut screen).await?;
    } else {
        // The entry above the limit is not shown, so it must not lengthen the time that is searched.
        let (limit, shown) = (list_limit::to_read(args.limit), args.limit);
        let found = store.accesses_and_unexplained(&filter, limit, shown);
        let (mut accesses, unexplained) = found.await?;
        let more = list_limit::cut(&mut accesses, args.limit);
        write(args, &accesses, &mut screen)?;
        if more {
            list_limit::note_older(&mut screen)?;
        }
        if accesses.is_empty() {
            notice::note("no matching entries in the access log");
        }
        match unexplained {
            Ok(Some(login)) => warn_of(&login),
            Ok(None) => {}
            // The list is complete.
            Err(Stop::Error(error)) => notice::note(&format!(
                "it is unknown whether the access log explains every login: {}",
                error.one_line()
            )),
            Err(stop) => return Err(stop),
        }
    }
    screen.flush()?;
    for note in store.take_notes() {
        notice::note(&note);
    }
    Ok(())
}

fn write(args: &AuditArgs, accesses: &[Access], screen: &mut Screen) -> Result<(), Stop> {
    if !args.output.is_for_people() {
        records::write(screen, args.output, &audit::json::Accesses, accesses)?;
    } else if !accesses.is_empty() {
        let wide = args.output == OutputFormat::Wide;
        let layout = screen.layout(wide);
        if args.detail {
            audit::table::write_detail(screen, accesses, layout)?;
        } else {
            audit::table::write(screen, accesses, wide, layout)?;
        }
    }
    Ok(())
}

/// Warns of a login that the access log does not explain.
fn warn_of(login: &ListedSession) {
    notice::note(&format!(
        "the access log does not explain a login of {} to {} at {}; `vctl audit --without-access` lists such logins",
        header::who(&login.session),
        login.session.host,
        time::seconds(login.session.opened_at()),
    ));
}

async fn show_without_access(
    args: &AuditArgs,
    filter: &AccessFilter,
    store: &mut Store,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let limit = list_limit::to_read(args.limit);
    let mut listed = store.logins_without_access(filter, limit).await?;
    let more = list_limit::cut(&mut listed, args.limit);
    if !args.output.is_for_people() {
        records::write(screen, args.output, &session::json::Sessions, &listed)?;
    } else if listed.is_empty() {
        notice::note("no logins without access: the access log explains every matching login");
    } else {
        let wide = args.output == OutputFormat::Wide;
        let layout = screen.layout(wide);
        table::write(screen, &listed, wide, layout)?;
    }
    if more {
        list_limit::note_older(screen)?;
    }
    Ok(())
}

impl AuditArgs {
    /// Refuses the formats that need the whole list.
    fn ensure_can_follow(&self) -> Result<(), CliError> {
        use OutputFormat::{Json, Jsonl};
        if self.output.is_for_people() || matches!(self.output, Json | Jsonl) {
            return Ok(());
        }
        let message = format!("`--follow` cannot be printed as `{}`", self.output.word());
        let hint = "use `table`, `wide`, `json`, `jsonl`";
        Err(CliError::new(Exit::Usage, message).hint(hint))
    }

    fn filter(&self) -> AccessFilter {
        AccessFilter {
            host: self.host.clone(),
            user: self.user.clone(),
            source_ip: self.source_ip,
            since: self.since.map(|Moment(since)| since),
            until: self.until.map(|Moment(until)| until),
            failed: self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_old_flag_unasked_still_works() {
        let command = AuditArgs::augment_args(Command::new("audit"));
        for flag in ["--without-access", "--unasked"] {
            let matches = command.clone().get_matches_from(["audit", flag]);
            let args = AuditArgs::from_arg_matches(&matches).unwrap();
            assert!(args.without_access, "{flag}");
        }
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("--without-access") && !help.contains("--unasked"));
    }
}
