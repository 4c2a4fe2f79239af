//! The central store as a source of sessions.

use vctl_common::count::{counted, form};
use vctl_common::id::SessionId;
use vctl_common::session::SessionOpened;

use super::{Follow, Store, StoredSession};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session::model::ListedSession;
use crate::session::model::grep::{Pattern, SearchResult};
use crate::session::model::{Filter, History, Prefix, Selector};
use crate::session::source::Source;

impl Source for Store {
    type SessionRef = StoredSession;
    type Follow = Follow;

    fn opened(found: &StoredSession) -> &SessionOpened {
        found.opened()
    }

    async fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        with_requests: bool,
    ) -> Result<Vec<ListedSession>, Stop> {
        let found = self.sessions(None, filter, limit, with_requests).await?;
        let listed: Vec<ListedSession> = found.iter().map(StoredSession::listed).collect();
        self.recent.change(|recent| {
            let sessions = listed.iter().map(|listed| &listed.session);
            recent.record_sessions(sessions.clone().flat_map(|session| {
                let opened = &session.opened;
                let certificate = opened.auth.certificate.as_ref();
                let serial = certificate.and_then(|certificate| certificate.serial);
                let serial = serial.map(|serial| serial.to_string());
                serial.into_iter().chain([opened.id.to_string()])
            }));
            let people = sessions.filter_map(|session| session.person());
            recent.record_people(people.map(|person| person.name().to_owned()));
        });
        Ok(listed)
    }

    async fn find(
        &mut self,
        selector: Selector,
        filter: &Filter,
    ) -> Result<Vec<StoredSession>, Stop> {
        self.sessions(Some(selector), filter, 0, true).await
    }

    async fn ids_like(&mut self, prefix: Prefix, limit: usize) -> Result<Vec<SessionId>, Stop> {
        Store::ids_like(self, prefix, limit).await
    }

    async fn history(&mut self, found: &StoredSession) -> Result<History, Stop> {
        self.read(found).await
    }

    async fn grep(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<SearchResult, Stop> {
        self.search(selector, filter, pattern, limit).await
    }

    async fn follow(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        found: &[StoredSession],
    ) -> Result<Follow, Stop> {
        Ok(self.following(selector, filter, found))
    }

    fn take_notes(&mut self) -> Vec<String> {
        Store::take_notes(self)
    }

    async fn not_found(&mut self, selector: Selector) -> Stop {
        // The sessions exist: the notes name the reason why they cannot be shown.
        if self.unreadable_rows > 0 {
            let count = counted(self.unreadable_rows, "session");
            let are = form(self.unreadable_rows, "is", "are");
            let what =
                format!("{count} of {selector} {are} in the central store, but cannot be shown");
            let hint = "their hosts may run a newer agent: update `vctl`";
            return CliError::new(Exit::Failure, what).hint(hint).into();
        }
        let what = format!("no session of {selector} is in the central store");
        if let Selector::Id(id) = selector {
            match self.lacks_opening(id).await {
                Err(stop) => return stop,
                Ok(false) => {}
                Ok(true) => {
                    let what = format!(
                        "events of session {id} are stored, but its opening is not, so its user is unknown"
                    );
                    let hint = "the opening may still arrive: `vctl fleet` shows how much its host has not sent yet";
                    return CliError::new(Exit::NotFound, what).hint(hint).into();
                }
            }
        }
        let hint = "to list all sessions, run `vctl session`; events that a host has not sent yet are shown there by `vctl session --local`";
        CliError::new(Exit::NotFound, what).hint(hint).into()
    }

    fn place(&self) -> String {
        "in the central store".to_owned()
    }
}
