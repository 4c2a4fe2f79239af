//! A login that did not wait for its stamp: its hook left a file, and its session begins with a gap.

use std::time::Instant;

use tracing::{info, warn};
use vctl_common::id::{ProcessId, SessionId};
use vctl_common::session::{Gap, GapCause};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::session::late_login::LateLogin;
use crate::session::session_record::session_record;

use super::Sessions;

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
        for login in logins {
            let request = &login.request;
            let id = request.session_id;
            let leader = login.login.leader;
            let key = (leader, request.service.clone(), request.user.clone());
            // Two files of one login belong to one look.
            if Instant::now() >= until && !taken.is_empty() && !taken.contains(&key) {
                return false;
            }
            // After a stamp with an answer that came too late there is also a file: the login is marked
            // already.
            let is_recorded = self.registry.by_id(id).is_some()
                && !self.unconfirmed.contains(&id.mark())
                || self.is_second_stamp(request, leader)
                || self.is_second_file(&taken, &key, id);
            taken.push(key);
            if !is_recorded && let Err(error) = self.open_late(&login, probe, out) {
                warn!(session = %id, error, "A late login could not be opened; its file stays.");
                continue;
            }
            done(id);
        }
        true
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

    fn open_late(
        &mut self,
        login: &LateLogin,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> Result<(), String> {
        let request = &login.request;
        let now = boot_now();
        let marked_at = login.alive.then_some(now);
        let mut session = session_record(request, &login.login, login.stamp(), marked_at);
        self.link_if_detached(&mut session);
        let (id, audit_session) = (session.id, session.audit_session);
        self.store_opened(session, out)?;
        self.unconfirmed.remove(&id.mark());
        if !login.alive {
            self.never_recorded(id, now, probe, out);
            return Ok(());
        }
        let from = request.hook_started;
        out.gap(Gap::new(GapCause::StampedLate, id, from, now));
        let leader = Some(login.login.leader.tgid);
        // Before the kernel knows the session: after a kill in between, the next agent would find no gap.
        out.flush();
        let marking = self.mark_tree(id.mark(), leader, audit_session, probe);
        let marked = self.note_marking(id.mark(), now, marking);
        info!(session = %id, processes = marked, "Opened a session that was stamped late.");
        Ok(())
    }
}
