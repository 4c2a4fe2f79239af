//! The open sessions: how each begins, what arrives of it, and how it ends.

mod behind_gap;
mod budget;
mod close;
mod closed;
mod end_by_signal;
mod late_stamp;
mod mark;
mod members;
mod processes;
mod recover;
mod requested_ending;
mod sequence;
mod sockets;
mod stamp;
mod unconfirmed;
mod unmarked;
mod unstamped;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::event::DecodeError;
use vctl_common::id::AuditSessionId;
use vctl_common::session::{JournalEntry, Origin, SessionOpened};
use vctl_common::status::{CollectorStatus, Logins};
use vctl_common::time::BootNs;
use vctl_common::wire::{Header, Mark, SessionCounters};

use crate::config::{Config, Mode};
use crate::probe::Probe;
use crate::proc::reader::ProcReader;
use crate::session::registry::Registry;

use super::spool_out::SpoolOut;

use budget::Budget;
use closed::ClosedSessions;
use requested_ending::RequestedEnding;
use sequence::Sequence;

/// Without a session for this long, failed execs are no longer watched.
const REST_AFTER: Duration = Duration::from_mins(1);

/// The sessions of this host that have not ended.
pub(super) struct Sessions {
    mode: Mode,
    sshd_names: Vec<String>,
    proc: ProcReader,
    registry: Registry,
    /// Sessions in the journal that the kernel does not record yet; see [`unconfirmed`].
    unconfirmed: HashSet<Mark>,
    /// Sessions of which the kernel counts fewer processes than there are: it had counted one when the agent marked
    /// others. A count of 0 does not end them.
    undercounted: HashSet<Mark>,
    /// Sessions that lack marks; see [`unmarked`].
    unmarked: HashMap<Mark, Unmarked>,
    /// Numbers that have arrived, by session.
    sequences: HashMap<Mark, Sequence>,
    endings: Vec<Ending>,
    /// Sessions that ended lately: a record of theirs may still come.
    closed: ClosedSessions,
    /// Looks of housekeeping for sessions that have ended.
    looks: u32,
    /// Whether this host ends sessions on request of the centre.
    accepts_requests: bool,
    requested: Vec<RequestedEnding>,
    /// Time of the next look at the marks of requested ends.
    next_look: Instant,
    budget: Budget,
    over_budget: u64,
    counts: Logins,
    /// The kernel's count of logins that it had no room to note, as last read.
    logins_unseen: u64,
    /// Since when housekeeping has seen no session.
    quiet_since: Option<Instant>,
}

/// A session without a process left, while records of it may still be on their way.
#[derive(Clone, Copy, Debug)]
struct Ending {
    mark: Mark,
    at: BootNs,
    evidence: Evidence,
    /// The kernel's counters of the present look include it: they were read after it was found.
    is_counted: bool,
    /// Looks at the ring that are left to wait.
    patience: u8,
}

/// A session without all of its marks.
#[derive(Clone, Debug)]
struct Unmarked {
    /// End of the gap that is written already.
    since: BootNs,
    problem: String,
}

/// The reason to take a session for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// The kernel has counted no process left.
    Counted,
    /// No process was listed, while the kernel's counters had these values.
    Listed(SessionCounters),
}

impl Sessions {
    pub(super) fn new(config: &Config, proc: ProcReader, before: &CollectorStatus) -> Self {
        Self {
            mode: config.mode,
            sshd_names: config.sshd_names.clone(),
            proc,
            registry: Registry::default(),
            unconfirmed: HashSet::new(),
            undercounted: HashSet::new(),
            unmarked: HashMap::new(),
            sequences: HashMap::new(),
            endings: Vec::new(),
            closed: ClosedSessions::of_spool(&config.spool_dir),
            looks: 0,
            accepts_requests: config.end_sessions,
            requested: Vec::new(),
            next_look: Instant::now(),
            budget: Budget::new(config.session_budget.0, config.spool_cap.0),
            over_budget: before.sessions_over_budget,
            counts: before.logins,
            logins_unseen: before.logins_unseen,
            quiet_since: None,
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the kernel's counters of the sessions that need them: of all after a loss, else of those about to end.
    pub(super) fn produced(&mut self, probe: &Probe, all: bool) -> Vec<(Mark, SessionCounters)> {
        for ending in &mut self.endings {
            ending.is_counted = true;
        }
        if all {
            match probe.maps.sessions() {
                Ok(sessions) => return sessions,
                Err(error) => {
                    warn!(error = %WithCauses(&error), "The kernel's sessions cannot be listed; each open one is read.");
                    let marks = self.registry.iter().map(|(mark, _)| mark);
                    let read = marks.filter_map(|mark| Some((mark, probe.maps.session(mark)?)));
                    return read.collect();
                }
            }
        }
        let marks = self.endings.iter().map(|ending| ending.mark);
        marks
            .filter_map(|mark| Some((mark, probe.maps.session(mark)?)))
            .collect()
    }

    /// Adds an event to the batch and to the budget of its session.
    pub(super) fn push_event(
        &mut self,
        header: &Header,
        record: &[u8],
        out: &mut SpoolOut,
    ) -> Result<(), DecodeError> {
        let mut serial = None;
        let mut look = false;
        if let Some(session) = self.registry.get_mut(header.session) {
            let certificate = session.opened.auth.certificate.as_ref();
            serial = certificate.and_then(|certificate| certificate.serial);
            look = self.budget.store(session, record.len() as u64);
            out.log_program(&session.opened, header, record);
        } else if header.session != 0 {
            serial = self.closed.serial(header.session);
        }
        let pushed = out.push_event(header.session, serial, record);
        if look {
            self.look_at_budgets();
        }
        pushed
    }

    /// Notes the number of an event that is in the batch.
    pub(super) fn note_arrived(&mut self, header: &Header) {
        if self.registry.get(header.session).is_none() {
            return;
        }
        let sequence = self.sequences.entry(header.session).or_default();
        sequence.see(header.session_seq, BootNs(header.at));
        self.registry.add_stored(header.session, 1);
    }

    /// Finds the sessions that are over their budget.
    pub(super) fn look_at_budgets(&mut self) {
        let before = self.over_budget;
        self.over_budget = self.budget.look(&mut self.registry);
        if self.over_budget > before {
            warn!(
                sessions = self.over_budget,
                "Sessions are over their byte budget: their argv is cut."
            );
        }
    }

    /// Forgets bytes that were stored long ago, then looks at the budgets.
    pub(super) fn refresh_budgets(&mut self) {
        self.budget.forget(&mut self.registry);
        self.look_at_budgets();
    }

    /// Writes the owner of a session durably, and adds the session to the registry.
    fn store_opened(&mut self, session: SessionOpened, out: &mut SpoolOut) -> Result<(), String> {
        let (id, stamp) = (session.id, session.stamp);
        let problem = session.auth.problem.clone();
        let unreadable = session.auth.unreadable_certificate;
        self.store_uncounted(session, out)?;
        self.counts.count(stamp);
        if unreadable {
            self.counts.unreadable_certificate += 1;
            warn!(session = %id, problem, "A login has a certificate that cannot be read.");
        }
        Ok(())
    }

    /// As [`Self::store_opened`], for a login that the caller counts.
    fn store_uncounted(
        &mut self,
        mut session: SessionOpened,
        out: &mut SpoolOut,
    ) -> Result<(), String> {
        session.shorten();
        let entry = JournalEntry::Opened(Box::new(session.clone()));
        let is_written = out.write_now(&entry);
        if !is_written && self.mode == Mode::Strict {
            return Err(out.problem().unwrap_or_default().to_owned());
        }
        let len = entry_len(&entry);
        // The kernel records anyway, and the ring holds the events until the disk has room.
        if !is_written && !out.begin_later(entry, len) {
            return Err("too many logins wait for the spool, which cannot be written".to_owned());
        }
        let mark = self.registry.open(session);
        if let Some(live) = self.registry.get_mut(mark) {
            // As long as the certificate's texts. Without an event of its own, such a session would be free.
            self.budget.store(live, len as u64);
        }
        Ok(())
    }

    /// Finds the login from which the work of a daemon most likely comes.
    fn link_if_detached(&self, session: &mut SessionOpened) {
        if let Origin::Detached { from } = &mut session.origin {
            *from = self
                .registry
                .detached_from(session.login_uid, &session.login_user);
        }
    }

    /// Attaches the probes for failed execs while a session is open, if that failed before, and detaches them after
    /// a minute without one. Not at once: the kernel needs a tenth of a second for it, in which the next login would
    /// have to wait. Probes at the exit of exec are always attached.
    pub(super) fn watch_or_rest(&mut self, probe: &mut Probe) {
        if !self.registry.is_empty() {
            self.quiet_since = None;
            probe.watch_failed_execs();
            return;
        }
        let since = *self.quiet_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= REST_AFTER || probe.is_replacing() {
            probe.rest_failed_execs();
        }
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        status.sessions_open = self.registry.len() as u64;
        status.sessions_over_budget = self.over_budget;
        status.logins = self.counts;
        status.logins_unseen = self.logins_unseen;
    }

    /// The sentence for the status, while sessions lack marks or their argv is cut.
    pub(super) fn problem(&self) -> Option<String> {
        let over = self.over_budget;
        let sessions = if over == 1 {
            "session is"
        } else {
            "sessions are"
        };
        let over =
            (over > 0).then(|| format!("{over} {sessions} over the byte budget: argv is cut"));
        self.unmarked_problem().or(over)
    }
}

fn entry_len(entry: &JournalEntry) -> usize {
    serde_json::to_vec(entry).map_or(0, |json| json.len())
}

/// Removes a login from the probe's map, if it has an audit session.
fn forget_login(probe: &mut Probe, audit_session: Option<AuditSessionId>) {
    if let Some(audit_session) = audit_session {
        probe.maps.forget_login(audit_session);
    }
}
