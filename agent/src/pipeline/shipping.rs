//! The collector's side of the shipper: start it, drop what it shipped long ago, report its state.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tracing::info;
use vctl_common::backoff::random_fraction;
use vctl_common::id::BootId;
use vctl_common::status::{self, CollectorStatus};
use vctl_common::time::wall_now;

use crate::config::Config;
use crate::end_request::channels::ShipperChannels;
use crate::machine_id;
use crate::store::{Route, ShipConfig, Shipper};

use super::spool_out::SpoolOut;

/// Interval between two searches for shipped sessions that are old enough to drop.
const EXPIRY: Duration = Duration::from_mins(10);
/// A host with nothing to ship looks up its secret id within this time after the start.
const SECRET_ID_WITHIN: Duration = Duration::from_hours(1);

/// The shipper and how long this host keeps what was shipped.
pub(super) struct Shipping {
    spool_dir: PathBuf,
    boot_id: BootId,
    events_shipped_before: u64,
    keep: Duration,
    /// `None` while everything stays on this host.
    shipper: Option<Shipper>,
    expired_at: Option<Instant>,
}

impl Shipping {
    pub(super) fn new(config: &Config, boot_id: BootId, before: &CollectorStatus) -> Self {
        let before = before.shipping.as_ref();
        Self {
            spool_dir: config.spool_dir.clone(),
            boot_id,
            events_shipped_before: before.map_or(0, |before| before.events_shipped),
            keep: config.centre.spool_keep.0,
            shipper: None,
            expired_at: None,
        }
    }

    /// Starts to ship the content of the spool and everything that follows.
    pub(super) fn start(
        &mut self,
        route: Route,
        channels: ShipperChannels,
        out: &mut SpoolOut,
    ) -> anyhow::Result<()> {
        match &route {
            Route::Postgres(centre) => info!(
                host = %centre.host,
                vault = centre.settings.vault.addr,
                db = centre.settings.db.host,
                "Recorded events are shipped to the central store."
            ),
            Route::JetStream(way) => info!(
                servers = way.nats.servers.join(","),
                "Recorded events are published to JetStream. `vctl session end` does not reach this host."
            ),
        }
        let writer = out.writer();
        let config = ShipConfig {
            spool_dir: self.spool_dir.clone(),
            spool_id: writer.id(),
            boot_id: self.boot_id,
            machine: machine_id::read(Path::new("/")).unwrap_or_default(),
            shipped: writer.shipped(),
            events_shipped: self.events_shipped_before,
            secret_id_after: SECRET_ID_WITHIN.mul_f64(random_fraction()),
            route,
        };
        let shipper = Shipper::start(config, writer.durable(), Some(channels));
        let shipper = shipper.context("cannot start the shipper")?;
        out.follow(shipper.progress().clone());
        self.shipper = Some(shipper);
        Ok(())
    }

    /// Drops sessions that were shipped long ago.
    pub(super) fn drop_expired(&mut self, out: &mut SpoolOut) {
        let due = self.expired_at.is_none_or(|at| at.elapsed() >= EXPIRY);
        if self.shipper.is_none() || !due {
            return;
        }
        self.expired_at = Some(Instant::now());
        if let Some(before) = wall_now().checked_sub(self.keep) {
            out.drop_expired(before);
        }
    }

    pub(super) fn report(&self, backlog_bytes: u64, status: &mut CollectorStatus) {
        let shipper = self.shipper.as_ref();
        status.shipping = shipper.map(|shipper| status::Shipping {
            backlog_bytes,
            ..shipper.progress().status()
        });
    }
}
