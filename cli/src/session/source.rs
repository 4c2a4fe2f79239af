//! Where sessions are read from: this host's own spool, or the central store.

use vctl_common::id::SessionId;
use vctl_common::session::SessionOpened;

use crate::error::Stop;
use crate::session::model::ListedSession;
use crate::session::model::grep::{Pattern, SearchResult};
use crate::session::model::{Filter, History, Prefix, Selector, Update};

pub(crate) trait Source {
    /// A session without its events, as this source stores it.
    type SessionRef;
    type Follow: Follow;

    fn opened(found: &Self::SessionRef) -> &SessionOpened;

    /// Returns the newest sessions that match, at most `limit` of them; 0 is all. `with_requests` looks up the
    /// requests for their certificates, if this source knows them.
    async fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        with_requests: bool,
    ) -> Result<Vec<ListedSession>, Stop>;

    /// Returns the sessions of `selector` that match, newest first.
    async fn find(
        &mut self,
        selector: Selector,
        filter: &Filter,
    ) -> Result<Vec<Self::SessionRef>, Stop>;

    /// Returns the ids that begin with `prefix`, at most `limit` of them.
    async fn ids_like(&mut self, prefix: Prefix, limit: usize) -> Result<Vec<SessionId>, Stop>;

    /// Reads all events of a session.
    async fn history(&mut self, found: &Self::SessionRef) -> Result<History, Stop>;

    /// Returns the newest sessions that started a program whose arguments or path contain `pattern`, at most `limit`
    /// of them; 0 is all. Counts all selected sessions whose events were deleted, also beyond the limit.
    async fn grep(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<SearchResult, Stop>;

    /// Follows the sessions in `found`, which are those of `selector`, from their beginning. Without a selector it
    /// follows every matching session that is open now or opens later, and with `since` also the earlier ones.
    async fn follow(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        found: &[Self::SessionRef],
    ) -> Result<Self::Follow, Stop>;

    /// Returns, and forgets, the notes about the data that was read since the last call.
    fn take_notes(&mut self) -> Vec<String>;

    /// Returns the error for a `selector` without a session.
    async fn not_found(&mut self, selector: Selector) -> Stop;

    /// Returns the place where sessions are looked up: `in the central store`.
    fn place(&self) -> String;
}

/// A source of updates about sessions.
pub(crate) trait Follow {
    /// Waits for updates. The first call returns at once, even without any.
    async fn wait(&mut self) -> Result<Vec<Update>, Stop>;

    /// Returns, and forgets, the notes about the data that was read since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether every followed session is closed.
    fn is_over(&self) -> bool;
}
