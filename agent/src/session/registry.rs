//! Who owns what: the sessions that are open, by every key an event may carry. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use vctl_common::id::{AuditSessionId, CgroupId, SessionId};
use vctl_common::session::{InferredLink, Origin, SessionOpened};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

/// A session that has not been closed.
#[derive(Clone, Debug)]
pub struct LiveSession {
    pub opened: SessionOpened,
    /// Events of it in the spool.
    pub stored: u64,
    /// When the login's own process ended; the session goes on with its background work.
    pub leader_ended_at: Option<BootNs>,
}

/// The open sessions.
///
/// The mark alone owns an event. Audit session and cgroup point to a session only while exactly one
/// open session has them: two logins may share a cgroup (no pam_systemd) or an audit session
/// (no pam_loginuid), and then neither says anything.
#[derive(Debug, Default)]
pub struct Registry {
    live: HashMap<Mark, LiveSession, BuildHasherDefault<MarkHasher>>,
    audit_sessions: HashMap<AuditSessionId, Vec<Mark>>,
    cgroups: HashMap<CgroupId, Vec<Mark>>,
}

impl Registry {
    /// Adds a session. One with the same id is replaced and its count of stored events kept: the
    /// journal says again who is open at the head of each segment.
    pub fn open(&mut self, opened: SessionOpened) -> Mark {
        let mark = opened.id.mark();
        let before = self.close(mark);
        if let Some(audit_session) = opened.audit_session {
            self.audit_sessions
                .entry(audit_session)
                .or_default()
                .push(mark);
        }
        if let Some(cgroup) = opened.cgroup {
            self.cgroups.entry(cgroup).or_default().push(mark);
        }
        self.live.insert(
            mark,
            LiveSession {
                opened,
                stored: before.as_ref().map_or(0, |session| session.stored),
                leader_ended_at: before.and_then(|session| session.leader_ended_at),
            },
        );
        mark
    }

    /// Takes a session out; `None` when it is not open.
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

    /// Asked for every event: one lookup.
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

    /// Returns the one open session with this audit session.
    pub fn by_audit_session(&self, audit_session: AuditSessionId) -> Option<Mark> {
        sole(self.audit_sessions.get(&audit_session)?)
    }

    /// Returns the one open session whose login was in this cgroup.
    pub fn cgroup_owner(&self, cgroup: CgroupId) -> Option<Mark> {
        sole(self.cgroups.get(&cgroup)?)
    }

    /// Counts events of a session that are now in the spool.
    pub fn add_stored(&mut self, mark: Mark, events: u64) {
        if let Some(session) = self.live.get_mut(&mark) {
            session.stored = session.stored.saturating_add(events);
        }
    }

    /// Returns the login that work run by a daemon for this user most likely comes from: the newest
    /// one that is open, of the same login uid, else of the same user name.
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

/// Spreads a mark, which is random already, over the bits a hash table looks at. Marks are made by
/// root's own stamper, so nobody can choose them to collide.
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
