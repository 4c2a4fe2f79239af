//! Facts about a session that only the central store knows: the CA, and the requests for the certificate.

use std::net::IpAddr;
use std::time::SystemTime;

use vctl_common::person::Person;

#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    /// Person that the certificate names; `None` unless a CA of ours is named as its signer. The host reported both:
    /// `Identity` has whether they are proven.
    pub(crate) person: Option<Person>,
    /// `None` for a login without a certificate.
    pub(crate) ca: Option<Ca>,
    /// `None` when they were not looked up, as in a list.
    pub(crate) requests: Option<AccessRequests>,
    /// The session has no recorded end, and its host did not report in that boot for a day: it was reinstalled or is
    /// gone.
    pub(crate) unheard: bool,
}

/// Rows of the access log that name the certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessRequests {
    /// Oldest first.
    pub(crate) rows: Vec<AccessRequest>,
    /// There are more rows than were read.
    pub(crate) more: bool,
}

/// The CA that signed the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ca {
    /// Our Vault, at this mount.
    Ours { mount: String },
    /// Another CA: it decides the key id, so the name proves nothing.
    Unknown,
}

/// A row of the access log with the certificate of the session.
#[derive(Clone, Debug)]
pub(crate) struct AccessRequest {
    /// Proven by the database login that wrote the row.
    pub(crate) person: Person,
    pub(crate) at: SystemTime,
    /// The target host; the session may be on a jump host towards it.
    pub(crate) host: String,
    pub(crate) is_hop: bool,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) client_user: Option<String>,
    pub(crate) client_host: Option<String>,
}

impl Provenance {
    /// Returns the requests of the person that the certificate names.
    pub(crate) fn own(&self) -> impl Iterator<Item = &AccessRequest> {
        let rows = self.requests.iter().flat_map(|requests| &requests.rows);
        rows.filter(|request| self.person.as_ref() == Some(&request.person))
    }

    /// Returns the requests of other people. A user who may write to the access log can put any serial into a row, so
    /// these rows never change the person of a session.
    pub(crate) fn contested(&self) -> impl Iterator<Item = &AccessRequest> {
        let rows = self.requests.iter().flat_map(|requests| &requests.rows);
        rows.filter(|request| self.person.as_ref() != Some(&request.person))
    }
}
