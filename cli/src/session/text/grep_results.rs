//! `--grep`: sessions with the lines that match.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::line::{MissingEnd, ProcessLine};
use super::{detail, header, table, timeline};
use crate::session::model::grep::GrepMatch;
use crate::session::model::timeline::{Entry, EntryKind};
use crate::ui::{BOLD, DIM, Layout, paragraph, sanitize, time};

/// Columns before a heading's second line.
const INDENT: usize = 2;

pub(crate) fn write(out: &mut dyn Write, matches: &[GrepMatch], layout: Layout) -> io::Result<()> {
    for (index, found) in matches.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let session = &found.session;
        write_heading(out, index, matches, layout)?;
        let mut day = String::new();
        for event in &found.events {
            let entry = Entry::of_event(event, session, |_| None);
            // The end of a program has no text to search, so it is shown only in the timeline.
            if matches!(entry.kind, EntryKind::ForkEnded(_)) {
                continue;
            }
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

/// Writes which session the lines are of. On a terminal that has no room for it the id is shortened, as in lists, and
/// what still has no room stands on another line.
fn write_heading(
    out: &mut dyn Write,
    index: usize,
    matches: &[GrepMatch],
    layout: Layout,
) -> io::Result<()> {
    let session = &matches[index].session;
    let about = format!(
        "  {}  {}@{}, opened {}",
        header::who(session),
        sanitize::text(&session.opened.login_user),
        sanitize::text(&session.host),
        time::seconds(session.opened_at()),
    );
    let mut head = format!("session {}", session.opened.id);
    let width = layout.width.unwrap_or(usize::MAX);
    if head.len() + about.width() > width {
        let ids: Vec<String> = matches
            .iter()
            .map(|found| found.session.opened.id.to_string())
            .collect();
        head.truncate("session ".len() + table::distinct(index, &ids));
    }
    let lines = paragraph::lines(&format!("{head}{about}"), paragraph::room(width, INDENT));
    for (number, line) in lines.iter().enumerate() {
        match line.strip_prefix(&head) {
            Some(rest) if number == 0 => writeln!(out, "{BOLD}{head}{BOLD:#}{rest}")?,
            _ => writeln!(out, "{:INDENT$}{line}", "")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::fixture::{Login, rendered};

    fn heading(user: &str, width: Option<usize>) -> String {
        let mut history = Login::of_alice();
        user.clone_into(&mut history.session().opened.login_user);
        let found = GrepMatch {
            session: history.open().session,
            events: Vec::new(),
            more: false,
        };
        let layout = Layout { width, full: false };
        let shown = rendered(|out| write(out, &[found], layout));
        let plain = anstream::adapter::strip_str(&shown).to_string();
        let fits = |line: &str| width.is_none_or(|width| line.width() <= width);
        assert!(plain.lines().all(fits), "{plain}");
        plain
    }

    #[test]
    fn a_heading_fits_a_narrow_terminal() {
        let whole = heading("deploy", None);
        assert_eq!(whole.lines().count(), 1);
        let id = whole.split(' ').nth(1).unwrap();
        let narrow = heading("deploy", Some(80));
        assert!(
            narrow.len() < whole.len() && !narrow.contains(id),
            "{narrow}"
        );
        assert!(
            id.starts_with(narrow.split(' ').nth(1).unwrap()),
            "{narrow}"
        );
        let long = "deploy".repeat(8);
        assert!(heading(&long, Some(80)).contains(&long));
    }
}
