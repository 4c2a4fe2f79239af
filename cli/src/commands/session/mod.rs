//! `vctl session`: lists, searches, shows and follows sessions.

mod args;
mod page;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;

use vctl_common::count::counted;
use vctl_common::session::SessionOpened;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session;
use crate::session::centre::Store;
use crate::session::local::{Local, TrustedCas};
use crate::session::model::grep::Pattern;
use crate::session::model::{Filter, Named, Selector, Update};
use crate::session::source::{Follow as _, Source};
use crate::session::text::live::Live;
use crate::session::text::{grep_results, header, table, timeline, tree};
use crate::ui::format::OutputFormat;
use crate::ui::{Layout, Screen, notice, records, sanitize};

pub(crate) use args::SessionArgs;

pub(crate) fn run(args: &SessionArgs, globals: &Globals) -> Result<(), Stop> {
    if !args.local {
        return context::run(globals, async |context| {
            run_on(args, Store::new(context)?).await
        })
        .map_err(suggest_local);
    }
    let trusted = TrustedCas::new(args.trusted_ca_keys.clone());
    let local = Local::open(&args.spool, Rc::new(trusted))?;
    // The runtime waits for the browser of `--open`.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    runtime.block_on(run_on(args, local))
}

/// One run of the command: its arguments, where sessions come from, and where the output goes.
struct View<'a, S> {
    args: &'a SessionArgs,
    format: OutputFormat,
    filter: Filter,
    source: S,
    screen: Screen,
}

impl<S> View<'_, S> {
    fn layout(&self) -> Layout {
        let wide = self.format == OutputFormat::Wide;
        self.screen.layout(self.args.full || wide)
    }
}

async fn run_on(args: &SessionArgs, mut source: impl Source) -> Result<(), Stop> {
    let format = args.format()?;
    let selector = match args.named {
        Some(named) => Some(resolve_named(named, &mut source).await?),
        None => None,
    };
    let mut view = View {
        args,
        format,
        filter: args.filter(),
        source,
        screen: Screen::for_format(format),
    };
    if args.follow {
        return follow(view, selector).await;
    }
    let shown = match (&args.grep, selector) {
        (Some(grep), _) => search(&mut view, selector, grep).await,
        (None, None) => list(&mut view).await,
        (None, Some(selector)) => show(&mut view, selector).await,
    };
    view.screen.flush()?;
    write_notes(view.source.take_notes());
    shown
}

/// Prints the notes of a source. They are also printed with an error, because a note may be its reason.
fn write_notes(notes: Vec<String>) {
    for note in notes {
        notice::note(&note);
    }
}

/// Adds a hint to an error of the central store: the records of this host can be read without it.
fn suggest_local(stop: Stop) -> Stop {
    match stop {
        Stop::Error(error)
            if matches!(
                error.exit,
                Exit::Config | Exit::Permission | Exit::Unavailable
            ) =>
        {
            let hint = error
                .hint
                .as_deref()
                .map(|hint| format!("{hint}; "))
                .unwrap_or_default();
            error
                .hint(format!(
                    "{hint}or use `--local` to read the records of this host"
                ))
                .into()
        }
        other => other,
    }
}

async fn list(view: &mut View<'_, impl Source>) -> Result<(), Stop> {
    let format = view.format;
    let is_complete = !format.is_for_people();
    let listed = view.source.list(&view.filter, view.args.limit, is_complete);
    let listed = listed.await?;
    if !format.is_for_people() {
        let screen = &mut view.screen;
        return Ok(records::write(
            screen,
            format,
            &session::json::Sessions,
            &listed,
        )?);
    }
    if listed.is_empty() {
        note_nothing_found(&view.source, &view.filter);
        return Ok(());
    }
    let layout = view.layout();
    let wide = format == OutputFormat::Wide;
    Ok(table::write(&mut view.screen, &listed, wide, layout)?)
}

async fn search(
    view: &mut View<'_, impl Source>,
    selector: Option<Selector>,
    grep: &str,
) -> Result<(), Stop> {
    if grep.is_empty() {
        let error = CliError::new(Exit::Usage, "`--grep` is empty");
        let hint = "`vctl session` without `--grep` lists all sessions";
        return Err(error.hint(hint).into());
    }
    let args = view.args;
    let pattern = Pattern::new(grep).with_login_work(args.login_work);
    let matches = view
        .source
        .grep(selector, &view.filter, &pattern, args.limit)
        .await?;
    if !view.format.is_for_people() {
        return Ok(session::json::write_matches(
            &mut view.screen,
            view.format,
            &matches,
        )?);
    }
    if matches.is_empty() {
        notice::note("no matching program was started in these sessions");
    }
    let layout = view.layout();
    Ok(grep_results::write(&mut view.screen, &matches, layout)?)
}

async fn show(view: &mut View<'_, impl Source>, selector: Selector) -> Result<(), Stop> {
    let (args, format, layout) = (view.args, view.format, view.layout());
    let (source, screen) = (&mut view.source, &mut view.screen);
    let mut sessions = find(selector, &view.filter, source).await?;
    if args.html.is_some() || args.open {
        return page::make(args, selector, &sessions, source, layout).await;
    }
    // The oldest session comes first, as in a log.
    sessions.reverse();
    if !format.is_for_people() {
        let mut histories = Vec::with_capacity(sessions.len());
        for found in &sessions {
            histories.push(source.history(found).await?);
        }
        return Ok(session::json::write_histories(screen, format, &histories)?);
    }
    for (index, found) in sessions.iter().enumerate() {
        if index > 0 {
            writeln!(screen)?;
        }
        let history = args.for_display(source.history(found).await?);
        if args.tree {
            tree::write(screen, &history, layout)?;
        } else {
            timeline::write(screen, &history, layout)?;
        }
    }
    Ok(())
}

async fn follow(view: View<'_, impl Source>, selector: Option<Selector>) -> Result<(), Stop> {
    let mut live = Live::new(view.layout());
    let View {
        args,
        format,
        filter,
        mut source,
        mut screen,
    } = view;
    let (filter, screen) = (&filter, &mut screen);
    let found = match selector {
        Some(selector) => find(selector, filter, &mut source).await,
        None => Ok(Vec::new()),
    };
    write_notes(source.take_notes());
    let found = found?;
    let place = source.place();
    let mut follower = source.follow(selector, filter, &found).await?;
    let mut is_first = true;
    loop {
        let updates = follower.wait().await?;
        if std::mem::take(&mut is_first) && updates.is_empty() {
            notice::note(&waiting_note(filter, &place));
        }
        for update in &updates {
            match (update, !format.is_for_people()) {
                (Update::Opened(session, late), false) => live.opened(screen, session, *late)?,
                (Update::Event(_, event), false) if !args.shows(event) => {}
                (Update::Event(session, event), false) => live.event(screen, session, event)?,
                (Update::Hole(session, hole), false) => live.hole(screen, session, hole)?,
                (Update::Closed(session), false) => live.closed(screen, session)?,
                (Update::Opened(session, late), true) => {
                    session::json::write_opened(screen, session, *late)?;
                }
                (Update::Event(session, event), true) => {
                    session::json::write_event(screen, session, event)?;
                }
                (Update::Hole(session, hole), true) => {
                    session::json::write_gap(screen, session, hole)?;
                }
                (Update::Closed(session), true) => session::json::write_closed(screen, session)?,
            }
        }
        // A reader waits for these lines.
        screen.flush()?;
        write_notes(follower.take_notes());
        if follower.is_over() {
            return Ok(());
        }
    }
}

/// Maximum number of sessions in an error about an ambiguous id.
const MOST_CANDIDATES: usize = 10;

/// Returns the selector for a serial or session id of the command line.
async fn resolve_named<S: Source>(named: Named, source: &mut S) -> Result<Selector, Stop> {
    let prefix = match named {
        Named::Whole(selector) => return Ok(selector),
        Named::Begin(prefix) => prefix,
    };
    let ids = source.ids_like(prefix, MOST_CANDIDATES + 1).await?;
    if let [id] = ids[..] {
        return Ok(Selector::Id(id));
    }
    let all = Filter::default();
    let mut candidates = Vec::new();
    for id in ids.iter().take(MOST_CANDIDATES) {
        let found = source
            .find(Selector::Id(*id), &all)
            .await
            .unwrap_or_default();
        let login = found.first().map(|found| {
            let opened = S::opened(found);
            let (key_id, user) = (
                header::login_name(&opened.auth),
                sanitize::text(&opened.login_user),
            );
            format!(" ({key_id} as {user})")
        });
        candidates.push(format!("`{id}`{}", login.unwrap_or_default()));
    }
    let place = source.place();
    if candidates.is_empty() {
        let message = format!("no session id that begins with `{prefix}` is {place}");
        let hint = "`vctl session --list` lists the sessions";
        return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
    }
    let several = match ids.len() {
        count @ 0..=MOST_CANDIDATES => count.to_string(),
        _ => format!("more than {MOST_CANDIDATES}"),
    };
    let message = format!("the ids of {several} sessions begin with `{prefix}`");
    let hint = format!("add digits to select one: {}", candidates.join(", "));
    Err(CliError::new(Exit::Usage, message).hint(hint).into())
}

/// Returns the sessions of `selector`, newest first.
///
/// # Errors
/// There is no such session.
async fn find<S: Source>(
    selector: Selector,
    filter: &Filter,
    source: &mut S,
) -> Result<Vec<S::Found>, Stop> {
    let found = source.find(selector, filter).await?;
    if found.is_empty() {
        return Err(source.not_found(selector).await);
    }
    let opened: Vec<_> = found.iter().map(S::opened).collect();
    warn_of_several_cas(selector, &opened);
    Ok(found)
}

fn waiting_note(filter: &Filter, place: &str) -> String {
    let matching = if filter.is_empty() { "" } else { "matching " };
    format!("no {matching}session is open {place}; waiting for the next one, Ctrl-C ends")
}

fn note_nothing_found(source: &impl Source, filter: &Filter) {
    let matching = if filter.is_empty() { "" } else { "matching " };
    notice::note(&format!("no {matching}session is {}", source.place()));
}

/// Warns if sessions with the same serial belong to certificates of different CAs.
fn warn_of_several_cas(selector: Selector, sessions: &[&SessionOpened]) {
    let Selector::Serial(serial) = selector else {
        return;
    };
    let mut by_ca: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for opened in sessions {
        let auth = &opened.auth;
        let ca = auth.certificate.as_ref().map(|c| &*c.ca_fingerprint);
        by_ca
            .entry(ca.unwrap_or_default())
            .or_insert_with(|| (0, format!("key id {}", header::login_name(auth))))
            .0 += 1;
    }
    if by_ca.len() < 2 {
        return;
    }
    notice::note(&format!(
        "serial {serial} was used by {} CAs, so these are different certificates:",
        by_ca.len()
    ));
    for (ca, (count, who)) in by_ca {
        let sessions = counted(count, "session");
        notice::done(&format!("  {ca}  {who}, {sessions}"));
    }
}
