//! A login that did not wait for its stamp: its hook left a file, and its session begins with a gap.

use std::time::Instant;

use tracing::warn;
use vctl_common::id::{AuditSessionId, ProcessId, SessionId};
use vctl_common::session::{CloseReason, GapCause};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::proc::process_table::ProcessTable;
use crate::session::boot_now;
use crate::session::late_login::LateLogin;
use crate::session::login::LoginFacts;
use crate::session::session_record::session_record;

use super::Sessions;
use super::behind_gap::BehindGap;
use super::members::owns;

/// Leader, service and user of a login; two files with the same ones are of one login.
type LoginKey = (ProcessId, String, String);

impl Sessions {
    /// Opens the sessions of late logins, the earliest first. Calls `done` for each login that no longer needs
    /// its file. Returns false when some are left at `until`: their files stay for the next look.
    pub(in crate::pipeline) fn open_late_logins(
        &mut self,
        mut logins: Vec<LateLogin>,
        until: Instant,
        probe: &mut Probe,
        out: &mut SpoolOut,
        done: impl Fn(SessionId),
    ) -> bool {
        // Two PAM lines leave two files of one login: the first is its session.
        logins.sort_by_key(|login| login.request.hook_started);
        let mut taken: Vec<LoginKey> = Vec::new();
        let (mut opened, mut known) = (Vec::new(), Vec::new());
        let mut is_all_done = true;
        let mut table = None;
        for login in logins {
            let request = &login.request;
            let id = request.session_id;
            let leader = login.login.leader;
            let key = (leader, request.service.clone(), request.user.clone());
            // Two files of one login belong to one look.
            if Instant::now() >= until && !taken.is_empty() && !taken.contains(&key) {
                is_all_done = false;
                break;
            }
            // After a stamp with an answer that came too late there is also a file: the login is marked
            // already.
            let is_recorded = self.registry.by_id(id).is_some()
                && !self.unconfirmed.contains(&id.mark())
                || self.is_second_stamp(request, leader)
                || self.is_second_file(&taken, &key, id);
            taken.push(key);
            if !is_recorded {
                match self.open_late(&login, &mut table, out) {
                    Ok(session) => opened.push(session),
                    Err(error) => {
                        warn!(session = %id, error, "A late login could not be opened; its file stays.");
                        continue;
                    }
                }
            }
            known.push(id);
        }
        self.record_behind_gaps(opened, probe, out);
        known.into_iter().for_each(done);
        is_all_done
    }

    /// Returns whether this scan had another file of the login; the login may be over.
    fn is_second_file(&mut self, taken: &[LoginKey], key: &LoginKey, id: SessionId) -> bool {
        let is_second = taken.contains(key);
        if is_second {
            self.counts.second_stamps += 1;
            warn!(second = %id, "A login left two files: PAM has two lines for the hook.");
        }
        is_second
    }

    /// Opens the session, which is recorded later.
    fn open_late(
        &mut self,
        login: &LateLogin,
        table: &mut Option<ProcessTable>,
        out: &mut SpoolOut,
    ) -> Result<BehindGap, String> {
        let request = &login.request;
        let LoginFacts {
            leader,
            audit_session,
            ..
        } = login.login;
        // The login's own process may have ended before its background work.
        let runs = login.alive || {
            let table = table.get_or_insert_with(|| self.proc.processes());
            self.has_work(leader, audit_session, table)
        };
        let marked_at = runs.then(boot_now);
        let mut session = session_record(request, &login.login, login.stamp(runs), marked_at);
        self.link_if_detached(&mut session);
        let id = session.id;
        self.store_opened(session, out)?;
        self.unconfirmed.remove(&id.mark());
        Ok(BehindGap {
            mark: id.mark(),
            cause: if runs {
                GapCause::StampedLate
            } else {
                GapCause::ProbeAway
            },
            from: request.hook_started,
            or_close: CloseReason::NeverRecorded,
        })
    }

    /// Returns whether a process of the login runs in its own audit session.
    pub(super) fn has_work(
        &self,
        leader: ProcessId,
        audit_session: Option<AuditSessionId>,
        table: &ProcessTable,
    ) -> bool {
        let Some(audit_session) = audit_session else {
            return false;
        };
        let members = table.of_audit_session(audit_session).iter();
        let mut members = members.filter_map(|tgid| table.get(*tgid));
        members.any(|member| !member.stat.is_exiting)
            && owns(leader, audit_session, table, &self.proc)
    }
}
