//! Sessions that began without us: markers of logins that were let in, and what the clock tells
//! nobody of.

use std::fs;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};
use vctl_common::id::{AuditSessionId, ProcessId, SessionId};
use vctl_common::session::{Gap, GapCause};
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Mark, TaskMark};

use crate::session::boot_now;
use crate::session::opened::opened;
use crate::session::pending::LateLogin;

use super::collector::Collector;

/// How many processes such a session has is known only roughly: some end while they are marked. So
/// its count starts where it never reaches 0, and housekeeping looks for its end.
///
/// Below 2^32: an exit record has 32 bits for what is left, and 2^32 would read as none.
const ROUGHLY: u64 = 1 << 31;

/// Without a session for this long, failed execs are not watched for any more.
const REST_AFTER: Duration = Duration::from_mins(1);

impl Collector {
    /// Does what no event tells of. Called every few seconds.
    pub(super) fn housekeeping(&mut self) {
        self.take_markers();
        self.decide_held();
        self.find_unstamped();
        self.find_ended();
        self.watch_pins();
        self.note_skipped();
        self.rest();
        self.budget.forget(&mut self.registry);
        self.look_at_budgets();
        self.note_shipped();
        self.drop_expired();
        self.write_status();
    }

    /// Takes the probes for failed execs away when nobody has logged in for a while. Not at once: that
    /// takes the kernel a tenth of a second, in which the next login would have to wait.
    fn rest(&mut self) {
        if !self.registry.is_empty() {
            self.quiet_since = None;
            return;
        }
        let since = *self.quiet_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= REST_AFTER
            && let Err(error) = self.probe.watch_failed_execs(false)
        {
            warn!(%error, "The probes for failed execs stay attached.");
        }
    }

    fn take_markers(&mut self) {
        let scan = match self.pending.scan(&self.logins) {
            Ok(scan) => scan,
            Err(error) => {
                warn!(%error, "Markers of late logins cannot be read.");
                return;
            }
        };
        for rejected in &scan.rejected {
            warn!(name = ?rejected.name, why = rejected.why, "Refused something that is no marker.");
        }
        let mut logins = scan.logins;
        // The first of two markers of one login, which two PAM lines have left, is its session.
        logins.sort_by_key(|login| login.request.hook_started);
        let mut taken: Vec<(ProcessId, String, String)> = Vec::new();
        for login in logins {
            let request = &login.request;
            let id = request.session_id;
            let key = (
                login.login.leader,
                request.service.clone(),
                request.user.clone(),
            );
            // A stamp whose answer came too late left a marker as well: its login was marked before.
            let is_recorded = self.registry.by_id(id).is_some() && !self.held.contains(&id.mark())
                || self.is_second_stamp(request, login.login.leader)
                || self.is_second_marker(&taken, &key, id);
            taken.push(key);
            if !is_recorded && let Err(error) = self.open_late(&login) {
                warn!(session = %id, error, "A late login could not be opened; its marker stays.");
                continue;
            }
            if let Err(error) = self.pending.remove(id) {
                warn!(%error, session = %id, "The marker of a late login stays.");
            }
        }
    }

    /// Returns whether the first of two markers of one login was taken in before; the login may be over.
    fn is_second_marker(
        &mut self,
        taken: &[(ProcessId, String, String)],
        key: &(ProcessId, String, String),
        id: SessionId,
    ) -> bool {
        let is_second = taken.contains(key);
        if is_second {
            self.numbers.counted.logins.second_stamps += 1;
            warn!(second = %id, "A login left two markers: PAM has two lines for the hook.");
        }
        is_second
    }

    fn open_late(&mut self, login: &LateLogin) -> Result<(), String> {
        let request = &login.request;
        let now = boot_now();
        let marked_at = login.alive.then_some(now);
        let mut session = opened(request, &login.login, login.stamp(), marked_at);
        self.link_if_detached(&mut session);
        let (id, audit_session) = (session.id, session.audit_session);
        self.store_opened(session)?;
        self.held.remove(&id.mark());
        if !login.alive {
            self.never_recorded(id, now);
            return Ok(());
        }
        self.gap(Gap {
            session: Some(id),
            cause: GapCause::StampedLate,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from: request.hook_started,
            to: now,
        });
        let marked = self.mark_tree(id.mark(), Some(login.login.leader.tgid), audit_session);
        info!(session = %id, processes = marked, "Opened a session that was stamped late.");
        Ok(())
    }

    /// Marks every process below `leader` and every one of the audit session. Twice: what was
    /// forked during the first round, before its parent had its mark, is found in the second.
    pub(super) fn mark_tree(
        &mut self,
        mark: Mark,
        leader: Option<u32>,
        audit_session: Option<AuditSessionId>,
    ) -> usize {
        // What is there already may be the user's, so it is, and the probe decides on what comes.
        let user_began = members(leader, audit_session)
            .iter()
            .any(|(tgid, _)| Some(*tgid) != leader);
        let opened = self.probe.maps.open_session(mark, ROUGHLY, user_began);
        if let Err(error) = opened {
            warn!(%error, "The kernel does not take a session.");
            return 0;
        }
        self.watch_failed_execs();
        let mut marked = 0;
        for _ in 0..2 {
            for (tgid, how) in members(leader, audit_session) {
                if self.probe.maps.task(tgid).is_some() {
                    continue;
                }
                let task = TaskMark {
                    session: mark,
                    start: 0,
                    marked: u32::from(how),
                    role: match leader {
                        Some(leader) if leader == tgid => self.role_of_login(leader),
                        _ => wire::ROLE_USER,
                    },
                    groups: 0,
                };
                match self.probe.maps.mark_task(tgid, task) {
                    Ok(()) => marked += 1,
                    Err(error) => warn!(%error, tgid, "A process could not be marked."),
                }
                // It ended in between, and its exit came before its mark.
                if !fs::exists(format!("/proc/{tgid}")).unwrap_or(true) {
                    self.probe.maps.unmark_task(tgid);
                }
            }
        }
        marked
    }

    /// Holds skipped probes against every session: whose event it was, nobody can tell.
    fn note_skipped(&mut self) {
        let now = boot_now();
        let skipped = self.probe.skipped();
        if skipped > self.skipped {
            self.gap(Gap {
                session: None,
                cause: GapCause::ProbeSkipped,
                events: None,
                first_seq: None,
                last_seq: None,
                cpu: None,
                from: self.skipped_checked,
                to: now,
            });
        }
        (self.skipped, self.skipped_checked) = (skipped, now);
    }

    /// Ends sessions none of whose processes is left, though no last exit told of it: it was lost,
    /// or the count was only rough.
    fn find_ended(&mut self) {
        let suspects: Vec<(Mark, wire::SessionCounters)> = self
            .registry
            .iter()
            .filter_map(|(mark, _)| Some((mark, self.probe.maps.session(mark)?)))
            .filter(|(_, counters)| {
                counters.alive == 0 || counters.alive > ROUGHLY / 2 || counters.unmarked_forks > 0
            })
            .collect();
        if suspects.is_empty() {
            return;
        }
        let tasks = self.probe.maps.tasks();
        let mut live: Vec<Mark> = Vec::new();
        for (tgid, task) in tasks {
            if fs::exists(format!("/proc/{tgid}")).unwrap_or(true) {
                live.push(task.session);
            } else {
                self.probe.maps.unmark_task(tgid);
            }
        }
        for (mark, _) in suspects {
            if !live.contains(&mark) {
                debug!(mark, "A session has no process left.");
                self.last_process_ended(mark, boot_now());
            }
        }
    }

    /// Makes a session of a mark that nobody knows: the spool that knew it is gone.
    pub(super) fn adopt(&mut self, mark: Mark) {
        let session = super::recover::unknown_session(mark);
        warn!(session = %session.id, "The kernel records a session that the spool knows nothing of.");
        let id = session.id;
        if self.store_opened(session).is_ok() {
            self.gap(Gap {
                session: Some(id),
                cause: GapCause::SpoolDamaged,
                events: None,
                first_seq: None,
                last_seq: None,
                cpu: None,
                from: BootNs(0),
                to: boot_now(),
            });
        }
    }
}

/// Lists processes below `leader`, itself included, and those of the audit session.
fn members(leader: Option<u32>, audit_session: Option<AuditSessionId>) -> Vec<(u32, u16)> {
    let processes: Vec<(u32, u32)> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| {
            let stat = process.ok()?.stat().ok()?;
            Some((
                u32::try_from(stat.pid).ok()?,
                u32::try_from(stat.ppid).ok()?,
            ))
        })
        .collect();
    let mut tree: Vec<u32> = leader.into_iter().collect();
    let mut seen = 0;
    while seen < tree.len() {
        let parent = tree[seen];
        seen += 1;
        let children = processes.iter().filter(|(_, ppid)| *ppid == parent);
        let children: Vec<u32> = children
            .map(|(tgid, _)| *tgid)
            .filter(|tgid| !tree.contains(tgid))
            .collect();
        tree.extend(children);
    }
    let of_session = |tgid: u32| {
        let file = fs::read_to_string(format!("/proc/{tgid}/sessionid")).ok()?;
        AuditSessionId::new(file.trim().parse().ok()?)
    };
    processes
        .iter()
        .filter_map(|&(tgid, _)| {
            if audit_session.is_some() && of_session(tgid) == audit_session {
                Some((tgid, wire::MARKED_AUDIT_SESSION))
            } else {
                tree.contains(&tgid).then_some((tgid, wire::MARKED_TREE))
            }
        })
        .collect()
}
