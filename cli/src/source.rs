//! Where sessions are read from: this host's own spool, or the central store.

use std::path::Path;

use vctl_common::session::SessionOpened;

use crate::error::CliError;
use crate::local::{self, Local};
use crate::render::table::Listed;
use crate::store::{self, Store};
use crate::view::grep::{Match, Pattern};
use crate::view::{Filter, History, Selector, Update};

pub(crate) enum Source {
    Local(Local),
    Centre(Store),
}

/// A session that was found, not read yet.
pub(crate) enum Found {
    Local(local::Found),
    Centre(Box<store::Found>),
}

/// Sessions as they go on.
pub(crate) enum Follow {
    Local(local::Follow),
    Centre(store::Follow),
}

impl Source {
    pub(crate) fn local(spool: &Path) -> Result<Self, CliError> {
        Local::open(spool).map(Self::Local)
    }

    /// Returns the newest sessions that match, at most `limit` of them; 0 is all.
    pub(crate) fn list(&mut self, filter: &Filter, limit: usize) -> Result<Vec<Listed>, CliError> {
        match self {
            Self::Local(local) => {
                let mut found = local.sessions(None, filter)?;
                found.truncate(if limit > 0 { limit } else { usize::MAX });
                // One at a time, so that a list holds no more than one session's events in memory.
                let listed = found.iter().map(|found| {
                    local.history(found).map(|history| Listed {
                        commands: history.commands(),
                        session: history.session,
                    })
                });
                listed.collect()
            }
            Self::Centre(store) => {
                let found = store.sessions(None, filter, limit)?;
                Ok(found.iter().map(store::Found::listed).collect())
            }
        }
    }

    /// Returns the sessions of `selector` that match, newest first.
    pub(crate) fn find(
        &mut self,
        selector: Selector,
        filter: &Filter,
    ) -> Result<Vec<Found>, CliError> {
        Ok(match self {
            Self::Local(local) => {
                let found = local.sessions(Some(selector), filter)?;
                found.into_iter().map(Found::Local).collect()
            }
            Self::Centre(store) => {
                let found = store.sessions(Some(selector), filter, 0)?;
                let found = found.into_iter().map(Box::new);
                found.map(Found::Centre).collect()
            }
        })
    }

    /// Reads everything that happened in a session.
    pub(crate) fn history(&mut self, found: &Found) -> Result<History, CliError> {
        match (self, found) {
            (Self::Local(local), Found::Local(found)) => local.history(found),
            (Self::Centre(store), Found::Centre(found)) => store.history(found),
            (Self::Local(_), Found::Centre(_)) | (Self::Centre(_), Found::Local(_)) => {
                unreachable!("a session is read from where it was found")
            }
        }
    }

    /// Returns the newest sessions in which a program with these bytes was started.
    pub(crate) fn grep(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<Vec<Match>, CliError> {
        match self {
            Self::Local(local) => local.grep(selector, filter, pattern, limit),
            Self::Centre(store) => store.grep(selector, filter, pattern, limit),
        }
    }
}
