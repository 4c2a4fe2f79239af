//! Marks the processes of a session that runs already.

use std::fs;

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::id::AuditSessionId;
use vctl_common::wire::{self, Mark, TaskMark};

use crate::probe::Probe;

use super::Sessions;

/// Start of the count of processes, where it is known only roughly because some end while they are marked. It never
/// comes down to 0, so housekeeping looks for the end of such a session.
///
/// Below 2^32: an exit record has 32 bits for the rest, and 2^32 would read as 0.
pub(super) const ROUGHLY: u64 = 1 << 31;

impl Sessions {
    /// Marks all processes below `leader` and all of the audit session. Returns how many. Runs twice: the second
    /// round finds the children that were forked in the first one before their parent had its mark.
    pub(super) fn mark_tree(
        &self,
        mark: Mark,
        leader: Option<u32>,
        audit_session: Option<AuditSessionId>,
        probe: &mut Probe,
    ) -> usize {
        // A process that runs already counts as the user's; the probe decides for the later ones.
        let user_began = members(leader, audit_session)
            .iter()
            .any(|(tgid, _)| Some(*tgid) != leader);
        let opened = probe.maps.open_session(mark, ROUGHLY, user_began);
        if let Err(error) = opened {
            warn!(error = %WithCauses(&error), "The kernel does not accept a session.");
            return 0;
        }
        probe.watch_failed_execs();
        let mut marked = 0;
        for _ in 0..2 {
            for (tgid, how) in members(leader, audit_session) {
                if probe.maps.task(tgid).is_some() {
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
                match probe.maps.mark_task(tgid, task) {
                    Ok(()) => marked += 1,
                    Err(error) => {
                        warn!(error = %WithCauses(&error), tgid, "A process could not be marked.");
                    }
                }
                // It may have ended in between, with its exit before its mark.
                if !fs::exists(format!("/proc/{tgid}")).unwrap_or(true) {
                    probe.maps.unmark_task(tgid);
                }
            }
        }
        marked
    }

    /// Returns the role of a login's process. The step from the login's process to the user's is known for sshd
    /// only; with other services (login, cron, at) every process is the user's.
    pub(super) fn role_of_login(&self, leader: u32) -> u32 {
        if self.logins.is_sshd(leader) {
            wire::ROLE_LOGIN
        } else {
            wire::ROLE_USER
        }
    }
}

/// Lists the processes below `leader`, itself included, and those of the audit session.
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
