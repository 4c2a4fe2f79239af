//! Running sessions as a table, one per line.

use std::io::{self, Write};
use std::time::SystemTime;

use vctl_common::event::EventKind;

use super::table::distinct;
use super::{header, line};
use crate::session::model::Event;
use crate::session::model::running::RunningSession;
use crate::ui::columns::Columns;
use crate::ui::{Layout, sanitize, time};

/// The session id is never dropped: `vctl session end` needs it.
const COLUMNS: Columns<7> = Columns {
    names: [
        "STARTED",
        "RUNNING",
        "WHO",
        "LOGIN",
        "PID",
        "LAST COMMAND",
        "SESSION",
    ],
    elastic: &[1, 2, 3, 5],
    spare: &[4, 0],
};

/// Longest shown command, in characters, unless nothing is to be shortened.
const LONGEST: usize = 60;

/// Writes one line per session.
pub(crate) fn write(
    out: &mut dyn Write,
    sessions: &[RunningSession],
    now: SystemTime,
    layout: Layout,
) -> io::Result<()> {
    let mut rows: Vec<[String; 7]> = sessions
        .iter()
        .map(|running| row(running, now, layout))
        .collect();
    if !COLUMNS.fits(&rows, layout) {
        let ids: Vec<String> = rows.iter().map(|[.., id]| id.clone()).collect();
        for (index, [.., id]) in rows.iter_mut().enumerate() {
            id.truncate(distinct(index, &ids));
        }
    }
    COLUMNS.write(out, &rows, layout)
}

fn row(running: &RunningSession, now: SystemTime, layout: Layout) -> [String; 7] {
    let session = &running.listed.session;
    let opened = &session.opened;
    [
        time::seconds(session.opened_at()),
        state(running, now),
        header::who(session),
        format!(
            "{}@{}",
            sanitize::text(&opened.login_user),
            sanitize::text(&session.host)
        ),
        opened.leader.tgid.to_string(),
        running
            .last_command
            .as_ref()
            .map_or_else(|| "-".to_owned(), |event| command(event, layout)),
        opened.id.to_string(),
    ]
}

/// Returns the time since the login, or the last sign of a silent host.
fn state(running: &RunningSession, now: SystemTime) -> String {
    match running.host_seen {
        _ if !running.is_silent() => time::duration(running.age(now)),
        Some(seen) => format!("unknown, last seen {} ago", time::duration(seen)),
        None => "unknown, host not seen in this boot".to_owned(),
    }
}

fn command(event: &Event, layout: Layout) -> String {
    let EventKind::Exec(exec) = &event.event.kind else {
        return "-".to_owned();
    };
    let whole = line::command(exec);
    if layout.full || whole.chars().count() <= LONGEST {
        return whole;
    }
    whole.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{Login, rendered};
    use crate::session::model::ListedSession;

    fn running(argv: &[&str], host_seen: Option<Duration>) -> RunningSession {
        let mut history = Login::of_alice().exec(4102, 4101, argv).open();
        RunningSession {
            listed: ListedSession {
                session: Login::of_alice().open().session,
                commands: 1,
            },
            last_command: history.events.pop(),
            host_seen,
        }
    }

    #[test]
    fn a_silent_host_is_stated_instead_of_a_running_time() {
        let seen = [
            Some(Duration::from_secs(4)),
            Some(Duration::from_hours(2)),
            None,
        ];
        let sessions = seen.map(|seen| running(&["make", "\u{1b}[31mall"], seen));
        let opened = sessions[0].listed.session.opened_at();
        let now = opened + Duration::from_secs(63);
        let table = rendered(|out| write(out, &sessions, now, Layout::default()));
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].contains("  1m03s  "), "{table}");
        assert!(lines[2].contains("unknown, last seen 2h00m ago"), "{table}");
        assert!(lines[3].contains("unknown, host not seen"), "{table}");
        assert!(!table.contains('\u{1b}'), "{table}");
    }

    #[test]
    fn a_long_command_is_cut_unless_nothing_is_shortened() {
        let sessions = [running(&["echo", &"x".repeat(500)], None)];
        let now = SystemTime::UNIX_EPOCH;
        let table = rendered(|out| write(out, &sessions, now, Layout::default()));
        assert!(table.contains('…') && table.len() < 500, "{table}");
        let full = Layout {
            full: true,
            ..Layout::default()
        };
        let table = rendered(|out| write(out, &sessions, now, full));
        assert!(table.len() > 500, "{table}");
    }
}
