//! Sessions from the spool of this host's agent.
//!
//! The only module that knows the spool. It returns the types of `session::model`.

mod follow;
mod source;
mod trusted_cas;

use std::error::Error;
use std::io;
use std::path::Path;
use std::rc::Rc;

use vctl_common::spool::{
    self, Completeness, SessionRecord, SpoolReadError, SpoolReader, Timeline,
};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::model::grep::{GrepMatch, MOST_LINES, Pattern};
use crate::session::model::identity::CaTrust;
use crate::session::model::{Event, Filter, History, Identity, MissingRange, Selector, Session};

pub(crate) use trusted_cas::TrustedCas;

/// The spool as it was when it was opened.
pub(crate) struct Local {
    reader: SpoolReader,
    trusted: Rc<TrustedCas>,
}

/// A session of the spool, without its events.
pub(crate) struct SpoolSession(SessionRecord);

impl Local {
    pub(crate) fn open(dir: &Path, trusted: Rc<TrustedCas>) -> Result<Self, CliError> {
        let reader = SpoolReader::open(dir).map_err(|error| unreadable(&error))?;
        Ok(Self { reader, trusted })
    }

    /// Returns the matching sessions of `selector`, or of all without one; newest first.
    fn sessions(
        &self,
        selector: Option<Selector>,
        wanted: &Filter,
    ) -> Result<Vec<SpoolSession>, CliError> {
        let sessions = self.reader.sessions(&filter(selector));
        let sessions = sessions.map_err(|error| unreadable(&error))?;
        let matching = sessions
            .into_iter()
            .filter(|record| wanted.matches_local(&record.opened, record.opened_at()));
        Ok(matching.map(SpoolSession).collect())
    }

    /// Searches the newest sessions first; `limit` 0 is no limit.
    fn search(
        &self,
        selector: Option<Selector>,
        wanted: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<Vec<GrepMatch>, CliError> {
        let mut matches = Vec::new();
        for found in self.sessions(selector, wanted)? {
            let History {
                session,
                mut events,
                ..
            } = self.read(&found)?;
            pattern.retain(&mut events);
            if events.is_empty() {
                continue;
            }
            let more = events.len() > MOST_LINES;
            events.truncate(MOST_LINES);
            matches.push(GrepMatch {
                session,
                events,
                more,
            });
            if matches.len() == limit {
                break;
            }
        }
        Ok(matches)
    }

    /// Reads all events of a session.
    fn read(&self, found: &SpoolSession) -> Result<History, CliError> {
        let timeline = self.reader.timeline(&found.0);
        let timeline = timeline.map_err(|error| unreadable(&error))?;
        Ok(self.history(&found.0, timeline))
    }

    fn history(&self, record: &SessionRecord, timeline: Timeline) -> History {
        let ranges = match spool::completeness(record, &timeline) {
            Completeness::Complete | Completeness::StillOpen => Vec::new(),
            Completeness::Missing(ranges) => ranges,
        };
        let ranges = ranges.into_iter().map(MissingRange::from);
        History {
            session: self.session(record, ranges.collect(), timeline.events.len() as u64),
            events: timeline.events.into_iter().map(Event::from).collect(),
            left_out: 0,
            deleted: 0,
        }
    }

    fn session(
        &self,
        record: &SessionRecord,
        missing_ranges: Vec<MissingRange>,
        stored: u64,
    ) -> Session {
        let opened = &record.opened;
        let certificate = opened.auth.certificate.as_ref();
        let trust = certificate.map_or(CaTrust::Unknown, |certificate| {
            self.trusted.trust(&certificate.ca_fingerprint)
        });
        Session {
            opened: opened.clone(),
            closed: record.closed.clone(),
            host: record.host.clone(),
            boot_id: record.boot_id,
            wall: record.wall,
            closed_wall: record.closed_wall,
            stored,
            missing_ranges,
            identity: Identity::verify(opened, record.opened_at(), trust),
            provenance: None,
        }
    }
}

fn filter(selector: Option<Selector>) -> spool::Filter {
    match selector {
        None => spool::Filter::All,
        Some(Selector::Serial(serial)) => spool::Filter::Serial(serial),
        Some(Selector::Id(id)) => spool::Filter::Id(id),
    }
}

pub(crate) fn unreadable(error: &SpoolReadError) -> CliError {
    let (exit, hint) = match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => (
            Exit::Permission,
            "only root may read the spool: run the command with `sudo`",
        ),
        Some(io::ErrorKind::NotFound) => (
            Exit::NotFound,
            "run `vctl-agent check` to see whether this host records sessions; `--spool DIR` reads another \
             directory",
        ),
        _ => (
            Exit::Failure,
            "run `vctl-agent check` to check the spool of this host",
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
    fn unreadable_spool_is_an_error_with_the_remedy() {
        let error = refused(io::ErrorKind::PermissionDenied);
        assert_eq!(error.exit, Exit::Permission);
        assert!(error.hint.unwrap().contains("sudo"));
        assert_eq!(refused(io::ErrorKind::NotFound).exit, Exit::NotFound);
        assert_eq!(refused(io::ErrorKind::Other).exit, Exit::Failure);
    }
}
