//! `--grep`: sessions with the lines that match.

use std::io::{self, Write};

use super::line::{Line, Unended};
use super::{detail, header, timeline};
use crate::session::model::grep::Match;
use crate::session::model::timeline::single;
use crate::ui::{BOLD, DIM, Layout, sanitize, time};

pub(crate) fn write(out: &mut dyn Write, matches: &[Match], layout: Layout) -> io::Result<()> {
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
            let Some(entry) = single(event, session) else {
                continue;
            };
            let Some(line) = Line::of(&entry, Unended::Follows) else {
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
