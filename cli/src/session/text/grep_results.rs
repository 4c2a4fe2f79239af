//! `--grep`: sessions with the lines that match.

use std::io::{self, Write};

use super::line::{MissingEnd, ProcessLine};
use super::{detail, header, timeline};
use crate::session::model::grep::GrepMatch;
use crate::session::model::timeline::entry_of_event;
use crate::ui::{BOLD, DIM, Layout, sanitize, time};

pub(crate) fn write(out: &mut dyn Write, matches: &[GrepMatch], layout: Layout) -> io::Result<()> {
    for (index, found) in matches.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let session = &found.session;
        writeln!(
            out,
            "{BOLD}session {}{BOLD:#}  {}  {}@{}, opened {}",
            session.opened.id,
            header::who(session),
            sanitize::text(&session.opened.login_user),
            sanitize::text(&session.host),
            time::seconds(session.opened_at()),
        )?;
        let mut day = String::new();
        for event in &found.events {
            // The end of a program has no text to search, so it is shown only in the timeline.
            let Some(entry) = entry_of_event(event, session) else {
                continue;
            };
            let Some(line) = ProcessLine::of(&entry, MissingEnd::Follows) else {
                continue;
            };
            timeline::write_day(out, &mut day, event.time)?;
            line.write(out, layout)?;
            if layout.full {
                detail::write(out, &entry)?;
            }
        }
        if found.more {
            let id = session.opened.id;
            writeln!(
                out,
                "{DIM}more lines match: run `vctl session {id}` to see all{DIM:#}"
            )?;
        }
    }
    Ok(())
}
