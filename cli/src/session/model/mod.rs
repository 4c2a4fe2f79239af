//! What is shown of a session, wherever it was read from.
//!
//! The spool is one source and Postgres the other; the renderers know neither.

mod filter;
pub(crate) mod grep;
pub(crate) mod identity;
pub(crate) mod provenance;
pub(crate) mod search;
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
pub(crate) use provenance::Provenance;
pub(crate) use selector::{Named, Prefix, Selector};

/// One session without its events.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) opened: SessionOpened,
    pub(crate) closed: Option<SessionClosed>,
    /// Name of the host, as its agent gives it.
    pub(crate) host: String,
    pub(crate) boot_id: BootId,
    /// The clocks when the session was opened.
    pub(crate) wall: WallOffset,
    /// The clocks when it was closed, where they are known.
    pub(crate) closed_wall: Option<WallOffset>,
    /// Events that can be read.
    pub(crate) stored: u64,
    /// By time.
    pub(crate) holes: Vec<Hole>,
    /// How far its name is proven.
    pub(crate) identity: Identity,
    /// What only the centre knows; `None` for what was read from a spool.
    pub(crate) provenance: Option<Provenance>,
}

/// Events that are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// How many; `None` when that cannot be known.
    pub(crate) events: Option<u64>,
    /// `None` when a number is missing and nobody recorded why.
    pub(crate) cause: Option<GapCause>,
    pub(crate) from: BootNs,
    pub(crate) to: BootNs,
}

/// One event with its time on the wall.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) time: SystemTime,
    pub(crate) event: KernelEvent,
}

/// A session with everything that happened in it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) session: Session,
    pub(crate) events: Vec<Event>,
    /// Programs of sshd and PAM that were taken out of `events`.
    pub(crate) left_out: u64,
}

/// News of the sessions that are followed.
#[derive(Debug)]
pub(crate) enum Update {
    /// With how long after its opening it arrived, where that was late.
    Opened(Rc<Session>, Option<Duration>),
    Event(Rc<Session>, Event),
    Hole(Rc<Session>, Hole),
    Closed(Rc<Session>),
}

/// How many events a session misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Those that could be counted.
    pub(crate) counted: u64,
    /// There are others, and nobody knows how many.
    pub(crate) uncounted: bool,
}

impl History {
    /// Returns how many programs the user started.
    pub(crate) fn commands(&self) -> u64 {
        let is_users = |event: &&Event| event.is_exec() && event.event.phase.is_users();
        self.events.iter().filter(is_users).count() as u64
    }

    /// Takes out what sshd and PAM did at login and logout.
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

impl From<spool::MissingRange> for Hole {
    fn from(hole: spool::MissingRange) -> Self {
        Self {
            events: hole.count,
            cause: hole.cause,
            from: hole.from,
            to: hole.to,
        }
    }
}

impl From<&Gap> for Hole {
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
    /// Returns it as it was before anything happened in it, for whoever tells that one by one.
    pub(crate) fn beginning(self) -> Self {
        Self {
            closed: None,
            closed_wall: None,
            stored: 0,
            holes: Vec::new(),
            ..self
        }
    }

    pub(crate) fn serial(&self) -> Option<CertSerial> {
        self.opened.auth.certificate.as_ref()?.serial
    }

    /// Returns the person a certificate of our own CA names. `identity` tells whether that is proven.
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

    /// Returns how long the session lasted, `None` while it is open.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let closed = self.closed.as_ref()?;
        Some(closed.at.since(self.opened.opened_at))
    }

    /// Returns whether the end is not recorded and will hardly come: its host was not heard of in that boot.
    pub(crate) fn is_unheard(&self) -> bool {
        self.closed.is_none()
            && self
                .provenance
                .as_ref()
                .is_some_and(|provenance| provenance.unheard)
    }

    /// Returns whether the probe alone saw the login: no hook asked to stamp it.
    pub(crate) fn is_without_stamp(&self) -> bool {
        let unasked = Some(GapCause::LoginWithoutStamp);
        self.holes.iter().any(|hole| hole.cause == unasked)
    }

    /// Returns what is missing, `None` when nothing is (so far, while the session is open).
    pub(crate) fn missing(&self) -> Option<Missing> {
        let counts = || self.holes.iter().map(|hole| hole.events);
        let missing = Missing {
            counted: counts().flatten().fold(0, u64::saturating_add),
            // Whoever was let in before the kernel recorded them did something unseen, even if no
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
    fn work_around_the_users_is_no_command_and_is_left_out() {
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
