//! `vctl session`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use crate::args::TEMPLATE;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::local::{Found, Local};
use crate::render::live::Live;
use crate::render::table::Listed;
use crate::render::{Screen, header, json, notice, sanitize, table, timeline, tree};
use crate::view::{Selector, Update};

/// Show what was done inside SSH sessions
///
/// Without a serial or session id, lists the sessions, newest first.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl session --local                    List the sessions recorded on this host
  vctl session --local 7341               Timeline of every session of certificate 7341
  vctl session --local 0193f3a1-...       Timeline of one session
  vctl session --local 7341 --tree        Processes with their children, durations, results
  vctl session --local 7341 --follow      Events as they happen, until the session closes
  vctl session --local 7341 --json | jq   Everything, for programs (docs/session-json.md)")]
pub(crate) struct SessionArgs {
    /// Certificate serial, or session id, as `--list` prints them
    #[arg(value_name = "SERIAL|SESSION ID")]
    selector: Option<Selector>,

    /// List sessions; the default when none is named
    #[arg(long, conflicts_with = "selector")]
    list: bool,

    /// Read this host's own spool instead of the central store
    #[arg(long)]
    local: bool,

    /// Directory of the spool
    #[arg(
        long,
        value_name = "DIR",
        env = "VCTL_SPOOL_DIR",
        default_value = "/var/lib/vctl/spool"
    )]
    spool: PathBuf,

    /// Show processes below the process that started them
    #[arg(long, requires = "selector", conflicts_with_all = ["json", "follow"])]
    tree: bool,

    /// Show events as they happen: of one session until it closes, without one of all
    #[arg(long, short, conflicts_with = "list")]
    follow: bool,

    /// Print JSON; with `--follow` one object a line
    #[arg(long)]
    json: bool,

    /// Cut nothing, and show every recorded field and every process
    #[arg(long)]
    full: bool,

    /// List at most this many sessions; 0 lists all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, conflicts_with_all = ["selector", "follow"])]
    limit: usize,
}

pub(crate) fn run(args: &SessionArgs) -> Result<(), Stop> {
    if !args.local {
        let error = CliError::new(Exit::Failure, "no central store of sessions is configured");
        return Err(error
            .hint("to read what this host recorded itself, add `--local`")
            .into());
    }
    let store = Local::open(&args.spool)?;
    let mut screen = if args.json {
        Screen::for_programs()
    } else {
        Screen::for_people()
    };
    match (args.selector, args.follow) {
        (None, false) => list(args, &store, &mut screen)?,
        (Some(selector), false) => show(args, selector, &store, &mut screen)?,
        (selector, true) => follow(args, selector, &store, &mut screen)?,
    }
    Ok(screen.flush()?)
}

fn list(args: &SessionArgs, store: &Local, screen: &mut Screen) -> Result<(), Stop> {
    let mut sessions = store.sessions(None)?;
    if args.limit > 0 {
        sessions.truncate(args.limit);
    }
    let mut listed = Vec::with_capacity(sessions.len());
    for found in &sessions {
        // One at a time, so that a list holds no more than one session's events in memory.
        let history = store.history(found)?;
        listed.push(Listed {
            commands: history.commands(),
            session: history.session,
        });
    }
    if args.json {
        let sessions = listed.iter().map(|l| (&l.session, l.commands));
        return Ok(json::write_list(screen, sessions)?);
    }
    if listed.is_empty() {
        notice::note(&format!(
            "no session is recorded in `{}`",
            args.spool.display()
        ));
        return Ok(());
    }
    let layout = screen.layout(args.full);
    Ok(table::write(screen, &listed, layout)?)
}

fn show(
    args: &SessionArgs,
    selector: Selector,
    store: &Local,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut sessions = store.sessions(Some(selector))?;
    if sessions.is_empty() {
        return Err(not_found(args, selector).into());
    }
    // Read like a log: what came first stands first.
    sessions.reverse();
    warn_of_several_cas(selector, &sessions);
    if args.json {
        let histories: Result<Vec<_>, _> =
            sessions.iter().map(|found| store.history(found)).collect();
        return Ok(json::write_histories(screen, &histories?)?);
    }
    let layout = screen.layout(args.full);
    for (index, found) in sessions.iter().enumerate() {
        if index > 0 {
            writeln!(screen)?;
        }
        let history = store.history(found)?;
        if args.tree {
            tree::write(screen, &history, layout)?;
        } else {
            timeline::write(screen, &history, layout)?;
        }
    }
    Ok(())
}

fn follow(
    args: &SessionArgs,
    selector: Option<Selector>,
    store: &Local,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut live = Live::new(screen.layout(args.full));
    if let Some(selector) = selector {
        let sessions = store.sessions(Some(selector))?;
        if sessions.is_empty() {
            return Err(not_found(args, selector).into());
        }
        warn_of_several_cas(selector, &sessions);
    }
    let mut follower = store.follow(selector)?;
    loop {
        let updates = follower.wait()?;
        for update in &updates {
            match (update, args.json) {
                (Update::Opened(session), false) => live.opened(screen, session)?,
                (Update::Event(session, event), false) => live.event(screen, session, event)?,
                (Update::Hole(session, hole), false) => live.hole(screen, session, hole)?,
                (Update::Closed(session), false) => live.closed(screen, session)?,
                (Update::Opened(session), true) => json::write_opened(screen, session)?,
                (Update::Event(session, event), true) => json::write_event(screen, session, event)?,
                (Update::Hole(session, hole), true) => json::write_gap(screen, session, hole)?,
                (Update::Closed(session), true) => json::write_closed(screen, session)?,
            }
        }
        // The reader waits for exactly these lines.
        screen.flush()?;
        if follower.is_over() {
            return Ok(());
        }
    }
}

fn not_found(args: &SessionArgs, selector: Selector) -> CliError {
    let dir = args.spool.display();
    CliError::new(
        Exit::NotFound,
        format!("no session of {selector} is recorded in `{dir}`"),
    )
    .hint("to see what is, run `vctl session --local --list`")
}

/// A serial is a CA's own count: two CAs that use one give it to two people.
fn warn_of_several_cas(selector: Selector, sessions: &[Found]) {
    let Selector::Serial(serial) = selector else {
        return;
    };
    let mut by_ca: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for found in sessions {
        let auth = &found.opened().auth;
        let ca = auth.certificate.as_ref().map(|c| &*c.ca_fingerprint);
        by_ca
            .entry(ca.unwrap_or_default())
            .or_insert_with(|| (0, header::who(auth)))
            .0 += 1;
    }
    if by_ca.len() < 2 {
        return;
    }
    let mut note = format!(
        "serial {serial} was given out by {} CAs, so these are different certificates:",
        by_ca.len()
    );
    for (ca, (count, who)) in by_ca {
        let plural = if count == 1 { "" } else { "s" };
        let ca = sanitize::text(ca);
        let _ = write!(note, "\n  {ca}  {who}, {count} session{plural}");
    }
    notice::note(&note);
}
