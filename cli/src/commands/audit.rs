//! `vctl audit`

use std::io::Write as _;
use std::net::IpAddr;

use crate::audit;
use crate::audit::model::{Access, AccessFilter};
use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::Stop;
use crate::session;
use crate::session::centre::Store;
use crate::session::text::{header, table};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::moment;
use crate::ui::moment::Moment;
use crate::ui::{Screen, notice, records, time};

/// Show who asked to be let in where
///
/// One line for each connection that was tried, newest first, whether or not the host let it in. The
/// person is proven by the database login that wrote the row; the rest is what the client said.
/// Needs the Vault policy `vctl-auditor`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl audit --since 1d                   The last day
  vctl audit --user albert --failed       What a person tried in vain
  vctl audit --host web --detail          With certificates, clients, and the sessions that came of it
  vctl audit --unasked --since 7d         Logins that no row explains, or that contradict theirs
  vctl audit -n 0 -o csv > audit.csv      Everything, for a spreadsheet
  vctl audit -o jsonl | jq                For programs (docs/audit-json.md)")]
pub(crate) struct AuditArgs {
    /// Only hosts with this in their name
    #[arg(long, add = completion::host())]
    host: Option<String>,

    /// Only people with this in their display name
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    /// Only connections from this address
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,

    #[arg(long, value_name = "TIME", help = format!("Only what was asked then or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only what was asked before
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Only what failed or was refused
    #[arg(long, conflicts_with = "unasked")]
    failed: bool,

    /// List instead the logins that the access log does not explain: with our certificates and without a
    /// row (signed past `vctl ssh`, or the row is lost), or contradicted by the row, which names another
    /// host, account, time or port, by the certificate, or by another session
    #[arg(long, conflicts_with = "detail")]
    unasked: bool,

    /// Show each access as a record, with client host and port, serial, command, error, and its sessions
    #[arg(long)]
    detail: bool,

    /// List at most this many; 0 lists all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,

    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(crate) fn run(args: &AuditArgs, globals: &Globals) -> Result<(), Stop> {
    context::run(globals, async |context| show(args, context).await)
}

async fn show(args: &AuditArgs, context: &Context) -> Result<(), Stop> {
    let mut store = Store::new(context)?;
    let mut screen = if args.output.is_for_people() {
        Screen::for_people()
    } else {
        Screen::for_programs()
    };
    let filter = args.filter();
    if args.unasked {
        unasked(args, &filter, &mut store, &mut screen).await?;
    } else {
        let accesses = store.accesses(&filter, args.limit).await?;
        write(args, &accesses, &mut screen)?;
        if accesses.is_empty() {
            notice::note("no matching entries in the access log");
        }
        if !args.failed {
            warn_of_unasked(args.limit, &filter, &accesses, &mut store).await?;
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
        let wide = args.output == Form::Wide;
        let layout = screen.layout(wide);
        if args.detail {
            audit::table::write_detail(screen, accesses, layout)?;
        } else {
            audit::table::write(screen, accesses, wide, layout)?;
        }
    }
    Ok(())
}

/// Says that the list is not all there was to it, when logins of its time are in nobody's row.
async fn warn_of_unasked(
    limit: usize,
    filter: &AccessFilter,
    accesses: &[Access],
    store: &mut Store,
) -> Result<(), Stop> {
    let shown_since = accesses.last().map(|oldest| oldest.opened_at);
    let is_cut = limit > 0 && accesses.len() == limit;
    // Only the time that is shown: the whole past would have to be searched for nothing to be found.
    let since = match filter.since {
        Some(since) if !is_cut => Some(since),
        _ => shown_since,
    };
    let Some(since) = since else {
        return Ok(());
    };
    let of_that_time = AccessFilter {
        since: Some(since),
        ..filter.clone()
    };
    if let [login, ..] = &store.unasked(&of_that_time, 1).await?[..] {
        notice::note(&format!(
            "the access log does not explain a login of {} to {} at {}; `vctl audit --unasked` lists such logins",
            header::who(&login.session),
            login.session.host,
            time::seconds(login.session.opened_at()),
        ));
    }
    Ok(())
}

async fn unasked(
    args: &AuditArgs,
    filter: &AccessFilter,
    store: &mut Store,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let listed = store.unasked(filter, args.limit).await?;
    if !args.output.is_for_people() {
        return Ok(records::write(
            screen,
            args.output,
            &session::json::Sessions,
            &listed,
        )?);
    }
    if listed.is_empty() {
        notice::note("no unrequested logins: the access log explains every matching login");
        return Ok(());
    }
    let wide = args.output == Form::Wide;
    let layout = screen.layout(wide);
    Ok(table::write(screen, &listed, wide, layout)?)
}

impl AuditArgs {
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
