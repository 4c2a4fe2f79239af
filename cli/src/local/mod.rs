//! Sessions from the spool of this host's agent.
//!
//! The only module that knows the spool: what leaves it are the types of `view`.

mod follow;

use std::error::Error;
use std::io;
use std::path::Path;

use vctl_common::session::SessionOpened;
use vctl_common::spool::{
    self, Completeness, Filter, SessionRecord, SpoolReadError, SpoolReader, StoredEvent, Timeline,
};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::view::{Event, History, Hole, Selector, Session};

/// The spool as it was when it was opened.
pub(crate) struct Local {
    reader: SpoolReader,
}

/// A session that was found, not read yet.
pub(crate) struct Found(SessionRecord);

impl Local {
    pub(crate) fn open(dir: &Path) -> Result<Self, CliError> {
        let reader = SpoolReader::open(dir).map_err(|error| unreadable(&error))?;
        Ok(Self { reader })
    }

    /// Returns the sessions of `selector`, without one all, newest first.
    pub(crate) fn sessions(&self, selector: Option<Selector>) -> Result<Vec<Found>, CliError> {
        let sessions = self.reader.sessions(&filter(selector));
        let sessions = sessions.map_err(|error| unreadable(&error))?;
        Ok(sessions.into_iter().map(Found).collect())
    }

    /// Reads everything that happened in a session.
    pub(crate) fn history(&self, found: &Found) -> Result<History, CliError> {
        let timeline = self.reader.timeline(&found.0);
        let timeline = timeline.map_err(|error| unreadable(&error))?;
        Ok(history(&found.0, timeline))
    }
}

impl Found {
    pub(crate) fn opened(&self) -> &SessionOpened {
        &self.0.opened
    }
}

fn filter(selector: Option<Selector>) -> Filter {
    match selector {
        None => Filter::All,
        Some(Selector::Serial(serial)) => Filter::Serial(serial),
        Some(Selector::Id(id)) => Filter::Id(id),
    }
}

fn history(record: &SessionRecord, timeline: Timeline) -> History {
    let holes = match spool::completeness(record, &timeline) {
        Completeness::Complete | Completeness::StillOpen => Vec::new(),
        Completeness::Missing(holes) => holes,
    };
    let holes = holes.into_iter().map(|hole| Hole {
        events: hole.count,
        cause: hole.cause,
        from: hole.from,
        to: hole.to,
    });
    History {
        session: session(record, holes.collect(), timeline.events.len() as u64),
        events: timeline.events.into_iter().map(event).collect(),
    }
}

fn session(record: &SessionRecord, holes: Vec<Hole>, stored: u64) -> Session {
    Session {
        opened: record.opened.clone(),
        closed: record.closed.clone(),
        host: record.host.clone(),
        boot_id: record.boot_id,
        wall: record.wall,
        closed_wall: record.closed_wall,
        stored,
        holes,
    }
}

fn event(stored: StoredEvent) -> Event {
    Event {
        time: stored.wall,
        event: stored.event,
    }
}

pub(super) fn unreadable(error: &SpoolReadError) -> CliError {
    let (exit, hint) = match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => (
            Exit::Permission,
            "only root may read what was recorded: run it with `sudo`",
        ),
        Some(io::ErrorKind::NotFound) => (
            Exit::NotFound,
            "`vctl-agent check` tells whether this host records sessions; `--spool DIR` reads \
             another directory",
        ),
        _ => (
            Exit::Failure,
            "`vctl-agent check` looks at the spool of this host",
        ),
    };
    CliError::new(exit, "cannot read the spool")
        .caused_by(error)
        .hint(hint)
}

fn io_kind(error: &SpoolReadError) -> Option<io::ErrorKind> {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: io::ErrorKind) -> CliError {
        unreadable(&SpoolReadError::Read {
            path: "/spool".into(),
            source: kind.into(),
        })
    }

    #[test]
    fn who_may_not_read_the_spool_is_told_so() {
        let error = refused(io::ErrorKind::PermissionDenied);
        assert_eq!(error.exit, Exit::Permission);
        assert!(error.hint.unwrap().contains("sudo"));
        assert_eq!(refused(io::ErrorKind::NotFound).exit, Exit::NotFound);
        assert_eq!(refused(io::ErrorKind::Other).exit, Exit::Failure);
    }
}
