//! An access: a user's request to log in to a host.

use std::net::IpAddr;
use std::time::SystemTime;

use vctl_common::id::{CertSerial, SessionId};
use vctl_common::person::Person;

/// Conditions for the accesses in a list; `None` is no condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessFilter {
    /// Part of the host's name.
    pub(crate) host: Option<String>,
    /// Part of the person's whole display name.
    pub(crate) user: Option<String>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
    /// Only accesses that failed or were refused.
    pub(crate) failed: bool,
}

/// One row of the access log. The client wrote all of it, except the person and the row's own two times.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Proven by the database login that wrote the row.
    pub(crate) person: Person,
    pub(crate) opened_at: SystemTime,
    /// Time when the row reached the store.
    pub(crate) recorded_at: SystemTime,
    /// The row was queued on the client while the store was unavailable.
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
    /// Certificates for the jump hosts, in the order of the jumps.
    pub(crate) hops: Vec<Hop>,
    /// Sessions that hosts recorded with this certificate of the person, oldest first.
    pub(crate) sessions: Vec<SessionId>,
    /// Those of `sessions` that contradict the row, the certificate or each other.
    pub(crate) contradicted: Vec<SessionId>,
    /// `None` if the client knows the end.
    pub(crate) on_host: Option<OnHost>,
}

/// The host's record of an access, if its client does not know the end: one through OpenSSH, or one that is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHost {
    /// Exit of the program that sshd started.
    Exited {
        code: u8,
        at: SystemTime,
    },
    Killed {
        signal: u8,
        at: SystemTime,
    },
    /// The session ended. It is not recorded which program sshd started, or how that one ended.
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
