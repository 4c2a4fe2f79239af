//! A login asks for its stamp: first the journal, then the kernel, then the answer. It may ask again when a
//! collector died before it answered.

use tracing::{info, warn};
use vctl_common::id::ProcessId;
use vctl_common::session::{SessionOpened, Stamp};
use vctl_common::wire::{self, SessionCounters, TaskMark};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::session::protocol::{StampReply, StampRequest};
use crate::session::server::PendingStamp;
use crate::session::session_record::session_record;

use super::unconfirmed::is_held;
use super::{Sessions, forget_login};

/// The reason for a refusal after the hook's time: what the login has run in between is unknown.
const NOT_HELD: &str = "the login is not held any longer";

impl Sessions {
    /// Answers one login, which the hook holds until then, so the first command is never missed. A strict collector
    /// that cannot record gives the reason as `refusal`.
    pub(in crate::pipeline) fn stamp(
        &mut self,
        pending: PendingStamp,
        refusal: Option<String>,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        let session = pending.request.session_id;
        let admitted = match refusal {
            Some(reason) => Err(reason),
            None => self.admit(&pending, probe, out),
        };
        let reply = match admitted {
            Ok(()) => StampReply::Stamped,
            Err(reason) => {
                warn!(%session, reason, "A login could not be stamped.");
                StampReply::Refused { reason }
            }
        };
        if pending.reply.send(reply).is_err() {
            // If the hook left the file of a late login, it has the same id and is then found to be known.
            warn!(%session, "A login did not wait for its stamp.");
        }
    }

    fn admit(
        &mut self,
        pending: &PendingStamp,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> Result<(), String> {
        let request = &pending.request;
        if !is_held(request.hook_started, boot_now()) {
            return Err(NOT_HELD.to_owned());
        }
        if let Some(known) = self.registry.by_id(request.session_id) {
            if known.opened.leader != pending.login.leader {
                return Err("the session belongs to another login".to_owned());
            }
            // The collector that wrote it died before it could answer.
            let session = request.session_id;
            if !self.unconfirmed.contains(&session.mark()) {
                info!(%session, "A login asked again that is stamped.");
                forget_login(probe, pending.login.audit_session);
                probe.watch_failed_execs();
                return Ok(());
            }
            info!(%session, "A login asked again that is in the journal only.");
        }
        if self.is_second_stamp(request, pending.login.leader) {
            return Ok(());
        }
        let now = Some(boot_now());
        let mut session = session_record(request, &pending.login, Stamp::InTime, now);
        self.link_if_detached(&mut session);
        self.open(session, probe, out)
    }

    /// Returns whether the login has a session already, because a second PAM line for the hook asks again. The
    /// first session stays the only one.
    pub(super) fn is_second_stamp(&mut self, request: &StampRequest, leader: ProcessId) -> bool {
        let Some(first) = self.registry.stamped_before(request, leader) else {
            return false;
        };
        let first = first.opened.id;
        if self.unconfirmed.contains(&first.mark()) {
            // Its own late-login file, which is about to come, decides about it and is then the second.
            return false;
        }
        self.counts.second_stamps += 1;
        warn!(session = %first, second = %request.session_id, "A login was stamped twice, and keeps its first session: PAM has two lines for the hook.");
        true
    }

    /// Opens a session of one process that has run nothing yet. A session that is only in the journal is opened
    /// once more: the kernel keeps its numbers, if it has any.
    fn open(
        &mut self,
        session: SessionOpened,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> Result<(), String> {
        let (id, leader, cgroup) = (session.id, session.leader.tgid, session.cgroup);
        let audit_session = session.audit_session;
        let opened_at = session.opened_at;
        // Before the journal: the login waits for each system call between journal and mark.
        let role = self.role_of_login(leader);
        self.store_opened(session, out)?;
        self.quiet_since = None;
        if !is_held(opened_at, boot_now()) {
            // The disk was slow. A mark on the login's process alone would miss the processes that it has started
            // since. Its late-login file is about to come; then all of them are marked.
            self.unconfirmed.insert(id.mark());
            return Err(NOT_HELD.to_owned());
        }
        self.unconfirmed.remove(&id.mark());
        let one = SessionCounters {
            alive: 1,
            ..SessionCounters::default()
        };
        let opened = probe.maps.open_session(id.mark(), one);
        let kernel = opened.and_then(|()| {
            let mark = TaskMark {
                session: id.mark(),
                // The probe fills it in: /proc has it to the clock tick only.
                start: 0,
                marked: wire::MARKED_LINEAGE,
                noted_exec: 0,
                role,
                groups: 0,
            };
            probe.maps.mark_task(leader, mark)
        });
        if let Err(error) = kernel {
            self.never_recorded(id, boot_now(), probe, out);
            return Err(error.to_string());
        }
        // Not before the mark: the probe notes a login again until it has its mark.
        forget_login(probe, audit_session);
        probe.watch_failed_execs();
        if !is_held(opened_at, boot_now()) {
            // The time ran out near the mark: whether the mark was first cannot be known.
            self.unconfirmed.insert(id.mark());
            return Err(NOT_HELD.to_owned());
        }
        info!(session = %id, leader, cgroup = cgroup.map(|c| c.0), "Opened a session.");
        Ok(())
    }
}
