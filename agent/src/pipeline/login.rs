//! A login asks to be stamped: journal first, then the kernel, then the answer. It may ask more than
//! once, when a collector dies before it has answered.

use tracing::{info, warn};
use vctl_common::id::{ProcessId, SessionId};
use vctl_common::session::{
    CloseReason, Gap, GapCause, JournalEntry, Origin, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_common::wire::{self, TaskMark};

use crate::config::Mode;
use crate::session::boot_now;
use crate::session::opened::opened;
use crate::session::protocol::{StampReply, StampRequest};
use crate::session::server::Pending;

use super::collector::{Collector, wall_offset};
use super::held::is_held;

/// Why a login is not stamped any more: what it has run in between, nobody knows.
const NOT_HELD: &str = "the login is not held any longer";

impl Collector {
    /// Answers one login. The hook holds it until then, so the first command is never missed.
    pub(super) fn stamp(&mut self, pending: Pending) {
        let session = pending.request.session_id;
        let reply = match self.admit(&pending) {
            Ok(()) => StampReply::Stamped,
            Err(reason) => {
                warn!(%session, reason, "A login could not be stamped.");
                StampReply::Refused { reason }
            }
        };
        if pending.reply.send(reply).is_err() {
            // Its marker, if it left one, has the same id and is then found to be known.
            warn!(%session, "A login did not wait for its stamp.");
        }
    }

    fn admit(&mut self, pending: &Pending) -> Result<(), String> {
        if self.config.mode == Mode::Strict
            && let Some(why) = &self.unhealthy
        {
            return Err(format!("the spool cannot be written: {why}"));
        }
        if self.config.mode == Mode::Strict && self.detached {
            return Err("the probe is no longer attached".to_owned());
        }
        let request = &pending.request;
        if !is_held(request.hook_started, boot_now()) {
            return Err(NOT_HELD.to_owned());
        }
        if let Some(known) = self.registry.by_id(request.session_id) {
            if known.opened.leader != pending.login.leader {
                return Err("the session is another login's".to_owned());
            }
            // The collector that wrote it died before it could answer.
            let session = request.session_id;
            if !self.held.contains(&session.mark()) {
                info!(%session, "A login asked again that is stamped.");
                self.forget_login(pending.login.audit_session);
                self.watch_failed_execs();
                return Ok(());
            }
            info!(%session, "A login asked again that is in the journal only.");
        }
        if self.is_second_stamp(request, pending.login.leader) {
            return Ok(());
        }
        let mut session = opened(
            &pending.request,
            &pending.login,
            Stamp::InTime,
            Some(boot_now()),
        );
        self.link_if_detached(&mut session);
        self.open(session)
    }

    /// Returns whether the login has a session already, as a second PAM line for the hook asks again. The
    /// first session stays the only one.
    pub(super) fn is_second_stamp(&mut self, request: &StampRequest, leader: ProcessId) -> bool {
        let Some(first) = self.registry.stamped_before(request, leader) else {
            return false;
        };
        let first = first.opened.id;
        if self.held.contains(&first.mark()) {
            // Only its marker, which is to come, says what became of it; that one then is the second.
            return false;
        }
        self.numbers.counted.logins.second_stamps += 1;
        warn!(session = %first, second = %request.session_id, "A login was stamped twice, and keeps its first session: PAM has two lines for the hook.");
        true
    }

    /// Finds out which login the work of a daemon most likely comes from.
    pub(super) fn link_if_detached(&self, session: &mut SessionOpened) {
        if let Origin::Detached { from } = &mut session.origin {
            *from = self
                .registry
                .detached_from(session.login_uid, &session.login_user);
        }
    }

    /// Opens a session of one process, which has done nothing yet that is to be recorded. One that is
    /// in the journal only is opened once more: nobody is marked, and the kernel has counted nothing.
    fn open(&mut self, session: SessionOpened) -> Result<(), String> {
        let (id, leader, cgroup) = (session.id, session.leader.tgid, session.cgroup);
        let audit_session = session.audit_session;
        let opened_at = session.opened_at;
        // Before the journal: between that and the mark, each system call is time the login waits.
        let role = self.role_of_login(leader);
        self.store_opened(session)?;
        self.quiet_since = None;
        if !is_held(opened_at, boot_now()) {
            // The disk took its time. Marked alone now, the login's process would not hand its mark to
            // what it has started already. Its marker is about to come; then all of them are marked.
            self.held.insert(id.mark());
            return Err(NOT_HELD.to_owned());
        }
        self.held.remove(&id.mark());
        let opened = self.probe.maps.open_session(id.mark(), 1, false);
        let kernel = opened.and_then(|()| {
            let mark = TaskMark {
                session: id.mark(),
                // The probe fills it in: /proc has it to the clock tick only.
                start: 0,
                marked: u32::from(wire::MARKED_LINEAGE),
                role,
                groups: 0,
            };
            self.probe.maps.mark_task(leader, mark)
        });
        if let Err(error) = kernel {
            self.never_recorded(id, boot_now());
            return Err(error.to_string());
        }
        // Not before the mark: from then on the probe does not note the login again.
        self.forget_login(audit_session);
        self.watch_failed_execs();
        if !is_held(opened_at, boot_now()) {
            // Between two lines of ours: whether its mark came first, nobody can tell.
            self.held.insert(id.mark());
            return Err(NOT_HELD.to_owned());
        }
        info!(session = %id, leader, cgroup = cgroup.map(|c| c.0), "Opened a session.");
        Ok(())
    }

    /// Returns the role of a login's process. Only of sshd is it known how the user's process comes from
    /// it; with any other (login, cron, at) all that runs is the user's.
    pub(super) fn role_of_login(&self, leader: u32) -> u32 {
        if self.logins.is_sshd(leader) {
            wire::ROLE_LOGIN
        } else {
            wire::ROLE_USER
        }
    }

    pub(super) fn watch_failed_execs(&mut self) {
        if let Err(error) = self.probe.watch_failed_execs(true) {
            warn!(%error, "Failed execs are not recorded.");
        }
    }

    /// Writes who a session belongs to, durably, and enters it in the registry.
    pub(super) fn store_opened(&mut self, session: SessionOpened) -> Result<(), String> {
        let (id, stamp) = (session.id, session.stamp);
        let problem = session.auth.problem.clone();
        let unreadable = session.auth.unreadable_certificate;
        self.store_uncounted(session)?;
        self.numbers.counted.logins.count(stamp);
        if unreadable {
            self.numbers.counted.logins.unreadable_certificate += 1;
            warn!(session = %id, problem, "A login has a certificate that cannot be read.");
        }
        Ok(())
    }

    /// As [`Self::store_opened`], for a login that its caller counts.
    pub(super) fn store_uncounted(&mut self, session: SessionOpened) -> Result<(), String> {
        let entry = JournalEntry::Opened(Box::new(session.clone()));
        if self.unwritten.is_none() && self.write_now(&entry) {
            self.registry.open(session);
            return Ok(());
        }
        let why = self.unhealthy.clone().unwrap_or_default();
        if self.config.mode == Mode::Strict {
            return Err(why);
        }
        // The kernel records all the same, and the ring keeps it until there is room on the disk.
        self.registry.open(session);
        self.outbox.push_front(entry);
        Ok(())
    }

    /// Writes one entry past the ring; between two drains the batch is empty.
    fn write_now(&mut self, entry: &JournalEntry) -> bool {
        let written = self.batch.push_journal(entry).and_then(|()| {
            self.writer
                .commit_durable(&mut self.batch, None, wall_offset())
        });
        self.batch.clear();
        self.note_health(written)
    }

    /// Says of a session in the spool that the kernel would not take it.
    pub(super) fn never_recorded(&mut self, id: SessionId, to: BootNs) {
        let from = self
            .registry
            .by_id(id)
            .map_or(to, |session| session.opened.opened_at);
        self.gap(Gap {
            session: Some(id),
            cause: GapCause::ProbeAway,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from,
            to,
        });
        self.close(id.mark(), to, CloseReason::NeverRecorded, None);
    }
}
