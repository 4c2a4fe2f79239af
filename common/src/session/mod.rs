//! Facts about a session besides its events: the journal entries of the spool.
//!
//! The entries are JSON: they are few, people read them, and a reader skips unknown fields. Clients
//! and users chose every text in them, so the texts are hostile until a renderer escapes them.

mod limits;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{AuditSessionId, CertSerial, CgroupId, ProcessId, SessionId};
use crate::time::BootNs;

pub use limits::{BLOB_STORED, KEY_ID_MAX, PRINCIPALS_MAX};

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum JournalEntry {
    Opened(Box<SessionOpened>),
    Closed(SessionClosed),
    Gap(Gap),
}

/// A login was stamped, or detached work began.
///
/// Repeated at the head of each new segment for open sessions, so that the owner of a session stays
/// known when old segments are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    pub id: SessionId,
    pub origin: Origin,
    /// The Unix account of the login.
    pub login_user: String,
    /// PAM service that ran the stamper: `sshd`, `cron`, ...
    pub service: String,
    pub auth: Auth,
    /// Address of the client as sshd saw it.
    pub source_ip: Option<IpAddr>,
    pub source_port: Option<u16>,
    /// The remote host as PAM gives it, when that is not an address.
    pub remote_host: Option<String>,
    pub tty: Option<String>,
    /// The login's own process (sshd's privileged monitor), which is marked first.
    pub leader: ProcessId,
    pub login_uid: Option<u32>,
    pub audit_session: Option<AuditSessionId>,
    pub cgroup: Option<CgroupId>,
    /// When the PAM hook began to run.
    pub opened_at: BootNs,
    /// Time at which the kernel began to record the session. For a stamp in time, this is
    /// milliseconds after `opened_at`. For a late stamp, the programs that ran between the two
    /// times are unknown.
    pub marked_at: Option<BootNs>,
    pub stamp: Stamp,
}

impl SessionOpened {
    /// Returns whether the entry has no facts about the login: an agent found records of a session that its spool did
    /// not know.
    pub fn is_nameless(&self) -> bool {
        self.id == SessionId::from_mark(self.id.mark())
    }

    /// A session of which only the id is known, stamped late at `at`.
    pub fn unknown(id: SessionId, at: BootNs) -> Self {
        Self {
            id,
            origin: Origin::Login,
            login_user: String::new(),
            service: String::new(),
            auth: Auth::default(),
            source_ip: None,
            source_port: None,
            remote_host: None,
            tty: None,
            leader: ProcessId {
                tgid: 0,
                start: BootNs(0),
            },
            login_uid: None,
            audit_session: None,
            cgroup: None,
            opened_at: at,
            marked_at: Some(at),
            stamp: Stamp::Late,
        }
    }
}

/// Origin of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// A user logged in.
    Login,
    /// Work that a session handed to a daemon, which opened a PAM session for it.
    Detached {
        /// The session that the work probably came from.
        from: Option<InferredLink>,
    },
}

/// A link that is likely but not proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredLink {
    pub session: SessionId,
    pub serial: Option<CertSerial>,
    /// Reason for the link, in words: `same login uid 1000, session was open at the time`.
    pub because: String,
}

/// Authentication of the login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// `publickey`, `password`, ...; joined with `,` when sshd required several.
    pub method: Option<String>,
    pub certificate: Option<Certificate>,
    /// `SHA256:...` of the key, for a login by key with or without a certificate.
    pub key_fingerprint: Option<String>,
    /// Data that could not be read or was not stored completely.
    pub problem: Option<String>,
    /// sshd accepted a certificate that cannot be read, so its owner is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable_certificate: bool,
}

/// The parts of an SSH user certificate that the audit needs. (`ca_fingerprint`, `serial`)
/// identifies it: equal serials of two CAs are two certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub serial: Option<CertSerial>,
    pub key_id: String,
    /// `SHA256:...` of the signing key.
    pub ca_fingerprint: String,
    pub principals: Vec<String>,
    /// Seconds since the Unix epoch.
    pub valid_after: u64,
    pub valid_before: u64,
    /// The certificate that sshd received, in base64, so that a reader can verify its signature.
    /// `None` in entries of older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// The certificate was longer than the agent stores.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blob_too_large: bool,
}

/// Longest certificate, in bytes, that any agent stored; earlier agents stored up to this, later ones up to
/// [`BLOB_STORED`]. Certificates of Vault's CA have about 500.
pub const BLOB_MAX: usize = 16 * 1024;

/// Time of the stamp, relative to the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// Before the shell started.
    InTime,
    /// From a late-login file, after the login had been allowed without the collector.
    Late,
    /// As `Late`; allowed only because the user is in the break-glass group.
    BreakGlass,
    /// The login ended before the collector read its late-login file: nothing of it was recorded.
    Missed,
}

/// The last marked process of a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosed {
    pub id: SessionId,
    pub at: BootNs,
    pub reason: CloseReason,
    /// Events that the kernel counted for the session; `None` when its counters are lost.
    pub produced: Option<u64>,
    /// Events in the spool.
    pub stored: u64,
    /// End of the login's own process; background work may have continued.
    pub leader_ended_at: Option<BootNs>,
    /// The request that ended it. `None` in entries of older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<RequestedEnd>,
}

/// A request to end a session: `vctl session end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedEnd {
    /// Whole display name of the person, as the central store proved it.
    pub by: String,
    pub reason: Option<String>,
    /// When the agent began to end the session.
    pub at: BootNs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    LastProcessEnded,
    /// The machine went down while the session was open.
    HostRebooted,
    /// `vctl-agent detach` removed the probe.
    ProbeDetached,
    /// The login ended before it could be recorded.
    NeverRecorded,
}

/// Missing events, with the cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// `None` when the session is unknown: the gap then counts for every session that was open at
    /// that time.
    pub session: Option<SessionId>,
    pub cause: GapCause,
    /// Number of events; `None` when it cannot be known.
    pub events: Option<u64>,
    /// First and last missing session sequence number, if known.
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// The CPU, if all of them were on one.
    pub cpu: Option<u32>,
    pub from: BootNs,
    pub to: BootNs,
}

impl Gap {
    /// A gap of unknown size. A gap without a session counts against every session of its time.
    pub fn new(
        cause: GapCause,
        session: impl Into<Option<SessionId>>,
        from: BootNs,
        to: BootNs,
    ) -> Self {
        Self {
            session: session.into(),
            cause,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from,
            to,
        }
    }

    /// The same gap with a known number of events.
    #[must_use]
    pub fn with_events(self, events: impl Into<Option<u64>>) -> Self {
        Self {
            events: events.into(),
            ..self
        }
    }

    /// The same gap with its first and last sequence number.
    #[must_use]
    pub fn with_numbers(self, first: u64, last: u64) -> Self {
        Self {
            first_seq: Some(first),
            last_seq: Some(last),
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Lost: the ring had no room.
    RingFull,
    /// Lost: the kernel skipped the probe because it was already running on that CPU.
    ProbeSkipped,
    /// Lost: the map of marked processes was full, so the events of a child are unknown.
    MarksFull,
    /// Lost: between the login and the mark of a late stamp.
    StampedLate,
    /// Lost: no hook requested a stamp for a login through sshd, so nothing was recorded before its
    /// mark.
    LoginWithoutStamp,
    /// Lost: the probe was not running (detached, or the host had no agent).
    ProbeAway,
    /// Lost: a record in the ring could not be decoded.
    Undecodable,
    /// Dropped: the spool reached its cap.
    SpoolCap,
    /// Lost: a part of the spool is no longer readable.
    SpoolDamaged,
    /// Lost: JetStream accepted batches of this host and no longer has them.
    StreamLost,
    /// Lost: the central store no longer has events that this host had shipped and dropped.
    CentreLost,
    /// Not lost: the central store has the events, and this host no longer stores them.
    Shipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"serial":"7","key_id":"a","ca_fingerprint":"SHA256:x","principals":[],
        "valid_after":1,"valid_before":2}"#;

    #[test]
    fn an_end_without_a_request_reads_as_before() {
        let old = r#"{"id":"0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90","at":5,"reason":"last_process_ended",
            "produced":1,"stored":1,"leader_ended_at":null}"#;
        let old: SessionClosed = serde_json::from_str(old).unwrap();
        assert_eq!(old.requested, None);
        assert!(!serde_json::to_string(&old).unwrap().contains("requested"));
    }

    #[test]
    fn an_entry_of_an_older_agent_has_no_certificate_blob() {
        let old: Certificate = serde_json::from_str(OLD).unwrap();
        assert_eq!((&old.blob, old.blob_too_large), (&None, false));
        let written = serde_json::to_string(&old).unwrap();
        assert!(!written.contains("blob"), "{written}");
    }
}
