//! NATS as the way from hosts to the central store: names, keys, connections, and the accounts of the server.
//!
//! A host publishes to one subject, [`SUBJECT`]. The server's configuration maps it to a subject with the name of the
//! host, by the account that the host logged in to. So the server states the host, and a message does not.

mod accounts;
mod connection;
mod key;

pub use accounts::{AccountsError, Users, accounts};
pub(crate) use connection::{Link, REQUEST, link};
pub use connection::{Nats, NatsError, connect};
pub use key::{KeyError, public_key, public_key_or_new};

/// Subject to which every host publishes in its own account.
pub const SUBJECT: &str = "vctl.events";
/// Stream with the batches of all hosts.
pub const STREAM: &str = "VCTL_EVENTS";
/// Durable consumer that all `vctl-agent ingest` share.
pub const CONSUMER: &str = "vctl-ingest";
/// Account of the stream.
pub const ACCOUNT: &str = "VCTL";

/// Largest message of the stream. An agent splits larger batches: [`crate::store`].
pub const LARGEST_MESSAGE: usize = 2 << 20;
/// Room in a message for the header of NATS.
pub(crate) const HEADERS: usize = 64 << 10;
/// Smallest `max_payload` of a server.
pub const LEAST_PAYLOAD: usize = LARGEST_MESSAGE + HEADERS;

/// Returns the name of the host in the subject of a stored message.
pub fn host_of(subject: &str) -> Option<&str> {
    subject.strip_prefix(SUBJECT)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_names_the_host() {
        assert_eq!(
            host_of("vctl.events.web-1.example.org"),
            Some("web-1.example.org")
        );
        for other in ["vctl.events", "vctl.eventsx.web-1", "other.web-1"] {
            assert_eq!(host_of(other), None, "{other}");
        }
    }
}
