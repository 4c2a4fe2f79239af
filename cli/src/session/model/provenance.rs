//! What the centre knows of a session beyond what its host recorded: who signed, and who asked.

use std::net::IpAddr;
use std::time::SystemTime;

use vctl_common::person::Person;

#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    /// The person that the certificate names; `None` unless it names a CA of ours. The host reported both:
    /// `Identity` tells whether they are proven.
    pub(crate) person: Option<Person>,
    /// `None` for a login without a certificate.
    pub(crate) ca: Option<Ca>,
    /// `None` when they were not looked up, as in a list for people.
    pub(crate) requests: Option<Requests>,
    /// The session has no end, and its host was not heard of in that boot for a day: it was installed anew, or
    /// is gone.
    pub(crate) unheard: bool,
}

/// Rows of the access log that name the certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// Oldest first.
    pub(crate) rows: Vec<Request>,
    /// There are more of them than were read.
    pub(crate) more: bool,
}

/// Who signed the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ca {
    /// Our Vault, at this mount.
    Ours { mount: String },
    /// Nobody we know: the key id is whatever its owner wrote.
    Unknown,
}

/// A row of the access log with the certificate of the session.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Proven by the database login that wrote the row.
    pub(crate) person: Person,
    pub(crate) at: SystemTime,
    /// The target; the session may be of a jump host on the way.
    pub(crate) host: String,
    pub(crate) is_hop: bool,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) client_user: Option<String>,
    pub(crate) client_host: Option<String>,
}

impl Provenance {
    /// Requests of the person the session is of.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Request> {
        let rows = self.requests.iter().flat_map(|requests| &requests.rows);
        rows.filter(|request| self.person.as_ref() == Some(&request.person))
    }

    /// Requests that name somebody else. Whoever may write such a row at all could name any serial in
    /// it, so they never change whose session it is.
    pub(crate) fn contested(&self) -> impl Iterator<Item = &Request> {
        let rows = self.requests.iter().flat_map(|requests| &requests.rows);
        rows.filter(|request| self.person.as_ref() != Some(&request.person))
    }
}
