//! `--follow`: events as they arrive. Printed lines cannot change, so a program is two lines: its start and its end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use vctl_common::event::EventKind;
use vctl_common::id::{ProcessId, SessionId};
use vctl_common::time::BootNs;

use super::line::{MissingEnd, ProcessLine, command};
use super::{detail, header, timeline};
use crate::session::model::timeline::Entry;
use crate::session::model::{Event, MissingRange, Session};
use crate::ui::{DIM, Layout, WARN};

/// State of the live view.
#[derive(Debug, Default)]
pub(crate) struct Live {
    layout: Layout,
    day: String,
    /// Session of the last line. A line of another session is preceded by that session's name.
    shown: Option<SessionId>,
    /// The current program of each process, removed when it exits.
    running: HashMap<(SessionId, ProcessId), Running>,
}

#[derive(Debug)]
struct Running {
    command: String,
    since: BootNs,
    euid: u32,
}

impl Live {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            ..Self::default()
        }
    }

    /// Writes the header of a session; `late` is the time from its opening to its arrival, if that was late.
    pub(crate) fn opened(
        &mut self,
        out: &mut dyn Write,
        session: &Session,
        late: Option<Duration>,
    ) -> io::Result<()> {
        self.shown = Some(session.opened.id);
        self.day.clear();
        header::write_opening(out, session, self.layout)?;
        late.map_or(Ok(()), |late| header::write_late(out, late))
    }

    pub(crate) fn event(
        &mut self,
        out: &mut dyn Write,
        session: &Session,
        event: &Event,
    ) -> io::Result<()> {
        let id = session.opened.id;
        let key = (id, event.event.process);
        let entry = Entry::of_event(event, session, |process| {
            Some(self.running.get(&(id, process))?.euid)
        });
        let mut ended = None;
        match &event.event.kind {
            EventKind::Exec(exec) => {
                let running = Running {
                    command: command(exec),
                    since: event.event.at,
                    euid: exec.euid,
                };
                self.running.insert(key, running);
            }
            EventKind::Exit(_) => ended = self.running.remove(&key),
            EventKind::ExecFailed { .. } | EventKind::CgroupMove(_) => {}
        }
        if ended.is_none() && !self.layout.full && !entry.is_essential() {
            return Ok(());
        }
        let Some(mut line) = ProcessLine::of(&entry, MissingEnd::Follows) else {
            return Ok(());
        };
        if let Some(Running { command, since, .. }) = ended {
            line.duration = Some(event.event.at.since(since));
            line.what = command;
        }
        self.announce_session(out, session)?;
        timeline::write_day(out, &mut self.day, event.time)?;
        line.write(out, self.layout)?;
        if self.layout.full {
            detail::write(out, &entry)?;
        }
        Ok(())
    }

    pub(crate) fn missing(
        &mut self,
        out: &mut dyn Write,
        session: &Session,
        range: &MissingRange,
    ) -> io::Result<()> {
        self.announce_session(out, session)?;
        writeln!(
            out,
            "{WARN}-- {} --{WARN:#}",
            header::missing_range(range, session)
        )
    }

    pub(crate) fn closed(&mut self, out: &mut dyn Write, session: &Session) -> io::Result<()> {
        self.running.retain(|(id, _), _| *id != session.opened.id);
        self.announce_session(out, session)?;
        let lasted = session.duration().unwrap_or(Duration::ZERO);
        let lasted = crate::ui::time::duration(lasted);
        write!(out, "{DIM}closed after {lasted}{DIM:#}, ")?;
        header::write_footer(out, session, 0)
    }

    fn announce_session(&mut self, out: &mut dyn Write, session: &Session) -> io::Result<()> {
        let id = session.opened.id;
        if self.shown.replace(id).is_some_and(|shown| shown == id) {
            return Ok(());
        }
        let who = header::who(session);
        writeln!(out, "{DIM}session {id} ({who}){DIM:#}")
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::session::GapCause;

    use super::*;
    use crate::fixture::{LEADER, Login, assert_golden, rendered, session_id};
    use crate::session::model::History;

    fn follow(histories: &[&History]) -> String {
        let mut live = Live::new(Layout::default());
        rendered(|out| {
            for history in histories {
                live.opened(out, &history.session, None)?;
            }
            // Alternating, as events of several users arrive.
            let longest = histories.iter().map(|history| history.events.len()).max();
            for index in 0..longest.unwrap_or(0) {
                for history in histories {
                    if let Some(event) = history.events.get(index) {
                        live.event(out, &history.session, event)?;
                    }
                }
            }
            for history in histories {
                for range in &history.session.missing_ranges {
                    live.missing(out, &history.session, range)?;
                }
                live.closed(out, &history.session)?;
            }
            Ok(())
        })
    }

    #[test]
    fn program_is_two_lines_its_start_and_its_end() {
        let history = Login::of_alice()
            .exec(4102, 4101, &["-bash"])
            .after_ms(40)
            .exec_with(4103, 4102, &["sudo", "id"], |exec| exec.euid = 0)
            .after_ms(40)
            .exit(4104, 4102, 0)
            .exit(4103, 4102, 1)
            .lost(2, 10, GapCause::RingFull)
            .killed(4102, 4101, 1)
            .exit(4101, LEADER, 0)
            .closed();
        assert_golden("live.txt", &follow(&[&history]));
    }

    #[test]
    fn line_is_always_below_its_own_session() {
        let alice = Login::of_alice()
            .exec(4102, 4101, &["vi"])
            .exec(4103, 4101, &["w"]);
        let mut bob = Login::of_alice()
            .exec(5102, 5101, &["ls"])
            .exec(5103, 5101, &["df"]);
        let opened = &mut bob.session().opened;
        opened.id = session_id("0193f3a1-7c4e-7d61-9f0a-000000000002");
        opened.auth.certificate.as_mut().unwrap().key_id = "bob@example.org".to_owned();
        assert_golden("live-two.txt", &follow(&[&alice.closed(), &bob.closed()]));
    }
}
