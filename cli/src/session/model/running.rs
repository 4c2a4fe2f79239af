//! A session that runs now, as far as its host has reported.

use std::time::{Duration, SystemTime};

use super::{Event, ListedSession};

/// A session without an end, and the last sign of its host.
#[derive(Debug)]
pub(crate) struct RunningSession {
    pub(crate) listed: ListedSession,
    /// The last program that the user started.
    pub(crate) last_command: Option<Event>,
    /// Time since the last sign of the host in the session's boot; `None` if there was none.
    pub(crate) host_seen: Option<Duration>,
}

/// Time without a sign after which it is unknown whether a session still runs. An agent with an open session asks for
/// requests every few seconds, or every few minutes while the centre is crowded.
pub(crate) const SILENT_AFTER: Duration = Duration::from_mins(10);

impl RunningSession {
    /// Returns whether the host is silent, so that the session may have ended.
    pub(crate) fn is_silent(&self) -> bool {
        self.host_seen.is_none_or(|seen| seen > SILENT_AFTER)
    }

    /// Returns the time since the session opened.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let opened = self.listed.session.opened_at();
        now.duration_since(opened).unwrap_or_default()
    }
}
