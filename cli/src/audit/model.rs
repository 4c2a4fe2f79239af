//! What is shown of an access: somebody asked to be let in somewhere.

use std::net::IpAddr;
use std::time::SystemTime;

use vctl_common::id::{CertSerial, SessionId};
use vctl_common::person::Person;

/// Which accesses a list is for; conditions that are `None` hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessFilter {
    /// A part of the host's name.
    pub(crate) host: Option<String>,
    /// A part of the person's whole display name.
    pub(crate) user: Option<String>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
    /// Only what failed or was refused.
    pub(crate) failed: bool,
}

/// One row of the access log. Everything but the person and the two times of the row itself is the
/// word of the client that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Proven by the database login that wrote the row.
    pub(crate) person: Person,
    pub(crate) opened_at: SystemTime,
    /// When the row reached the store.
    pub(crate) recorded_at: SystemTime,
    /// The row waited on the client while the store was away.
    pub(crate) replayed: bool,
    pub(crate) closed_at: Option<SystemTime>,
    /// `open`, `ok`, `closed`, `failed`, `refused`.
    pub(crate) result: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) host: String,
    pub(crate) login_user: String,
    pub(crate) target_addr: Option<IpAddr>,
    pub(crate) target_port: Option<u16>,
    pub(crate) jump_via: Vec<String>,
    pub(crate) ca_fingerprint: Option<String>,
    pub(crate) serial: Option<CertSerial>,
    pub(crate) key_id: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) client_host: Option<String>,
    pub(crate) client_user: Option<String>,
    pub(crate) vctl_version: Option<String>,
    /// Certificates of the jump hosts, in their order.
    pub(crate) hops: Vec<Hop>,
    /// Sessions that hosts recorded with this person's certificate, oldest first.
    pub(crate) sessions: Vec<SessionId>,
    /// Those of them that contradict the row, the certificate or each other.
    pub(crate) contradicted: Vec<SessionId>,
    /// `None` where the client knows how it ended.
    pub(crate) on_host: Option<OnHost>,
}

/// What the host recorded of an access whose client does not know how it ended: one through OpenSSH, or one that
/// is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHost {
    /// The program that sshd started.
    Exited {
        code: u8,
        at: SystemTime,
    },
    Killed {
        signal: u8,
        at: SystemTime,
    },
    /// The session is over. Which program was the one that sshd started, or how it ended, is not on record.
    Ended {
        at: SystemTime,
    },
    Open,
    /// No session with the certificate is on record.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) host: String,
    pub(crate) ca_fingerprint: Option<String>,
    pub(crate) serial: Option<CertSerial>,
}
