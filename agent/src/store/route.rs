//! The spool to ship, and the way to the central store: Postgres, or JetStream.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;
use vctl_common::id::BootId;

use crate::centre::Centre;
use crate::config::{CentreError, Config, Ship};
use crate::nats::Nats;
use crate::spool::Position;

/// The spool and the way from it.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    pub spool_dir: PathBuf,
    pub spool_id: Uuid,
    pub boot_id: BootId,
    pub machine: Uuid,
    /// The shipped position when the spool was opened, if it is known.
    pub shipped: Option<Position>,
    /// Events that earlier agents of this boot shipped.
    pub events_shipped: u64,
    /// A host with nothing to ship looks up its secret id for the first time after this time, so a fleet that restarts does
    /// not log in at once.
    pub secret_id_after: Duration,
    pub route: Route,
}

/// The way to the central store.
#[derive(Clone, Debug)]
pub enum Route {
    /// The shipper writes to Postgres, as this host.
    Postgres(Box<Centre>),
    /// The shipper publishes to JetStream, and `vctl-agent ingest` writes to Postgres.
    JetStream(Box<JetStream>),
}

/// NATS, and Vault for the secret id of this host.
#[derive(Clone, Debug)]
pub struct JetStream {
    pub nats: Nats,
    /// `None` without `vault_addr` and `db_host`. The heartbeat uses them, and the shipper replaces the secret id.
    pub centre: Option<Centre>,
}

impl Route {
    /// Returns the way of this host's records to the central store.
    ///
    /// # Errors
    /// A required key is not set, or the host's name is not valid in the inventory.
    pub fn of(config: &Config) -> Result<Self, CentreError> {
        let centre = config.centre.centre(&config.host);
        Ok(match config.nats.ship {
            Ship::Postgres => Self::Postgres(Box::new(centre?)),
            Ship::JetStream => Self::JetStream(Box::new(JetStream {
                nats: config.nats(&format!("vctl-agent {}", config.host))?,
                centre: centre.ok(),
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jetstream_needs_an_address_and_no_postgres() {
        let mut config = Config::default();
        "web-1".clone_into(&mut config.host);
        config.nats.ship = Ship::JetStream;
        let error = Route::of(&config).unwrap_err().to_string();
        assert!(error.contains("`nats_url`"), "{error}");
        config.nats.nats_url = vec!["tls://nats.example.net:4222".to_owned()];
        let Route::JetStream(way) = Route::of(&config).unwrap() else {
            panic!("another route");
        };
        assert!(way.centre.is_none());
    }
}
