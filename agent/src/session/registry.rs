//! The open sessions, by every key that an event may carry. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use vctl_common::id::{AuditSessionId, CgroupId, ProcessId, SessionId};
use vctl_common::session::{Gap, InferredLink, Origin, RequestedEnd, SessionOpened};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use super::protocol::StampRequest;
use super::stated_losses::StatedLosses;

/// The parts of a session's execs that are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    #[default]
    Nothing,
    /// Argv after its first 4 KiB.
    Long,
    /// Argv and paths to 256 bytes each.
    All,
}

/// A session that has not been closed.
#[derive(Clone, Debug)]
pub struct LiveSession {
    pub opened: SessionOpened,
    /// Events of it in the spool.
    pub stored: u64,
    /// Bytes of it that were stored lately; see `pipeline::sessions::budget`.
    pub spent: u64,
    /// The part of its execs that is left out, once it is over its budget.
    pub cut: Cut,
    /// The losses that are stated in the record.
    pub losses: StatedLosses,
    /// End of the login's own process; the session continues with its background work.
    pub leader_ended_at: Option<BootNs>,
    /// Its first events were in a spool that is gone.
    pub spool_lost: bool,
    /// The request that ends it.
    pub requested_end: Option<RequestedEnd>,
}

impl LiveSession {
    /// Returns since when its processes are marked, as far as known.
    pub fn begin(&self) -> BootNs {
        self.opened.marked_at.unwrap_or(self.opened.opened_at)
    }
}

/// The open sessions.
///
/// The mark alone decides to which session an event belongs. A cgroup names a session only while exactly one open
/// session has it: two logins may share a cgroup (no pam_systemd), and then it is no evidence.
#[derive(Debug, Default)]
pub struct Registry {
    live: HashMap<Mark, LiveSession, BuildHasherDefault<MarkHasher>>,
    audit_sessions: HashMap<AuditSessionId, Vec<Mark>>,
    cgroups: HashMap<CgroupId, Vec<Mark>>,
}

/// The root of the unified hierarchy has this id on every kernel.
const ROOT_CGROUP: CgroupId = CgroupId(1);

impl Registry {
    /// Adds a session. It replaces one with the same id and takes over its count of stored events: the head of
    /// each segment repeats the open sessions.
    pub fn open(&mut self, mut opened: SessionOpened) -> Mark {
        // The journal has it, and nothing here needs its kilobytes.
        if let Some(certificate) = &mut opened.auth.certificate {
            certificate.blob = None;
        }
        let mark = opened.id.mark();
        let before = self.close(mark);
        if let Some(audit_session) = opened.audit_session {
            self.audit_sessions
                .entry(audit_session)
                .or_default()
                .push(mark);
        }
        // Processes that were never moved are in the root cgroup.
        if let Some(cgroup) = opened.cgroup.filter(|cgroup| *cgroup != ROOT_CGROUP) {
            self.cgroups.entry(cgroup).or_default().push(mark);
        }
        self.live.insert(
            mark,
            LiveSession {
                opened,
                stored: before.as_ref().map_or(0, |session| session.stored),
                spent: before.as_ref().map_or(0, |session| session.spent),
                cut: before.as_ref().map_or(Cut::Nothing, |session| session.cut),
                losses: before
                    .as_ref()
                    .map_or_else(StatedLosses::default, |session| session.losses),
                leader_ended_at: before.as_ref().and_then(|session| session.leader_ended_at),
                spool_lost: before.as_ref().is_some_and(|session| session.spool_lost),
                requested_end: before.and_then(|session| session.requested_end),
            },
        );
        mark
    }

    /// Removes a session; `None` when it is not open.
    pub fn close(&mut self, mark: Mark) -> Option<LiveSession> {
        let session = self.live.remove(&mark)?;
        if let Some(audit_session) = session.opened.audit_session {
            forget(&mut self.audit_sessions, &audit_session, mark);
        }
        if let Some(cgroup) = session.opened.cgroup {
            forget(&mut self.cgroups, &cgroup, mark);
        }
        Some(session)
    }

    /// Returns an open session. Called for every event: one lookup.
    pub fn get(&self, mark: Mark) -> Option<&LiveSession> {
        self.live.get(&mark)
    }

    pub fn get_mut(&mut self, mark: Mark) -> Option<&mut LiveSession> {
        self.live.get_mut(&mark)
    }

    pub fn by_id(&self, id: SessionId) -> Option<&LiveSession> {
        self.get(id.mark())
            .filter(|session| session.opened.id == id)
    }

    /// Returns the open session, under another id, with which a login's process was stamped before.
    ///
    /// A process opens one session for a service and a user. A second one comes from a PAM stack with two
    /// lines for the hook.
    pub fn stamped_before(
        &self,
        request: &StampRequest,
        leader: ProcessId,
    ) -> Option<&LiveSession> {
        self.live.values().find(|live| {
            let opened = &live.opened;
            opened.leader == leader
                && opened.id != request.session_id
                && opened.service == request.service
                && opened.login_user == request.user
        })
    }

    /// Returns whether any open session has this audit session.
    pub fn has_audit_session(&self, audit_session: AuditSessionId) -> bool {
        self.audit_sessions.contains_key(&audit_session)
    }

    /// Returns the one open session with a login in this cgroup.
    pub fn cgroup_owner(&self, cgroup: CgroupId) -> Option<Mark> {
        sole(self.cgroups.get(&cgroup)?)
    }

    /// Counts events of a session that are now in the spool.
    pub fn add_stored(&mut self, mark: Mark, events: u64) {
        if let Some(session) = self.live.get_mut(&mark) {
            session.stored = session.stored.saturating_add(events);
        }
    }

    /// Continues behind the losses of a session that an earlier agent stated.
    pub fn continue_losses(&mut self, mark: Mark, gaps: &[Gap]) {
        if let Some(session) = self.live.get_mut(&mark) {
            session.losses = StatedLosses::after(session.begin(), gaps);
        }
    }

    /// Returns the login from which the work of a daemon for this user most likely comes: the newest open one
    /// of the same login uid, else of the same user name.
    pub fn detached_from(&self, login_uid: Option<u32>, user: &str) -> Option<InferredLink> {
        let newest = |wanted: &dyn Fn(&SessionOpened) -> bool| {
            self.live
                .values()
                .map(|session| &session.opened)
                .filter(|opened| opened.origin == Origin::Login && wanted(opened))
                .max_by_key(|opened| (opened.opened_at, opened.id.as_uuid()))
        };
        let same_uid = login_uid.and_then(|uid| {
            let opened = newest(&|opened| opened.login_uid == Some(uid))?;
            Some((
                opened,
                format!("same login uid {uid}, session was open at the time"),
            ))
        });
        let (opened, because) = same_uid.or_else(|| {
            let opened = newest(&|opened| opened.login_user == user)?;
            Some((
                opened,
                format!("same user {user}, session was open at the time"),
            ))
        })?;
        Some(InferredLink {
            session: opened.id,
            serial: opened
                .auth
                .certificate
                .as_ref()
                .and_then(|certificate| certificate.serial),
            because,
        })
    }

    /// Returns the open sessions in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Mark, &LiveSession)> {
        self.live.iter().map(|(mark, session)| (*mark, session))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut LiveSession> {
        self.live.values_mut()
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

fn sole(marks: &[Mark]) -> Option<Mark> {
    match marks {
        [mark] => Some(*mark),
        _ => None,
    }
}

fn forget<K: Eq + Hash>(index: &mut HashMap<K, Vec<Mark>>, key: &K, mark: Mark) {
    if let Some(marks) = index.get_mut(key) {
        marks.retain(|other| *other != mark);
        if marks.is_empty() {
            index.remove(key);
        }
    }
}

/// Spreads a mark, which is random already, over the bits that a hash table uses. Only root's own hook makes
/// marks, so a user cannot choose them to collide.
#[derive(Debug, Default)]
struct MarkHasher(u64);

impl Hasher for MarkHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, mark: u64) {
        // The multiplier is 2^64 divided by the golden ratio: the top two bits of a mark are fixed,
        // and the table takes its tag from the top seven.
        self.0 = (self.0 ^ mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::CertSerial;
    use vctl_common::session::{Auth, Certificate, Stamp};

    const AUDIT_SESSION_3: u32 = 3;
    const CGROUP_7001: u64 = 7001;

    fn login(serial: u64, ca: &str, audit_session: u32, cgroup: u64) -> SessionOpened {
        SessionOpened {
            login_user: "deploy".to_owned(),
            service: "sshd".to_owned(),
            auth: Auth {
                certificate: Some(Certificate {
                    serial: CertSerial::new(serial),
                    key_id: "alice".to_owned(),
                    ca_fingerprint: ca.to_owned(),
                    principals: Vec::new(),
                    valid_after: 0,
                    valid_before: u64::MAX,
                    blob: None,
                    blob_too_large: false,
                }),
                ..Auth::default()
            },
            leader: ProcessId {
                tgid: 4242,
                start: BootNs(10),
            },
            login_uid: Some(1000),
            audit_session: AuditSessionId::new(audit_session),
            cgroup: Some(CgroupId(cgroup)),
            stamp: Stamp::InTime,
            marked_at: Some(BootNs(101)),
            ..SessionOpened::unknown(SessionId::generate(), BootNs(100))
        }
    }

    fn serial_of(sessions: &Registry, mark: Mark) -> Option<u64> {
        let certificate = sessions.get(mark)?.opened.auth.certificate.as_ref()?;
        certificate.serial.map(CertSerial::get)
    }

    #[test]
    fn two_logins_with_one_certificate_are_two_sessions() {
        let mut sessions = Registry::default();
        let one = sessions.open(login(12, "SHA256:ca", 3, 7001));
        let other = sessions.open(login(12, "SHA256:ca", 4, 7002));
        assert_ne!(one, other);
        assert_eq!(sessions.len(), 2);
        sessions.add_stored(one, 5);
        assert_eq!(sessions.get(one).map(|session| session.stored), Some(5));
        assert_eq!(sessions.get(other).map(|session| session.stored), Some(0));
    }

    #[test]
    fn equal_serials_of_two_cas_stay_apart() {
        let mut sessions = Registry::default();
        let one = sessions.open(login(12, "SHA256:one", 3, 7001));
        let other = sessions.open(login(12, "SHA256:other", 4, 7002));
        let ca = |mark| {
            let certificate = sessions.get(mark)?.opened.auth.certificate.clone()?;
            Some(certificate.ca_fingerprint)
        };
        assert_eq!(
            (ca(one).as_deref(), ca(other).as_deref()),
            (Some("SHA256:one"), Some("SHA256:other"))
        );
    }

    #[test]
    fn a_cgroup_leads_to_its_session() {
        let mut sessions = Registry::default();
        let one = sessions.open(login(12, "ca", AUDIT_SESSION_3, CGROUP_7001));
        sessions.open(login(13, "ca", 4, 7002));
        assert_eq!(sessions.cgroup_owner(CgroupId(CGROUP_7001)), Some(one));
        assert_eq!(sessions.cgroup_owner(CgroupId(9)), None);
    }

    #[test]
    fn a_shared_cgroup_names_no_session() {
        let mut sessions = Registry::default();
        let one = sessions.open(login(12, "ca", AUDIT_SESSION_3, CGROUP_7001));
        let other = sessions.open(login(13, "ca", AUDIT_SESSION_3, CGROUP_7001));
        assert_eq!(sessions.cgroup_owner(CgroupId(CGROUP_7001)), None);
        sessions.close(one);
        assert_eq!(sessions.cgroup_owner(CgroupId(CGROUP_7001)), Some(other));
    }

    #[test]
    fn the_root_cgroup_belongs_to_no_session() {
        let mut sessions = Registry::default();
        sessions.open(login(12, "ca", AUDIT_SESSION_3, 1));
        assert_eq!(sessions.cgroup_owner(CgroupId(1)), None);
    }

    #[test]
    fn a_closed_session_is_gone_under_every_key() {
        let mut sessions = Registry::default();
        let mark = sessions.open(login(12, "ca", AUDIT_SESSION_3, CGROUP_7001));
        assert_eq!(serial_of(&sessions, mark), Some(12));
        assert!(sessions.close(mark).is_some());
        assert!(sessions.close(mark).is_none());
        assert!(sessions.get(mark).is_none() && sessions.is_empty());
        assert!(sessions.audit_sessions.is_empty() && sessions.cgroups.is_empty());
    }

    #[test]
    fn opening_a_session_again_keeps_its_count_and_is_not_sharing() {
        let mut sessions = Registry::default();
        let opened = login(12, "ca", AUDIT_SESSION_3, CGROUP_7001);
        let mark = sessions.open(opened.clone());
        sessions.add_stored(mark, 7);
        sessions.open(opened);
        assert_eq!(sessions.get(mark).map(|session| session.stored), Some(7));
        assert_eq!(sessions.cgroup_owner(CgroupId(CGROUP_7001)), Some(mark));
    }

    #[test]
    fn detached_work_is_linked_to_the_newest_login_of_its_login_uid() {
        let mut sessions = Registry::default();
        sessions.open(login(12, "ca", 3, 7001));
        let newest = SessionOpened {
            opened_at: BootNs(200),
            ..login(13, "ca", 4, 7002)
        };
        let id = newest.id;
        sessions.open(newest);
        let stranger = SessionOpened {
            opened_at: BootNs(300),
            login_uid: Some(1001),
            ..login(14, "ca", 5, 7003)
        };
        sessions.open(stranger);
        let link = sessions.detached_from(Some(1000), "deploy").unwrap();
        assert_eq!(
            (link.session, link.serial.map(CertSerial::get)),
            (id, Some(13))
        );
        assert_eq!(
            link.because,
            "same login uid 1000, session was open at the time"
        );
    }

    #[test]
    fn detached_work_is_linked_to_a_login_by_uid_then_by_name() {
        let mut sessions = Registry::default();
        let detached = SessionOpened {
            origin: Origin::Detached { from: None },
            ..login(12, "ca", 3, 7001)
        };
        sessions.open(detached);
        assert_eq!(sessions.detached_from(Some(1000), "deploy"), None);
        let id = sessions.open(login(13, "ca", 4, 7002));
        let link = sessions.detached_from(None, "deploy").unwrap();
        assert_eq!(link.session.mark(), id);
        assert_eq!(
            link.because,
            "same user deploy, session was open at the time"
        );
        assert_eq!(sessions.detached_from(None, "somebody"), None);
    }
}
