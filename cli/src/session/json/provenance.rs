//! The CA and the certificate requests of a session, as JSON.

use serde::Serialize;

use crate::session::model::provenance::{AccessRequest, Ca, Provenance};
use crate::ui::time;

#[derive(Serialize)]
pub(crate) struct ProvenanceJson<'a> {
    /// The whole display name.
    person: Option<&'a str>,
    ca: Option<&'static str>,
    ca_mount: Option<&'a str>,
    /// `None` when they were not looked up.
    requests: Option<Vec<RequestJson<'a>>>,
    more_requests: Option<bool>,
}

#[derive(Serialize)]
struct RequestJson<'a> {
    person: &'a str,
    /// `false` if another person's row in the access log names this certificate.
    same_person: bool,
    time: String,
    host: &'a str,
    is_hop: bool,
    source_ip: Option<String>,
    source_port: Option<u16>,
    client_user: Option<&'a str>,
    client_host: Option<&'a str>,
}

impl<'a> ProvenanceJson<'a> {
    pub(crate) fn new(provenance: &'a Provenance) -> Self {
        let person = provenance.person.as_ref();
        let request = |request: &'a AccessRequest| RequestJson {
            person: request.person.display_name(),
            same_person: person == Some(&request.person),
            time: time::nanos(request.at),
            host: &request.host,
            is_hop: request.is_hop,
            source_ip: request.source_ip.map(|ip| ip.to_string()),
            source_port: request.source_port,
            client_user: request.client_user.as_deref(),
            client_host: request.client_host.as_deref(),
        };
        let requests = provenance.requests.as_ref();
        let (ca, ca_mount) = match &provenance.ca {
            Some(Ca::Ours { mount }) => (Some("ours"), Some(mount.as_str())),
            Some(Ca::Unknown) => (Some("unknown"), None),
            None => (None, None),
        };
        Self {
            person: person.map(vctl_common::person::Person::display_name),
            ca,
            ca_mount,
            requests: requests.map(|requests| requests.rows.iter().map(request).collect()),
            more_requests: requests.map(|requests| requests.more),
        }
    }
}
