//! Logins that the probe saw without a request of a hook: the hook could not start or was killed, or PAM has no line
//! for it. Each becomes a session that begins with a gap. A login that still runs is recorded from then on.
//!
//! The probe notes a login in a pinned map, so the next agent finds a login that began and ended while no agent ran.
//! The note stays until the login is stamped or decided on.

use std::fs;
use std::time::{Duration, Instant};

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::id::{AuditSessionId, ProcessId, SessionId};
use vctl_common::session::{Auth, CloseReason, Gap, GapCause, SessionOpened, Stamp};
use vctl_common::time::BootNs;
use vctl_common::wire::{LOGIN_REFUSED, SSHD, SeenLogin};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::proc::process_table::ProcessTable;
use crate::session::boot_now;
use crate::session::protocol::{FALLBACK_DEADLINE, HELD_FOR};

use super::behind_gap::BehindGap;
use super::members::owns;
use super::{Sessions, sockets};

/// Time from the fork of a hook within which it asks or leaves a file. The last part is for a machine that starts
/// it slowly.
const DECIDED_AFTER: Duration = HELD_FOR
    .saturating_add(FALLBACK_DEADLINE)
    .saturating_add(Duration::from_secs(3));

/// Decision on a login in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its hook may still ask.
    Wait,
    /// It was stamped or refused, began before the probe, or belongs to another agent.
    Forget,
    Unstamped,
}

/// The facts for a decision, beside the login itself.
struct Circumstances<'a> {
    loaded_at: BootNs,
    now: BootNs,
    sshd_names: &'a [String],
}

fn fate(login: &SeenLogin, is_recorded: bool, circumstances: &Circumstances<'_>) -> Fate {
    let names = circumstances.sshd_names;
    let is_ours = names.is_empty() || names.iter().any(|name| *name == listener(login));
    // A login from before the probe forks once more when it ends.
    if is_recorded || !is_ours || BootNs(login.start) < circumstances.loaded_at {
        Fate::Forget
    } else if circumstances.now.since(BootNs(login.at)) < DECIDED_AFTER {
        Fate::Wait
    } else if login.state == LOGIN_REFUSED {
        Fate::Forget
    } else {
        Fate::Unstamped
    }
}

fn listener(login: &SeenLogin) -> String {
    let name = login.listener.split(|&byte| byte == 0).next();
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

impl Sessions {
    /// Opens a session for each login without a request or a file of its hook in time. The last look at the map
    /// was at `looked_at`. Returns false when some are left at `until`.
    pub(in crate::pipeline) fn find_unstamped(
        &mut self,
        until: Instant,
        looked_at: BootNs,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> bool {
        self.note_unseen(looked_at, probe, out);
        let logins = probe.maps.logins().unwrap_or_else(|error| {
            warn!(error = %WithCauses(&error), "Logins without a stamp cannot be listed.");
            Vec::new()
        });
        if logins.is_empty() {
            return true;
        }
        let loaded_at = BootNs(probe.maps.state().loaded_at);
        let now = boot_now();
        let (mut is_all_done, mut opened) = (true, Vec::new());
        let mut table = None;
        for (audit_session, login) in logins {
            let is_recorded = self.registry.has_audit_session(audit_session);
            let circumstances = Circumstances {
                loaded_at,
                now,
                sshd_names: &self.sshd_names,
            };
            match fate(&login, is_recorded, &circumstances) {
                Fate::Wait => {}
                Fate::Forget => probe.maps.forget_login(audit_session),
                Fate::Unstamped if !opened.is_empty() && Instant::now() >= until => {
                    is_all_done = false;
                }
                Fate::Unstamped => {
                    let table = table.get_or_insert_with(|| self.proc.processes());
                    if self.is_listener(audit_session, &login, table) {
                        probe.maps.forget_login(audit_session);
                        continue;
                    }
                    match self.open_unstamped(audit_session, &login, table, probe, out) {
                        Ok(session) => opened.push(session),
                        Err(error) => {
                            warn!(error, "A login without a stamp is not in the spool yet.");
                        }
                    }
                }
            }
        }
        self.record_behind_gaps(opened, probe, out);
        is_all_done
    }

    /// Returns whether the process is an sshd that waits for connections, not the login of one. Started by hand, it has
    /// the audit session of the login that started it, and to the probe it looks like a login.
    fn is_listener(
        &self,
        audit_session: AuditSessionId,
        login: &SeenLogin,
        table: &ProcessTable,
    ) -> bool {
        let leader = ProcessId {
            tgid: login.tgid,
            start: BootNs(login.start),
        };
        if !owns(leader, audit_session, table, &self.proc) {
            return true;
        }
        // The rest of that login may have ended.
        let is_of_sshd = login.listener.starts_with(&SSHD);
        !is_of_sshd && self.proc.is_alive(leader) && sockets::is_listener(login.tgid)
    }

    fn open_unstamped(
        &mut self,
        audit_session: AuditSessionId,
        login: &SeenLogin,
        table: &ProcessTable,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> Result<BehindGap, String> {
        let leader = ProcessId {
            tgid: login.tgid,
            start: BootNs(login.start),
        };
        let alive = self.proc.is_alive(leader);
        // The login's own process may have ended before its background work.
        let runs = alive || self.has_work(leader, Some(audit_session), table);
        let account = account(login.login_uid);
        let id = SessionId::generate();
        let opened_at = BootNs(login.at);
        let session = SessionOpened {
            login_user: account.clone(),
            service: listener(login),
            auth: Auth {
                problem: Some(
                    "no hook asked to stamp this login, so its certificate is not known".to_owned(),
                ),
                ..Auth::default()
            },
            leader,
            login_uid: Some(login.login_uid),
            audit_session: Some(audit_session),
            cgroup: self.proc.cgroup(login.tgid).filter(|_| alive),
            marked_at: runs.then(boot_now),
            stamp: if runs { Stamp::Late } else { Stamp::Missed },
            ..SessionOpened::unknown(id, opened_at)
        };
        self.store_uncounted(session, out)?;
        self.counts.without_stamp += 1;
        // It is in the spool now: a later agent must not open it once more.
        probe.maps.forget_login(audit_session);
        warn!(
            session = %id,
            audit_session = audit_session.get(),
            login_uid = login.login_uid,
            account,
            sshd_pid = login.tgid,
            "A login has no stamp: its hook did not run."
        );
        Ok(BehindGap {
            mark: id.mark(),
            cause: GapCause::LoginWithoutStamp,
            from: opened_at,
            or_close: CloseReason::NeverRecorded,
        })
    }

    /// Counts the logins that the probe had no room to note: nothing else is known of them.
    fn note_unseen(&mut self, from: BootNs, probe: &Probe, out: &mut SpoolOut) {
        let total = probe.maps.host_counters().logins_full;
        // The kernel's count starts at zero with each probe.
        let unseen = total.saturating_sub(self.logins_unseen);
        self.logins_unseen = total;
        if unseen == 0 {
            return;
        }
        self.counts.without_stamp += unseen;
        warn!(
            unseen,
            "The probe had no room to note logins without a stamp."
        );
        out.gap(Gap::new(
            GapCause::LoginWithoutStamp,
            None,
            from,
            boot_now(),
        ));
    }
}

/// Returns the name of a local account. Name services are not asked: they may hang, and logins wait for the
/// collector.
fn account(uid: u32) -> String {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    account_in(&accounts, uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn account_in(accounts: &str, uid: u32) -> Option<String> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::wire::LOGIN_SEEN;

    fn seen(listener: &str) -> SeenLogin {
        let mut name = [0; 16];
        name[..listener.len()].copy_from_slice(listener.as_bytes());
        SeenLogin {
            at: 20_000_000_000,
            start: 19_000_000_000,
            tgid: 42,
            login_uid: 1000,
            state: LOGIN_SEEN,
            reserved: 0,
            listener: name,
        }
    }

    fn judged(login: &SeenLogin, is_recorded: bool, now_s: u64, names: &[&str]) -> Fate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let circumstances = Circumstances {
            loaded_at: BootNs(10_000_000_000),
            now: BootNs(now_s * 1_000_000_000),
            sshd_names: &names,
        };
        fate(login, is_recorded, &circumstances)
    }

    #[test]
    fn a_login_is_unstamped_when_its_hook_had_its_time() {
        let login = seen("sshd");
        assert_eq!(judged(&login, false, 27, &[]), Fate::Wait);
        assert_eq!(judged(&login, false, 28, &[]), Fate::Unstamped);
        assert_eq!(judged(&login, true, 28, &[]), Fate::Forget);
    }

    #[test]
    fn a_refused_login_waits_out_its_time_and_is_forgotten() {
        let refused = SeenLogin {
            state: LOGIN_REFUSED,
            ..seen("sshd")
        };
        // Forgotten at once, it would be noted anew by the fork that sshd does after the refusal.
        assert_eq!(judged(&refused, false, 21, &[]), Fate::Wait);
        assert_eq!(judged(&refused, false, 28, &[]), Fate::Forget);
    }

    #[test]
    fn logins_before_the_probe_or_of_another_sshd_are_forgotten() {
        let old = SeenLogin {
            start: 9_999_999_999,
            ..seen("sshd")
        };
        assert_eq!(judged(&old, false, 28, &[]), Fate::Forget);
        let other = seen("sshd-admin");
        assert_eq!(judged(&other, false, 28, &["sshd"]), Fate::Forget);
        let named = judged(&other, false, 28, &["sshd", "sshd-admin"]);
        assert_eq!(named, Fate::Unstamped);
    }

    #[test]
    fn an_account_is_named_by_its_uid() {
        let accounts = "root:x:0:0::/root:/bin/sh\nbroken\ndeploy:x:1000:1000::/:/bin/sh\n";
        assert_eq!(account_in(accounts, 1000).as_deref(), Some("deploy"));
        assert_eq!(account_in(accounts, 1), None);
    }
}
