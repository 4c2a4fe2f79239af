//! What is known of a session beside its events: the journal entries of the spool.
//!
//! Kept as JSON, one entry each: they are few, people read them, and a reader skips fields it does
//! not know. Every text in them was sent by a client or typed by a user, so it is hostile until a
//! renderer has escaped it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{AuditSessionId, CertSerial, CgroupId, ProcessId, SessionId};
use crate::time::BootNs;

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
/// Written again at the head of each new segment for sessions still open, so that dropping old
/// segments never takes away who a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    pub id: SessionId,
    pub origin: Origin,
    /// The Unix account the login got.
    pub login_user: String,
    /// PAM service that ran the stamper: `sshd`, `cron`, ...
    pub service: String,
    pub auth: Auth,
    /// Address of the client as sshd saw it.
    pub source_ip: Option<IpAddr>,
    pub source_port: Option<u16>,
    /// PAM's word for the remote host when it is no address.
    pub remote_host: Option<String>,
    pub tty: Option<String>,
    /// The login's own process (for sshd the privileged monitor), first to be marked.
    pub leader: ProcessId,
    pub login_uid: Option<u32>,
    pub audit_session: Option<AuditSessionId>,
    pub cgroup: Option<CgroupId>,
    /// When the PAM hook began to run.
    pub opened_at: BootNs,
    /// When the kernel began to record the session. Later than `opened_at` by milliseconds for a
    /// stamp in time; anything that ran between the two is unknown when it was late.
    pub marked_at: Option<BootNs>,
    pub stamp: Stamp,
}

impl SessionOpened {
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

/// Where a session comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// Somebody logged in.
    Login,
    /// Work that left a session for a daemon, which opened its own PAM session for it.
    Detached {
        /// The session it was handed over from, as far as that can be told.
        from: Option<InferredLink>,
    },
}

/// A link that is likely but not proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredLink {
    pub session: SessionId,
    pub serial: Option<CertSerial>,
    /// What the link rests on, for people: `same login uid 1000, session was open at the time`.
    pub because: String,
}

/// How the person proved who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// `publickey`, `password`, ...; several, joined with `,`, when sshd asked for several.
    pub method: Option<String>,
    pub certificate: Option<Certificate>,
    /// `SHA256:...` of the key, for a login by key with or without a certificate.
    pub key_fingerprint: Option<String>,
    /// What could not be read, or was not kept whole.
    pub problem: Option<String>,
    /// sshd accepted a certificate that cannot be read, so it is not known whose login it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable_certificate: bool,
}

/// What the audit needs of an SSH user certificate. (`ca_fingerprint`, `serial`) is its identity:
/// equal serials of two CAs are two certificates.
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
    /// The certificate as sshd was shown it, in base64, so that a reader can verify its signature.
    /// `None` in entries of older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// The certificate was longer than [`BLOB_MAX`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blob_too_large: bool,
}

/// Length in bytes of the longest certificate that is kept whole. One of ours has about 500.
pub const BLOB_MAX: usize = 16 * 1024;

/// How the session came to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// Before the shell started.
    InTime,
    /// From a marker, after the login had been let through without the collector.
    Late,
    /// As `Late`, and only because the user is in the break-glass group.
    BreakGlass,
    /// The login was over before the collector saw its marker: nothing of it was recorded.
    Missed,
}

/// The last marked process of a session is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosed {
    pub id: SessionId,
    pub at: BootNs,
    pub reason: CloseReason,
    /// Events the kernel counted for the session; `None` when its counters were gone.
    pub produced: Option<u64>,
    /// Events in the spool.
    pub stored: u64,
    /// When the login's own process ended; background work may have gone on after it.
    pub leader_ended_at: Option<BootNs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    LastProcessEnded,
    /// The machine went down with the session open.
    HostRebooted,
    /// `vctl-agent detach` took the probe away.
    ProbeDetached,
    /// The login had ended before it could be recorded.
    NeverRecorded,
}

/// Events that are not there, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// `None` when it cannot be said whose events they were: then it counts against every session
    /// that was open in that time.
    pub session: Option<SessionId>,
    pub cause: GapCause,
    /// How many; `None` when that cannot be known.
    pub events: Option<u64>,
    /// Missing session sequence numbers, first and last, where they are known.
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// The CPU, where all of them were on one.
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
    /// Lost: the map of marked processes was full, so what a child did is unknown.
    MarksFull,
    /// Lost: from the login until the mark of a late stamp.
    StampedLate,
    /// Lost: no hook asked to stamp a login of sshd, so nothing before its mark was recorded.
    LoginWithoutStamp,
    /// Lost: the probe was away (detached, or the host had no agent).
    ProbeAway,
    /// Lost: a record in the ring could not be decoded.
    Undecodable,
    /// Dropped: the spool reached its cap.
    SpoolCap,
    /// Lost: a part of the spool cannot be read any more.
    SpoolDamaged,
    /// Not lost: the central store has it, and this host does not keep it any longer.
    Shipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"serial":"7","key_id":"a","ca_fingerprint":"SHA256:x","principals":[],
        "valid_after":1,"valid_before":2}"#;

    #[test]
    fn an_entry_of_an_older_agent_has_no_certificate_blob() {
        let old: Certificate = serde_json::from_str(OLD).unwrap();
        assert_eq!((&old.blob, old.blob_too_large), (&None, false));
        let written = serde_json::to_string(&old).unwrap();
        assert!(!written.contains("blob"), "{written}");
    }
}
