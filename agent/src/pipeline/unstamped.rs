//! Logins that the probe saw and no hook asked to stamp: the hook could not start or was killed, or no
//! PAM line names it. Each becomes a session that begins with a gap, and is recorded from then on when
//! it still runs.
//!
//! The probe notes a login in a pinned map, so one that begins and ends while no agent runs is found by
//! the next. It stays there until it is stamped or decided on.

use std::fs;
use std::time::Duration;

use tracing::{info, warn};
use vctl_common::id::{AuditSessionId, ProcessId, SessionId};
use vctl_common::session::{Auth, CloseReason, Gap, GapCause, Origin, SessionOpened, Stamp};
use vctl_common::time::BootNs;
use vctl_common::wire::{LOGIN_REFUSED, SeenLogin};

use crate::session::boot_now;
use crate::session::protocol::HELD_FOR;
use crate::session::stamp::FALLBACK_DEADLINE;

use super::collector::Collector;

/// A hook asks or leaves its marker within this, from the fork that starts it on. The last part is for
/// a machine that is slow to start it.
const DECIDED_AFTER: Duration = HELD_FOR
    .saturating_add(FALLBACK_DEADLINE)
    .saturating_add(Duration::from_secs(3));

/// What becomes of a login in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its hook may still ask.
    Wait,
    /// It was stamped, refused or began before the probe, or another agent is to stamp it.
    Forget,
    Unstamped,
}

/// What a login is judged by, beside itself.
struct Circumstances<'a> {
    loaded_at: BootNs,
    now: BootNs,
    sshd_names: &'a [String],
}

fn fate(login: &SeenLogin, is_recorded: bool, circumstances: &Circumstances<'_>) -> Fate {
    let names = circumstances.sshd_names;
    let is_ours = names.is_empty() || names.iter().any(|name| *name == listener(login));
    // One from before the probe forks once more when it ends.
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

impl Collector {
    /// Opens a session for each login whose hook neither asked nor left a marker in its time.
    pub(super) fn find_unstamped(&mut self) {
        self.note_unseen();
        let logins = self.probe.maps.logins();
        if logins.is_empty() {
            return;
        }
        let loaded_at = BootNs(self.probe.maps.state().loaded_at);
        let now = boot_now();
        for (audit_session, login) in logins {
            let is_recorded = self.registry.has_audit_session(audit_session);
            let circumstances = Circumstances {
                loaded_at,
                now,
                sshd_names: &self.config.sshd_names,
            };
            match fate(&login, is_recorded, &circumstances) {
                Fate::Wait => {}
                Fate::Forget => self.probe.maps.forget_login(audit_session),
                Fate::Unstamped => {
                    if let Err(error) = self.open_unstamped(audit_session, &login) {
                        warn!(error, "A login without a stamp is not in the spool yet.");
                    }
                }
            }
        }
    }

    /// Takes a login out of the probe's map, when it has an audit session at all.
    pub(super) fn forget_login(&mut self, audit_session: Option<AuditSessionId>) {
        if let Some(audit_session) = audit_session {
            self.probe.maps.forget_login(audit_session);
        }
    }

    fn open_unstamped(
        &mut self,
        audit_session: AuditSessionId,
        login: &SeenLogin,
    ) -> Result<(), String> {
        let leader = ProcessId {
            tgid: login.tgid,
            start: BootNs(login.start),
        };
        let now = boot_now();
        let alive = self.logins.is_alive(leader);
        let account = account(login.login_uid);
        let id = SessionId::generate();
        self.store_uncounted(SessionOpened {
            id,
            origin: Origin::Login,
            login_user: account.clone(),
            service: listener(login),
            auth: Auth {
                problem: Some(
                    "no hook asked to stamp this login, so its certificate is not known".to_owned(),
                ),
                ..Auth::default()
            },
            source_ip: None,
            source_port: None,
            remote_host: None,
            tty: None,
            leader,
            login_uid: Some(login.login_uid),
            audit_session: Some(audit_session),
            cgroup: self.logins.cgroup(login.tgid).filter(|_| alive),
            opened_at: BootNs(login.at),
            marked_at: alive.then_some(now),
            stamp: if alive { Stamp::Late } else { Stamp::Missed },
        })?;
        self.numbers.counted.logins.without_stamp += 1;
        // In the spool now: an agent that starts later must not open it once more.
        self.probe.maps.forget_login(audit_session);
        warn!(
            session = %id,
            audit_session = audit_session.get(),
            login_uid = login.login_uid,
            account,
            sshd_pid = login.tgid,
            "A login has no stamp: its hook did not run."
        );
        self.gap(Gap {
            session: Some(id),
            cause: GapCause::LoginWithoutStamp,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from: BootNs(login.at),
            to: now,
        });
        if alive {
            let marked = self.mark_tree(id.mark(), Some(login.tgid), Some(audit_session));
            info!(session = %id, processes = marked, "Recording a login that has no stamp.");
        } else {
            self.close(id.mark(), now, CloseReason::NeverRecorded, None);
        }
        Ok(())
    }

    /// Counts the logins for which the probe's map had no room: nothing else is known of them.
    fn note_unseen(&mut self) {
        let total = self.probe.maps.host_counters().logins_full;
        // The kernel's count begins anew with each probe.
        let unseen = total.saturating_sub(self.numbers.counted.logins_unseen);
        self.numbers.counted.logins_unseen = total;
        if unseen == 0 {
            return;
        }
        self.numbers.counted.logins.without_stamp += unseen;
        warn!(
            unseen,
            "The probe had no room to note logins without a stamp."
        );
        let now = boot_now();
        self.gap(Gap {
            session: None,
            cause: GapCause::LoginWithoutStamp,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from: self.skipped_checked,
            to: now,
        });
    }
}

/// Returns the name of a local account. Name services are not asked: they may hang, and a login waits
/// for the collector.
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
    fn logins_from_before_the_probe_or_of_another_sshd_are_forgotten() {
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
