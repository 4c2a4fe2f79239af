//! The spool as a source of sessions.

use vctl_common::id::SessionId;
use vctl_common::session::SessionOpened;

use super::follow::Follow;
use super::{Local, SpoolSession};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session::model::ListedSession;
use crate::session::model::grep::{Pattern, SearchResult};
use crate::session::model::{Filter, History, Prefix, Selector};
use crate::session::source::Source;

/// These functions never wait: they only read files.
impl Source for Local {
    type SessionRef = SpoolSession;
    type Follow = Follow;

    fn opened(found: &SpoolSession) -> &SessionOpened {
        &found.0.opened
    }

    async fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        _: bool,
    ) -> Result<Vec<ListedSession>, Stop> {
        let mut found = self.sessions(None, filter)?;
        found.truncate(if limit > 0 { limit } else { usize::MAX });
        let mut listed = Vec::with_capacity(found.len());
        for found in &found {
            // One at a time, so that memory holds the events of only one session.
            let history = self.read(found)?;
            listed.push(ListedSession {
                commands: history.commands(),
                session: history.session,
            });
        }
        Ok(listed)
    }

    async fn find(
        &mut self,
        selector: Selector,
        filter: &Filter,
    ) -> Result<Vec<SpoolSession>, Stop> {
        Ok(self.sessions(Some(selector), filter)?)
    }

    async fn ids_like(&mut self, prefix: Prefix, limit: usize) -> Result<Vec<SessionId>, Stop> {
        let all = self.sessions(None, &Filter::default())?;
        let ids = all.iter().map(|found| found.0.opened.id);
        Ok(ids.filter(|id| prefix.matches(*id)).take(limit).collect())
    }

    async fn history(&mut self, found: &SpoolSession) -> Result<History, Stop> {
        Ok(self.read(found)?)
    }

    async fn grep(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<SearchResult, Stop> {
        Ok(SearchResult {
            matches: self.search(selector, filter, pattern, limit)?,
            // A spool that drops events writes a gap.
            pruned: None,
        })
    }

    async fn follow(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        _: &[SpoolSession],
    ) -> Result<Follow, Stop> {
        Ok(self.following(selector, filter)?)
    }

    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    async fn not_found(&mut self, selector: Selector) -> Stop {
        let dir = self.reader.dir().display();
        let what = format!("no session of {selector} is recorded in `{dir}`");
        let hint = "to list the recorded sessions, run `vctl session --local --list`";
        CliError::new(Exit::NotFound, what).hint(hint).into()
    }

    fn place(&self) -> String {
        format!("recorded in `{}`", self.reader.dir().display())
    }
}
