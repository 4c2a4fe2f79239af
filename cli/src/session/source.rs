//! Where sessions are read from: this host's own spool, or the central store.

use vctl_common::id::SessionId;
use vctl_common::session::SessionOpened;

use crate::error::Stop;
use crate::session::model::grep::{Match, Pattern};
use crate::session::model::{Filter, History, Prefix, Selector, Update};
use crate::session::text::table::Listed;

pub(crate) trait Source {
    /// A session that was found, not read yet.
    type Found;
    type Follow: Follow;

    fn opened(found: &Self::Found) -> &SessionOpened;

    /// Returns the newest sessions that match, at most `limit` of them; 0 is all. `with_requests` looks up the
    /// requests for their certificates, where these are known.
    async fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        with_requests: bool,
    ) -> Result<Vec<Listed>, Stop>;

    /// Returns the sessions of `selector` that match, newest first.
    async fn find(&mut self, selector: Selector, filter: &Filter)
    -> Result<Vec<Self::Found>, Stop>;

    /// Returns the ids that begin so, at most `limit` of them.
    async fn ids_like(&mut self, prefix: Prefix, limit: usize) -> Result<Vec<SessionId>, Stop>;

    /// Reads everything that happened in a session.
    async fn history(&mut self, found: &Self::Found) -> Result<History, Stop>;

    /// Returns the newest sessions in which a program with these bytes was started, at most `limit`
    /// of them; 0 is all.
    async fn grep(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<Vec<Match>, Stop>;

    /// Follows the sessions of `selector`, which are `found`, from their beginning; without one all that
    /// match: those that are open from now on, or from `since` all.
    async fn follow(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        found: &[Self::Found],
    ) -> Result<Self::Follow, Stop>;

    /// Returns what else is to be said of what was read since the last call.
    fn take_notes(&mut self) -> Vec<String>;

    /// Returns why there is no session of `selector`.
    async fn not_found(&mut self, selector: Selector) -> Stop;

    /// Returns where sessions are looked for: `in the central store`.
    fn place(&self) -> String;
}

/// Sessions as they go on.
pub(crate) trait Follow {
    /// Waits for news. The first call returns at once, also without any.
    async fn wait(&mut self) -> Result<Vec<Update>, Stop>;

    /// Returns what else is to be said of what was read since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Says whether every followed session is closed.
    fn is_over(&self) -> bool;
}
