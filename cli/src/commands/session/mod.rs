//! `vctl session`

mod args;
mod end;
mod export;
mod live;
mod page;
mod search_args;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;

use vctl_common::count::counted;
use vctl_common::session::SessionOpened;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session;
use crate::session::centre::Store;
use crate::session::local::{Local, TrustedCas};
use crate::session::model::grep::{Pattern, Pruned, SearchResult};
use crate::session::model::{Filter, ListedSession, Selector, SessionName, Update};
use crate::session::source::{Follow as _, Source};
use crate::session::text::live::Live;
use crate::session::text::{grep_results, header, table, timeline, tree};
use crate::ui::format::OutputFormat;
use crate::ui::{Layout, Screen, list_limit, notice, records, sanitize};

pub(crate) use args::SessionArgs;
use args::SessionCommand;
pub(crate) use page::remove_pages;

pub(crate) fn run(args: &SessionArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        Some(SessionCommand::End(args)) => return end::run(args, globals),
        Some(SessionCommand::Export(args)) => return export::run(args, globals),
        None => {}
    }
    if args.live {
        return context::run(globals, async |context| live::run(args, context).await);
    }
    if !args.local {
        return context::run(globals, async |context| {
            run_on(args, Store::new(context)?).await
        })
        .map_err(or_locally);
    }
    let trusted = TrustedCas::new(args.trusted_ca_keys());
    let local = Local::open(&args.spool(), Rc::new(trusted))?;
    // A browser is a process that is waited for.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    runtime.block_on(run_on(args, local))
}

async fn run_on<S: Source>(args: &SessionArgs, mut source: S) -> Result<(), Stop> {
    let (format, limit) = (args.format()?, args.limit()?);
    let screen = Screen::for_format(format);
    let selector = match args.named {
        Some(named) => Some(meant(named, &mut source).await?),
        None => None,
    };
    let mut report = Report {
        args,
        format,
        limit,
        filter: args.filter(),
        source,
        screen,
    };
    if args.follow {
        return report.follow(selector).await;
    }
    let shown = match (args.search.pattern()?, selector) {
        (Some(pattern), _) => report.search(selector, pattern).await,
        (None, None) => report.list().await,
        (None, Some(selector)) => report.show(selector).await,
    };
    report.screen.flush()?;
    write_notes(report.source.take_notes());
    shown
}

/// One run of the command: its options, and where it reads from and writes to.
struct Report<'a, S> {
    args: &'a SessionArgs,
    format: OutputFormat,
    limit: usize,
    filter: Filter,
    source: S,
    screen: Screen,
}

/// Prints the notes, also after an error: a note may have its reason.
fn write_notes(notes: Vec<String>) {
    for note in notes {
        notice::note(&note);
    }
}

/// Adds `--local` to the hint: a host without a configured centre can read its own spool.
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

impl<S: Source> Report<'_, S> {
    async fn list(&mut self) -> Result<(), Stop> {
        let for_people = self.format.is_for_people();
        let limit = self.limit;
        let mut listed = self
            .source
            .list(&self.filter, list_limit::to_read(limit), !for_people)
            .await?;
        let more = list_limit::cut(&mut listed, limit);
        self.write_list(&listed)?;
        if more {
            list_limit::note_older(&mut self.screen)?;
        }
        Ok(())
    }

    fn write_list(&mut self, listed: &[ListedSession]) -> Result<(), Stop> {
        if !self.format.is_for_people() {
            let sessions = session::json::Sessions;
            let (screen, format) = (&mut self.screen, self.format);
            return Ok(records::write(screen, format, &sessions, listed)?);
        }
        if listed.is_empty() {
            nothing(&self.source, &self.filter);
            return Ok(());
        }
        let layout = self.layout();
        let wide = self.format == OutputFormat::Wide;
        Ok(table::write(&mut self.screen, listed, wide, layout)?)
    }

    async fn search(&mut self, selector: Option<Selector>, pattern: Pattern) -> Result<(), Stop> {
        let pattern = pattern.with_login_work(self.args.login_work);
        let limit = self.limit;
        let mut found = self
            .source
            .grep(selector, &self.filter, &pattern, list_limit::to_read(limit))
            .await?;
        let more = list_limit::cut(&mut found.matches, limit);
        self.write_matches(&found)?;
        if more {
            list_limit::note_older(&mut self.screen)?;
        }
        Ok(())
    }

    fn write_matches(&mut self, found: &SearchResult) -> Result<(), Stop> {
        if !self.format.is_for_people() {
            let (screen, format) = (&mut self.screen, self.format);
            return Ok(session::json::write_matches(screen, format, found)?);
        }
        if found.matches.is_empty() {
            let is_whole = found.pruned.as_ref().is_none_or(Pruned::lacks_nothing);
            notice::note(if is_whole {
                "no matching program was started in these sessions"
            } else {
                "no matching program is stored of these sessions"
            });
        }
        let layout = self.layout();
        Ok(grep_results::write(
            &mut self.screen,
            &found.matches,
            layout,
        )?)
    }

    async fn show(&mut self, selector: Selector) -> Result<(), Stop> {
        let mut sessions = find(selector, &self.filter, &mut self.source).await?;
        let layout = self.layout();
        if self.args.html.is_some() || self.args.open {
            return page::make(self.args, selector, &sessions, &mut self.source, layout).await;
        }
        // As in a log, the oldest comes first.
        sessions.reverse();
        if !self.format.is_for_people() {
            let mut histories = Vec::with_capacity(sessions.len());
            for found in &sessions {
                histories.push(self.source.history(found).await?);
            }
            let (screen, format) = (&mut self.screen, self.format);
            return Ok(session::json::write_histories(screen, format, &histories)?);
        }
        for (index, found) in sessions.iter().enumerate() {
            if index > 0 {
                writeln!(self.screen)?;
            }
            let history = self.args.for_display(self.source.history(found).await?);
            if self.args.tree {
                tree::write(&mut self.screen, &history, layout)?;
            } else {
                timeline::write(&mut self.screen, &history, layout)?;
            }
        }
        Ok(())
    }

    async fn follow(self, selector: Option<Selector>) -> Result<(), Stop> {
        let layout = self.layout();
        let Self {
            args,
            format,
            limit: _,
            filter,
            mut source,
            mut screen,
        } = self;
        let screen = &mut screen;
        let mut live = Live::new(layout);
        let found = match selector {
            Some(selector) => find(selector, &filter, &mut source).await,
            None => Ok(Vec::new()),
        };
        write_notes(source.take_notes());
        let found = found?;
        let place = source.place();
        let mut follower = source.follow(selector, &filter, &found).await?;
        let mut is_first = true;
        loop {
            let updates = follower.wait().await?;
            if std::mem::take(&mut is_first) && updates.is_empty() {
                notice::note(&waits_for(&filter, &place));
            }
            for update in &updates {
                match (update, !format.is_for_people()) {
                    (Update::Opened(session, late), false) => {
                        live.opened(screen, session, *late)?;
                    }
                    (Update::Event(_, event), false) if !args.shows(event) => {}
                    (Update::Event(session, event), false) => live.event(screen, session, event)?,
                    (Update::Missing(session, range), false) => {
                        live.missing(screen, session, range)?;
                    }
                    (Update::Closed(session), false) => live.closed(screen, session)?,
                    (Update::Opened(session, late), true) => {
                        session::json::write_opened(screen, session, *late)?;
                    }
                    (Update::Event(session, event), true) => {
                        session::json::write_event(screen, session, event)?;
                    }
                    (Update::Missing(session, range), true) => {
                        session::json::write_gap(screen, session, range)?;
                    }
                    (Update::Closed(session), true) => {
                        session::json::write_closed(screen, session)?;
                    }
                }
            }
            // The reader waits for these lines.
            screen.flush()?;
            write_notes(follower.take_notes());
            if follower.is_over() {
                return Ok(());
            }
        }
    }

    fn layout(&self) -> Layout {
        self.screen
            .layout(self.args.full || self.format == OutputFormat::Wide)
    }
}

/// Maximum number of sessions that an error about an ambiguous prefix lists.
const MOST_CANDIDATES: usize = 10;

/// Returns the sessions that a word on the command line means.
async fn meant<S: Source>(named: SessionName, source: &mut S) -> Result<Selector, Stop> {
    let prefix = match named {
        SessionName::Whole(selector) => return Ok(selector),
        SessionName::Prefix(prefix) => prefix,
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
        let message = format!("no session whose id begins with `{prefix}` is {place}");
        let hint = "`vctl session --list` lists the sessions";
        return Err(CliError::new(Exit::NotFound, message).hint(hint).into());
    }
    let several = match ids.len() {
        count @ 0..=MOST_CANDIDATES => count.to_string(),
        _ => format!("more than {MOST_CANDIDATES}"),
    };
    let message = format!("the ids of {several} sessions begin with `{prefix}`");
    let hint = format!("add digits to name one of them: {}", candidates.join(", "));
    Err(CliError::new(Exit::Usage, message).hint(hint).into())
}

/// Returns the sessions of `selector`, newest first; none is an error.
async fn find<S: Source>(
    selector: Selector,
    filter: &Filter,
    source: &mut S,
) -> Result<Vec<S::SessionRef>, Stop> {
    let found = source.find(selector, filter).await?;
    if found.is_empty() {
        return Err(source.not_found(selector).await);
    }
    let opened: Vec<_> = found.iter().map(S::opened).collect();
    warn_of_several_cas(selector, &opened);
    Ok(found)
}

fn waits_for(filter: &Filter, place: &str) -> String {
    let matching = if filter.is_empty() { "" } else { "matching " };
    format!("no {matching}session is open {place}; waiting for the next one, Ctrl-C ends")
}

fn nothing(source: &impl Source, filter: &Filter) {
    let matching = if filter.is_empty() { "" } else { "matching " };
    notice::note(&format!("no {matching}session is {}", source.place()));
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
        "{} CAs signed a certificate with serial {serial}, so these are different certificates:",
        by_ca.len()
    ));
    for (ca, (count, who)) in by_ca {
        let sessions = counted(count, "session");
        notice::done(&format!("  {ca}  {who}, {sessions}"));
    }
}
