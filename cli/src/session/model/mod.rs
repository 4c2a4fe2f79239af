//! A session as every source returns it and every output shows it.
//!
//! Sources are the spool and Postgres; the outputs depend on neither.

mod filter;
pub(crate) mod grep;
pub(crate) mod identity;
mod listed;
pub(crate) mod provenance;
pub(crate) mod path_search;
pub(crate) mod program_filter;
pub(crate) mod running;
mod selector;
pub(crate) mod timeline;
pub(crate) mod tree;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use vctl_common::event::{EventKind, KernelEvent};
use vctl_common::id::{BootId, CertSerial};
use vctl_common::person::Person;
use vctl_common::session::{Gap, GapCause, SessionClosed, SessionOpened, Stamp};
use vctl_common::spool::{self, StoredEvent};
use vctl_common::time::{BootNs, WallOffset};

pub(crate) use filter::Filter;
pub(crate) use identity::Identity;
pub(crate) use listed::ListedSession;
pub(crate) use provenance::Provenance;
pub(crate) use selector::{Prefix, Selector, SessionName};

/// One session without its events.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) opened: SessionOpened,
    pub(crate) closed: Option<SessionClosed>,
    /// Name of the host, as its agent reports it.
    pub(crate) host: String,
    pub(crate) boot_id: BootId,
    /// Offset of the wall clock when the session was opened.
    pub(crate) wall: WallOffset,
    /// Offset of the wall clock when it was closed, if known.
    pub(crate) closed_wall: Option<WallOffset>,
    /// Number of events that can be read.
    pub(crate) stored: u64,
    /// Missing events, by time.
    pub(crate) missing_ranges: Vec<MissingRange>,
    /// Whether its name is proven, and the reason if not.
    pub(crate) identity: Identity,
    /// Facts that only the central store knows; `None` when the session was read from a spool.
    pub(crate) provenance: Option<Provenance>,
}

/// A period with missing events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingRange {
    /// Number of missing events; `None` when unknown.
    pub(crate) events: Option<u64>,
    /// `None` when a sequence number is missing and no cause was recorded.
    pub(crate) cause: Option<GapCause>,
    pub(crate) from: BootNs,
    pub(crate) to: BootNs,
}

/// One event with its wall-clock time.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) time: SystemTime,
    pub(crate) event: KernelEvent,
}

/// A session with all its events.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
    /// Number of programs of sshd and PAM that were removed from `events`.
    pub(crate) left_out: u64,
    /// Number of stored events that were deleted after their retention period. `events` has the others.
    pub(crate) deleted: u64,
}

/// An update about a followed session.
#[derive(Debug)]
pub(crate) enum Update {
    /// With the time from its opening to its arrival, if it arrived late.
    Opened(Rc<Session>, Option<Duration>),
    Event(Rc<Session>, Event),
    Missing(Rc<Session>, MissingRange),
    Closed(Rc<Session>),
}

/// Number of events missing from a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingCount {
    /// Missing events that could be counted.
    pub(crate) counted: u64,
    /// More are missing, and their number is unknown.
    pub(crate) uncounted: bool,
}

impl History {
    /// Returns how many programs the user started.
    pub(crate) fn commands(&self) -> u64 {
        let is_users = |event: &&Event| event.is_exec() && event.event.phase.is_users();
        self.events.iter().filter(is_users).count() as u64
    }

    /// Removes the programs that sshd and PAM ran at login and logout.
    pub(crate) fn of_user(mut self) -> Self {
        let of_login = |event: &&Event| event.is_exec() && !event.event.phase.is_users();
        self.left_out += self.events.iter().filter(of_login).count() as u64;
        self.events.retain(|event| event.event.phase.is_users());
        self
    }
}

impl Event {
    fn is_exec(&self) -> bool {
        matches!(self.event.kind, EventKind::Exec(_))
    }
}

impl From<StoredEvent> for Event {
    fn from(stored: StoredEvent) -> Self {
        Self {
            time: stored.wall,
            event: stored.event,
        }
    }
}

impl From<spool::MissingRange> for MissingRange {
    fn from(range: spool::MissingRange) -> Self {
        Self {
            events: range.count,
            cause: range.cause,
            from: range.from,
            to: range.to,
        }
    }
}

impl From<&Gap> for MissingRange {
    fn from(gap: &Gap) -> Self {
        Self {
            events: gap.events,
            cause: Some(gap.cause),
            from: gap.from,
            to: gap.to,
        }
    }
}

impl Session {
    /// Returns the session as it was when it opened, for a reader that then gets each event as an update.
    pub(crate) fn beginning(self) -> Self {
        Self {
            closed: None,
            closed_wall: None,
            stored: 0,
            missing_ranges: Vec::new(),
            ..self
        }
    }

    pub(crate) fn serial(&self) -> Option<CertSerial> {
        self.opened.auth.certificate.as_ref()?.serial
    }

    /// Returns the person named by a certificate of our own CA. `identity` has whether that is proven.
    pub(crate) fn person(&self) -> Option<&Person> {
        self.provenance.as_ref()?.person.as_ref()
    }

    pub(crate) fn opened_at(&self) -> SystemTime {
        self.wall.wall_time(self.opened.opened_at)
    }

    pub(crate) fn closed_at(&self) -> Option<SystemTime> {
        let closed = self.closed.as_ref()?;
        Some(self.closed_wall.unwrap_or(self.wall).wall_time(closed.at))
    }

    /// Returns the duration of the session, `None` while it is open.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let closed = self.closed.as_ref()?;
        Some(closed.at.since(self.opened.opened_at))
    }

    /// Returns whether no end is recorded and none is expected: its host did not report in that boot for a day.
    pub(crate) fn is_unheard(&self) -> bool {
        self.closed.is_none()
            && self
                .provenance
                .as_ref()
                .is_some_and(|provenance| provenance.unheard)
    }

    /// Returns whether only the probe saw the login: no PAM hook asked for a stamp.
    pub(crate) fn is_without_stamp(&self) -> bool {
        let unasked = Some(GapCause::LoginWithoutStamp);
        self.missing_ranges
            .iter()
            .any(|range| range.cause == unasked)
    }

    /// Returns the number of missing events, `None` when none is missing (so far, while the session is open).
    pub(crate) fn missing(&self) -> Option<MissingCount> {
        let counts = || self.missing_ranges.iter().map(|range| range.events);
        let missing = MissingCount {
            counted: counts().flatten().fold(0, u64::saturating_add),
            // A user accepted before the kernel recorded the session did something unrecorded, even if no
            // gap entry survived.
            uncounted: self.opened.stamp != Stamp::InTime || counts().any(|count| count.is_none()),
        };
        (missing.counted > 0 || missing.uncounted).then_some(missing)
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::event::Phase;

    use crate::fixture::Login;

    #[test]
    fn login_work_is_not_counted_and_can_be_left_out() {
        let history = Login::of_alice()
            .in_phase(Phase::LoginSetup)
            .exec(4101, 4100, &["run-parts"])
            .exec(4102, 4101, &["uname"])
            .exit(4102, 4101, 0)
            .in_phase(Phase::User)
            .exec(4103, 4100, &["ls"])
            .exit(4103, 4100, 0)
            .in_phase(Phase::Logout)
            .exec_failed(4104, 4100, 2, &["nope"])
            .exec(4104, 4100, &["logger"])
            .open();
        assert_eq!(history.commands(), 1);
        let of_user = history.of_user();
        assert_eq!((of_user.events.len(), of_user.left_out), (2, 3));
        assert_eq!(of_user.of_user().left_out, 3);
    }
}
