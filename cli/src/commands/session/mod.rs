//! `vctl session`

mod args;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;

use vctl_common::count::counted;
use vctl_common::session::SessionOpened;

use crate::args::Form;
use crate::context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;
use crate::local::{Local, TrustedCas};
use crate::private_file;
use crate::render::live::Live;
use crate::render::{
    Layout, Screen, found, header, html, json, notice, records, table, timeline, tree,
};
use crate::source::{Follow as _, Source};
use crate::store::Store;
use crate::view::grep::Pattern;
use crate::view::{Filter, Selector, Update};

pub(crate) use args::SessionArgs;

pub(crate) fn run(args: &SessionArgs, globals: &Globals) -> Result<(), Stop> {
    if !args.local {
        return context::run(globals, async |context| {
            run_on(args, Store::new(context)?).await
        })
        .map_err(or_locally);
    }
    let trusted = TrustedCas::new(args.trusted_ca_keys.clone());
    let local = Local::open(&args.spool, Rc::new(trusted))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    runtime.block_on(run_on(args, local))
}

async fn run_on(args: &SessionArgs, mut source: impl Source) -> Result<(), Stop> {
    let form = args.form()?;
    let mut screen = if form.is_for_people() {
        Screen::for_people()
    } else {
        Screen::for_programs()
    };
    let filter = args.filter();
    if args.follow {
        return follow(args, form, &filter, source, &mut screen).await;
    }
    let shown = match (&args.grep, args.selector) {
        (Some(grep), _) => search(args, form, &filter, grep, &mut source, &mut screen).await,
        (None, None) => list(args, form, &filter, &mut source, &mut screen).await,
        (None, Some(selector)) => {
            show(args, form, selector, &filter, &mut source, &mut screen).await
        }
    };
    screen.flush()?;
    write_notes(source.take_notes());
    shown
}

/// Also beside an error: a note may be its reason.
fn write_notes(notes: Vec<String>) {
    for note in notes {
        notice::note(&note);
    }
}

/// What is not configured on a host can still be read there.
fn or_locally(stop: Stop) -> Stop {
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
                    "{hint}or add `--local` to read what this host recorded itself"
                ))
                .into()
        }
        other => other,
    }
}

async fn list(
    args: &SessionArgs,
    form: Form,
    filter: &Filter,
    source: &mut impl Source,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let listed = source.list(filter, args.limit).await?;
    if !form.is_for_people() {
        return Ok(records::write(screen, form, &json::Sessions, &listed)?);
    }
    if listed.is_empty() {
        nothing(source, filter);
        return Ok(());
    }
    let layout = screen.layout(args.full);
    Ok(table::write(screen, &listed, form == Form::Wide, layout)?)
}

async fn search(
    args: &SessionArgs,
    form: Form,
    filter: &Filter,
    grep: &str,
    source: &mut impl Source,
    screen: &mut Screen,
) -> Result<(), Stop> {
    if grep.is_empty() {
        let error = CliError::new(Exit::Usage, "`--grep` is empty");
        return Err(error
            .hint("`vctl session` without it lists all sessions")
            .into());
    }
    let pattern = Pattern::new(grep);
    let matches = source
        .grep(args.selector, filter, &pattern, args.limit)
        .await?;
    if !form.is_for_people() {
        return Ok(json::write_matches(screen, form, &matches)?);
    }
    if matches.is_empty() {
        notice::note("no program like that was started in these sessions");
    }
    let layout = screen.layout(args.full || form == Form::Wide);
    Ok(found::write(screen, &matches, layout)?)
}

async fn show(
    args: &SessionArgs,
    form: Form,
    selector: Selector,
    filter: &Filter,
    source: &mut impl Source,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut sessions = find(selector, filter, source).await?;
    if let Some(file) = &args.html {
        let layout = screen.layout(args.full || form == Form::Wide);
        return page(selector, &sessions, source, file, layout).await;
    }
    // Read like a log: what came first stands first.
    sessions.reverse();
    if !form.is_for_people() {
        let mut histories = Vec::with_capacity(sessions.len());
        for found in &sessions {
            histories.push(source.history(found).await?);
        }
        return Ok(json::write_histories(screen, form, &histories)?);
    }
    let layout = screen.layout(args.full || form == Form::Wide);
    for (index, found) in sessions.iter().enumerate() {
        if index > 0 {
            writeln!(screen)?;
        }
        let history = source.history(found).await?;
        if args.tree {
            tree::write(screen, &history, layout)?;
        } else {
            timeline::write(screen, &history, layout)?;
        }
    }
    Ok(())
}

async fn page<S: Source>(
    selector: Selector,
    sessions: &[S::Found],
    source: &mut S,
    file: &Path,
    layout: Layout,
) -> Result<(), Stop> {
    let [found] = sessions else {
        let ids: Vec<String> = sessions
            .iter()
            .map(|found| S::opened(found).id.to_string())
            .collect();
        let message = format!(
            "a page is of one session, and {selector} has {}",
            sessions.len()
        );
        let hint = format!("name one of them: {}", ids.join(", "));
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    };
    let history = source.history(found).await?;
    private_file::replace(file, |out| html::write(out, &history, layout)).map_err(|error| {
        let message = format!("cannot write `{}`", file.display());
        Stop::from(CliError::new(Exit::Failure, message).caused_by(&error))
    })
}

async fn follow(
    args: &SessionArgs,
    form: Form,
    filter: &Filter,
    mut source: impl Source,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut live = Live::new(screen.layout(args.full || form == Form::Wide));
    let found = match args.selector {
        Some(selector) => find(selector, filter, &mut source).await,
        None => Ok(Vec::new()),
    };
    write_notes(source.take_notes());
    let found = found?;
    let mut follower = source.follow(args.selector, &found).await?;
    loop {
        for update in &follower.wait().await? {
            match (update, !form.is_for_people()) {
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
        write_notes(follower.take_notes());
        if follower.is_over() {
            return Ok(());
        }
    }
}

/// Returns the sessions of `selector`, newest first; none is an error.
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

fn nothing(source: &impl Source, filter: &Filter) {
    let like_that = if filter.is_empty() { "" } else { " like that" };
    notice::note(&format!("no session{like_that} is {}", source.place()));
}

/// A serial is a CA's own count: two CAs that use one give it to two people.
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
        "serial {serial} was given out by {} CAs, so these are different certificates:",
        by_ca.len()
    ));
    for (ca, (count, who)) in by_ca {
        let sessions = counted(count, "session");
        notice::done(&format!("  {ca}  {who}, {sessions}"));
    }
}
